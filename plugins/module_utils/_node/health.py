# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Health in levels: HTTP, else ping over distribution, else process and unit.

A level that is absent (nothing listens) hands over to the next one. A level that answers "not healthy" is a
verdict: the levels below cannot overrule it. Nor can those above when a node says that its application has not started,
or that its tables wait for another node: a virtual machine answers before its application has started, and after it has
crashed.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from dataclasses import dataclass

from .._tls.serving import host_context

LEVELS = ("process", "ping", "http")

HEALTH_SPEC = {
    "health": {
        "type": "dict",
        "default": {},
        "options": {
            "url": {"type": "str"},
            "application": {"type": "str", "default": ""},
            "tls_dir": {"type": "path"},
            "status_key": {"type": "str", "default": "status", "no_log": False},
            "status_value": {"type": "str", "default": "healthy"},
            "required_level": {"type": "str", "choices": ["http", "ping", "process"], "default": "http"},
            "request_timeout_seconds": {"type": "int", "default": 5},
            "settle_seconds": {"type": "int", "default": 10},
        },
    },
}


@dataclass(frozen=True)
class Answer:
    """What one level said: ``ok``, ``unhealthy`` or ``absent``."""

    level: str
    verdict: str
    detail: str


def judge(answers, required):
    """Turn the answers, highest level first, into the reported health.

    :param answers: :class:`Answer` objects; asking stops at the first that is not ``absent``.
    :param required: the level that must answer.
    :return: dict with ``healthy``, ``level`` (which one answered, or ``None``) and ``detail``.
    """
    answer = next((each for each in answers if each.verdict != "absent"), None)
    if answer is None:
        return {"healthy": False, "level": None, "detail": "; ".join(each.detail for each in answers)}
    if answer.verdict == "unhealthy":
        return {"healthy": False, "level": answer.level, "detail": answer.detail}
    if LEVELS.index(answer.level) < LEVELS.index(required):
        missing = "; ".join(each.detail for each in answers if each.verdict == "absent")
        remedy = ". If the release has no such listener, set erlmcp_http_enabled: false" if required == "http" else ""
        return {
            "healthy": False,
            "level": answer.level,
            "detail": f"level {required} must answer, only {answer.level} did ({missing}){remedy}",
        }
    return {"healthy": True, "level": answer.level, "detail": answer.detail}


def ask_http(options):
    """Ask the health endpoint.

    :param options: the ``health`` option of a module.
    """
    url = options["url"]
    if not url:
        return Answer("http", "absent", "no health URL is configured")
    # A proxy of the environment must not answer for the node.
    handlers = [urllib.request.ProxyHandler({})]
    try:
        if options["tls_dir"]:
            handlers.append(urllib.request.HTTPSHandler(context=host_context(options["tls_dir"])))
        with urllib.request.build_opener(*handlers).open(url, timeout=options["request_timeout_seconds"]) as response:
            return _verdict(url, response.status, response.read(65536), options)
    except urllib.error.HTTPError as refusal:
        return _verdict(url, refusal.code, refusal.read(65536), options)
    except urllib.error.URLError as error:
        if isinstance(error.reason, ConnectionRefusedError):
            return Answer("http", "absent", f"{url}: connection refused")
        return Answer("http", "unhealthy", f"{url}: {error.reason}")
    except OSError as error:
        return Answer("http", "unhealthy", f"{url}: {error}")
    except http.client.HTTPException as error:
        # A node that still speaks TLS, or not yet.
        return Answer("http", "unhealthy", f"{url}: what answers does not speak HTTP ({type(error).__name__})")


def _verdict(url, code, body, options):
    text = body.decode("utf-8", "replace").strip()
    detail = f"{url}: {code} {text[:200]}"
    if code == 404:
        return Answer("http", "absent", detail)
    if code != 200:
        return Answer("http", "unhealthy", detail)
    if not options["status_key"]:
        return Answer("http", "ok", detail)
    try:
        status = json.loads(text).get(options["status_key"])
    except (ValueError, AttributeError, RecursionError):
        status = None
    if status == options["status_value"]:
        return Answer("http", "ok", detail)
    return Answer(
        "http",
        "unhealthy",
        f"{detail}; {options['status_value']!r} was expected as {options['status_key']!r} (erlmcp_health_status_value, "
        "erlmcp_health_status_key)",
    )
