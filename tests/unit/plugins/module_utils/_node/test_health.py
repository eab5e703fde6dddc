# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._node.health import Answer, ask_http, judge

HTTP_OK = Answer("http", "ok", "200")
HTTP_BAD = Answer("http", "unhealthy", "503 draining")
HTTP_ABSENT = Answer("http", "absent", "connection refused")
PING_OK = Answer("ping", "ok", "pong")
PING_ABSENT = Answer("ping", "absent", "no answer")
PROCESS_OK = Answer("process", "ok", "active")
PROCESS_ABSENT = Answer("process", "absent", "inactive")


@pytest.mark.parametrize(
    ("answers", "required", "healthy", "level"),
    [
        ([HTTP_OK, PING_OK, PROCESS_OK], "http", True, "http"),
        ([HTTP_OK, PING_OK, PROCESS_OK], "process", True, "http"),
        ([HTTP_ABSENT, PING_OK, PROCESS_OK], "ping", True, "ping"),
        ([HTTP_ABSENT, PING_OK, PROCESS_OK], "http", False, "ping"),
        ([HTTP_ABSENT, PING_ABSENT, PROCESS_OK], "process", True, "process"),
        ([HTTP_ABSENT, PING_ABSENT, PROCESS_OK], "ping", False, "process"),
        ([HTTP_BAD, PING_OK, PROCESS_OK], "process", False, "http"),
        ([PROCESS_ABSENT], "process", False, None),
    ],
)
def test_the_highest_level_that_answers_decides(answers, required, healthy, level):
    health = judge(answers, required)
    assert (health["healthy"], health["level"]) == (healthy, level)


def test_a_level_that_must_answer_and_did_not_is_named():
    assert (
        "level http must answer, only ping did (connection refused). If the release has no such listener, set "
        "erlmcp_http_enabled: false" in judge([HTTP_ABSENT, PING_OK], "http")["detail"]
    )


@pytest.fixture(name="endpoint")
def _endpoint():
    answer = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(answer["code"])
            self.end_headers()
            self.wfile.write(answer["body"].encode())

        def log_message(self, *_arguments):
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield answer, f"http://127.0.0.1:{server.server_port}/health"
    server.shutdown()
    server.server_close()


def options(url, **others):
    return {
        "url": url,
        "tls_dir": None,
        "status_key": "status",
        "application": "",
        "status_value": "healthy",
        "request_timeout_seconds": 1,
        **others,
    }


@pytest.mark.parametrize(
    ("code", "body", "others", "verdict"),
    [
        (200, '{"status": "healthy"}', {}, "ok"),
        (200, '{"status": "draining"}', {}, "unhealthy"),
        (200, '{"state": "up"}', {"status_key": "state", "status_value": "up"}, "ok"),
        (200, "fine", {"status_key": ""}, "ok"),
        (200, "fine", {}, "unhealthy"),
        (200, "[]", {}, "unhealthy"),
        (200, "[" * 60000, {}, "unhealthy"),
        (503, '{"status": "healthy"}', {}, "unhealthy"),
        (404, "", {}, "absent"),
    ],
)
def test_the_verdict_of_the_endpoint(endpoint, code, body, others, verdict):
    answer, url = endpoint
    answer.update(code=code, body=body)
    assert ask_http(options(url, **others)).verdict == verdict


def test_another_verdict_than_the_expected_is_told_with_both(endpoint):
    answer, url = endpoint
    answer.update(code=200, body='{"state": "ok"}')
    told = ask_http(options(url)).detail
    assert '200 {"state": "ok"}' in told
    assert "'healthy' was expected as 'status' (erlmcp_health_status_value, erlmcp_health_status_key)" in told


def test_nothing_listens():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    assert ask_http(options(f"http://127.0.0.1:{port}/health")).verdict == "absent"


def test_an_endpoint_that_hangs_is_not_absent():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        answer = ask_http(options(f"http://127.0.0.1:{listener.getsockname()[1]}/", request_timeout_seconds=0.2))
    assert answer.verdict == "unhealthy"


def test_without_a_url_http_is_absent():
    assert ask_http(options(None)).verdict == "absent"


def test_a_port_that_speaks_tls_is_no_reason_to_crash():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def alert():
            connection, _address = server.accept()
            with connection:
                connection.recv(1024)
                connection.sendall(b"\x15\x03\x03\x00\x02\x02\x2f")

        threading.Thread(target=alert, daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/health"
        answer = ask_http({"url": url, "tls_dir": None, "request_timeout_seconds": 5})
    assert answer.verdict == "unhealthy"
    assert "does not speak HTTP" in answer.detail
