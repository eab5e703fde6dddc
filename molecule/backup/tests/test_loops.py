# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Damaged archives and SIGKILL: a few of each here, a thousand and a hundred with `make soak`."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from backuplib import SOAK, content, ops, pid, put
from testlib import Hosts, health, ssh, wait_until_healthy

FIRST = Hosts(Path(__file__).parents[1], "erlmcp", "pair")["n1.backup.test"]
DATA = "/var/lib/erlmcp"
SHARED = Path(os.environ["PYTHONPATH"].split(os.pathsep)[0])
MUTATIONS = 1000 if SOAK else 18
KILLS = 100 if SOAK else 2
# Every run tries other moments and other damage, and says which.
SEED = int(os.environ.get("ERLMCP_OPS_SEED") or time.time())


def run_there(script, *arguments, needs=()):
    for name in (script, *needs):
        ssh(FIRST, f"cat > /var/tmp/{name}", typed=(SHARED / name).read_text())
    output = ssh(FIRST, f"python3 /var/tmp/{script} {' '.join(map(str, arguments))}", timeout=7200).stdout
    print(f"seed {SEED}: {output}")
    return json.loads(output)


def test_damaged_archives_are_refused_and_the_node_never_stops():
    put(FIRST, 40)
    archive = ops(FIRST, "backup")[1]["archive"]
    running, before = pid(FIRST), content(FIRST)
    found = run_there("damage_loop.py", archive, MUTATIONS, SEED, needs=["mutate.py"])
    assert found == {"refused": MUTATIONS, "taken": [], "unexpected": [], "stopped": [], "left": []}
    assert pid(FIRST) == running
    assert content(FIRST) == before
    assert health(FIRST)["status"] == "healthy"


def test_a_killed_backup_leaves_no_archive_and_nothing_the_next_one_cannot_clear():
    before = content(FIRST)
    found = run_there("kill_loop.py", "backup", KILLS, SEED)
    assert found["problems"] == []
    assert content(FIRST) == before


def test_a_node_that_a_killed_backup_left_stopped_is_started_by_the_next_whatever_its_method():
    before = content(FIRST)
    # So that the copy takes a moment.
    ssh(FIRST, f"head -c 500M /dev/zero > {DATA}/large")
    ssh(
        FIRST,
        f"erlmcp-ops backup --method stop & until [ -d {DATA}/.erlmcp-backup-*/copy ]; do :; done; "
        "kill -9 $!; wait; true",
    )
    assert ssh(FIRST, "systemctl is-active erlmcp", check=False).stdout.strip() == "inactive"
    assert ops(FIRST, "backup", "--check")[1]["steps"][0].startswith("start the node")
    ssh(FIRST, f"rm {DATA}/large")
    done = ops(FIRST, "backup")[1]
    assert (done["method"], done["steps"][0]) == ("hot", "start the node, which a backup that was killed had stopped")
    assert content(FIRST) == before
    # Who stops it now means it.
    ssh(FIRST, "systemctl stop erlmcp")
    status, answer = ops(FIRST, "backup", check=False)
    assert status
    assert "does not run" in answer
    ssh(FIRST, "systemctl start erlmcp")
    wait_until_healthy(FIRST)


def test_a_killed_restore_leaves_the_old_data_or_the_new():
    states = []
    for number in range(2):
        put(FIRST, 50, f"state{number}")
        states += [ops(FIRST, "backup")[1]["archive"], content(FIRST)[4]]
    found = run_there("kill_loop.py", "restore", KILLS, SEED, *states)
    assert found["problems"] == []
    assert health(FIRST)["status"] == "healthy"
