# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Constant load on a balancer or a node, in which every request that fails is counted."""

from __future__ import annotations

import functools
import re
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass

from testlib import Mcp, Threads

LONGEST_SECONDS = 7200


@dataclass(frozen=True)
class Failure:
    """A request without a good answer; ``moment`` is the time of day, to be looked up in logs."""

    moment: str
    request: str
    error: str


class McpLoad(Threads):
    """Clients that open a session, make calls, close it, and begin again.

    >>> with McpLoad(address) as load: ...
    >>> assert load.requests and not load.failures, load

    The pause after each pair of calls leaves the processor to the nodes.
    """

    def __init__(self, address, port=5005, clients=4, calls_per_session=20, pause_seconds=0.2, tls=None):
        self.connect = functools.partial(Mcp, address, port, tls=tls)
        self.calls_per_session = calls_per_session
        self.pause_seconds = pause_seconds
        self.requests = 0
        self.slowest_seconds = 0.0
        self.failures = []
        self.lock = threading.Lock()
        super().__init__(self._ask_on, [(number,) for number in range(clients)])

    def __str__(self):
        summary = f"MCP: {self.requests} requests, {len(self.failures)} failed, slowest {self.slowest_seconds:.2f} s"
        return "\n".join([summary, *map(str, self.failures[:20])])

    def _ask_on(self, number):
        while not self.stopped.is_set():
            client = self._count("initialize", self.connect)
            if client:
                self._session(client, number)
                client.lines.close()
                client.connection.close()
            self.stopped.wait(self.pause_seconds)

    def _session(self, client, number):
        for call in range(0, self.calls_per_session, 2):
            text = f"{number}-{call}"
            stored = self._count("put", _call, client, "stored", "put", key=text, value=text)
            if not stored or not self._count("echo", _call, client, text, "echo", message=text):
                return
            if self.stopped.wait(self.pause_seconds):
                return

    def _count(self, request, function, *arguments, **named):
        """Return what ``function`` does, or ``None`` when it fails."""
        started, answer, failure = time.monotonic(), None, None
        try:
            answer = function(*arguments, **named)
        except (OSError, AssertionError, ValueError) as error:
            failure = Failure(time.strftime("%H:%M:%S"), request, repr(error))
        with self.lock:
            self.requests += 1
            self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - started)
            if failure:
                self.failures.append(failure)
        return answer


def _call(client, wanted, tool, **arguments):
    """Return whether the tool answers as it must; anything else raises."""
    result = client.call(tool, **arguments)
    assert result == {"content": [{"type": "text", "text": wanted}], "isError": False}, result
    return True


class HttpLoad:
    """wrk, from entering the block to leaving it.

    >>> with HttpLoad(address) as load: ...
    >>> assert load.requests and not load.failed, load

    ``not_2xx`` counts answers that are no success, ``socket_errors`` requests that got no answer.
    """

    def __init__(self, address, port=8080, path="/health", connections=4, pause_seconds=0.2):
        self.url = f"http://{address}:{port}{path}"
        self.connections = connections
        self.pause_seconds = pause_seconds
        self.requests = self.not_2xx = 0
        self.socket_errors = {}
        self.output = ""

    def __enter__(self):
        self.script = tempfile.NamedTemporaryFile("w", suffix=".lua")
        self.script.write(f"function delay() return {round(self.pause_seconds * 1000)} end\n")
        self.script.flush()
        self.process = subprocess.Popen(
            ["wrk", "-t", "1", "-c", str(self.connections), "-d", f"{LONGEST_SECONDS}s", "--timeout", "10s"]
            + ["-s", self.script.name, self.url],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return self

    def __exit__(self, *_exception):
        # Asked so, wrk ends as if its time were over, with its summary.
        self.process.send_signal(signal.SIGINT)
        self.output = self.process.communicate(timeout=60)[0]
        self.script.close()
        self.requests, self.not_2xx, self.socket_errors = wrk_summary(self.output)

    def __str__(self):
        return f"HTTP: {self.requests} requests, {self.failed} failed\n{self.output}"

    @property
    def failed(self):
        return self.not_2xx + sum(self.socket_errors.values())


def wrk_summary(output):
    """Return what wrk counted: requests, answers that are no success, and dict of socket errors by their kind."""
    requests = re.search(r"(\d+) requests in ", output)
    assert requests, f"wrk has no summary:\n{output}"
    # Lines that would say 0 are left out.
    not_2xx = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    errors = re.search(r"Socket errors: (.*)", output)
    return (
        int(requests[1]),
        int(not_2xx[1]) if not_2xx else 0,
        {kind: int(count) for kind, count in re.findall(r"(\w+) (\d+)", errors[1])} if errors else {},
    )
