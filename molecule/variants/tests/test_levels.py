# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A release without HTTP that starts late, or crashes after seconds, with what an archive holds: restored and drilled.

That a level answers is not enough at any of them. At level http the scenario backup tells.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from backuplib import ops, pid
from testlib import Hosts, ssh

NODES = Hosts(Path(__file__).parents[1], "erlmcp", "bare")
ADDRESS = next(iter(NODES.values()))
# To the seconds that a node has to stay well. At level process a node that boots and does not answer yet is well, too.
LEVELS = {"ping": 4, "process": 8}
LATE, CRASHING = "late", "crashing"
LATE_SECONDS = 4
PAUSE = f"timer:sleep({LATE_SECONDS}000)"
MANNER = "/var/lib/erlmcp/manner"
# A node is well for a moment before both.
ENVIRONMENT = f"""
case "$(cat {MANNER} 2>/dev/null)" in
  {LATE}) export ERL_ZFLAGS="-eval application:stop(erlmcp),{PAUSE},application:start(erlmcp,permanent)." ;;
  {CRASHING}) export ERL_ZFLAGS="-eval timer:sleep(1500),exit(whereis(erlmcp_sup),kill)." ;;
esac
"""


def leftovers():
    return ssh(ADDRESS, "ls -A /var/lib /run/systemd/system | grep -E 'drill|[.]restore' || true").stdout


def applications():
    return ssh(ADDRESS, "erlmcp eval '[A || {A, _, _} <- application:which_applications()].'").stdout


@pytest.fixture(scope="module", name="archives")
def _archives():
    """Names of archives of data with which the node is late, or crashes. It is good with what is live."""
    env = ssh(ADDRESS, "readlink -f /etc/erlmcp/env.sh").stdout.strip()
    ssh(ADDRESS, f"cp -p {env} /var/tmp/env.sh && cat >> {env}", typed=ENVIRONMENT)
    made = {}
    for manner in (LATE, CRASHING):
        ssh(ADDRESS, f"echo {manner} > {MANNER}; chown erlmcp: {MANNER}")
        made[manner] = ops(ADDRESS, "backup")[1]["archive"].rpartition("/")[2]
    ssh(ADDRESS, f"rm {MANNER}")
    yield made
    ssh(ADDRESS, f"rm -rf {MANNER} /var/lib/erlmcp.*; cp -p /var/tmp/env.sh {env}; systemctl restart erlmcp")


@pytest.fixture(name="settings", params=LEVELS)
def _settings(request):
    """Function that returns the option for settings of a level that has to answer, and of how long that may take."""
    path = "/var/tmp/level.json"
    settings = json.loads(ssh(ADDRESS, "cat /etc/erlmcp-ops/erlmcp.json").stdout)

    def say(seconds):
        health = {**settings["health"], "required_level": request.param, "settle_seconds": LEVELS[request.param]}
        ssh(ADDRESS, f"cat > {path}", json.dumps({**settings, "health": health, "start_timeout_seconds": seconds}))
        return f"--settings {path}"

    yield say
    ssh(ADDRESS, f"rm {path}")


def test_a_drill_waits_for_the_application_and_fails_when_it_crashes(archives, settings):
    running = pid(ADDRESS)
    ops(ADDRESS, settings(30), "drill", archives[LATE])
    for manner, seconds, why in ((LATE, 1, "(after 1 s)"), (CRASHING, 30, "it has ended")):
        started = time.monotonic()
        status, told = ops(ADDRESS, settings(seconds), "drill", archives[manner], check=False)
        assert status == 1, told
        assert why in told
        # One that still boots does not hear that it should end.
        assert time.monotonic() - started < 60
    assert pid(ADDRESS) == running
    assert leftovers() == ""


def test_a_restore_waits_for_the_application_and_is_taken_back_when_it_crashes(archives, settings):
    done = ops(ADDRESS, settings(30), "restore", archives[LATE])[1]
    assert done["health"]["healthy"]
    assert done["downtime_seconds"] >= LATE_SECONDS
    assert "erlmcp" in applications()
    status, told = ops(ADDRESS, settings(20), "restore", archives[CRASHING], check=False)
    assert status == 1, told
    # What is back is late again.
    assert "The old state is back and serving" in told
    assert ssh(ADDRESS, f"cat {MANNER}").stdout == f"{LATE}\n"
    assert "erlmcp" in applications()
    assert leftovers() == ""
