# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the tests of backups and restores share: rows that are written, and what can be said of them afterwards."""

from __future__ import annotations

import json
import os
import time
from contextlib import contextmanager, suppress

import pytest
from testlib import Mcp, Threads, ssh

# `make soak` runs the same tests at their full length, and some that take long.
SOAK = bool(os.environ.get("ERLMCP_OPS_SOAK"))
only_in_soak = pytest.mark.skipif(not SOAK, reason="long: make soak")

_TABLES = """
Sessions = [{element(2, S), element(5, S)} || S <- ets:tab2list(erlmcp_session)],
Keys = [element(1, element(2, I)) || I <- ets:tab2list(erlmcp_item)],
Counted = maps:to_list(lists:foldl(fun(K, M) -> maps:update_with(K, fun(N) -> N + 1 end, 1, M) end, #{}, Keys)),
Wrong = length([Id || {Id, N} <- Sessions, N =/= proplists:get_value(Id, Counted, 0)]),
Lost = length([Id || {Id, _} <- Counted, not lists:keymember(Id, 1, Sessions)]),
{length(Sessions), length(Keys), dets:info(erlmcp_audit, size), Wrong + Lost,
 erlang:phash2(lists:sort(ets:tab2list(erlmcp_session) ++ ets:tab2list(erlmcp_item)))}.
"""


def ops(address, *arguments, check=True, timeout=300):
    """Run the host's own command; return (exit status, its JSON or its message)."""
    done = ssh(address, f"erlmcp-ops --json {' '.join(arguments)}", check=False, timeout=timeout)
    if check:
        assert done.returncode == 0, f"{address}: erlmcp-ops {arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
    if done.returncode:
        return done.returncode, done.stderr
    return 0, json.loads(done.stdout)


def content(address):
    """Return (sessions, items, audit rows, sessions whose two tables disagree, digest of both) of a running node."""
    text = ssh(address, f'erlmcp eval "{" ".join(_TABLES.split())}"').stdout
    return tuple(int(number) for number in text.strip().strip("{}").split(","))


def pid(address):
    return ssh(address, "systemctl show -P MainPID erlmcp").stdout.strip()


@contextmanager
def filled_by_old_restores(address, free):
    """Let what failed restores have left long ago take all of the disk /srv/data but ``free`` bytes."""
    there = "/srv/data/erlmcp.failed-restore-20260101T000000Z"
    before = int(ssh(address, "df --output=avail -B1 /srv/data | tail -1").stdout)
    ssh(address, f"mkdir {there}; head -c {before - free} /dev/zero > {there}/filler")
    try:
        yield
    finally:
        ssh(address, f"rm -rf {there}")


def put(address, count, prefix="key", size=200):
    """Store ``count`` items in a new session; return its id."""
    with Mcp(address) as client:
        for number in range(count):
            client.call("put", key=f"{prefix}-{number}", value="x" * size)
        return client.server["_meta"]["sessionId"]


class Writers(Threads):
    """Clients that write rows all the time, and note every request that was not answered with success.

    >>> with Writers(address) as writers: ...
    >>> assert not writers.failed and writers.stored > 100
    """

    def __init__(self, address, clients=3, pause=0.1):
        """:param pause: seconds between two requests of a client; without any they take the processor from all."""
        self.address = address
        self.pause = pause
        self.stored = 0
        self.failed = []
        super().__init__(self._write, [(number,) for number in range(clients)])

    def _write(self, client_number):
        number = 0
        with suppress(ConnectionError), Mcp(self.address) as client:
            while not self.stopped.is_set():
                try:
                    client.call("put", key=f"w{client_number}-{number}", value="y" * 300)
                except (OSError, AssertionError, ValueError) as error:
                    self.failed.append(error)
                    return
                number += 1
                self.stored += 1
                time.sleep(self.pause)
