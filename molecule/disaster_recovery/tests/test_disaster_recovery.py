# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Three nodes are destroyed; their rows come back on three hosts with other names."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from backuplib import content, put
from testlib import Hosts, Mcp, health, kill_after, play, reachable, ssh, start

SCENARIO = Path(__file__).parents[1]
LOST = Hosts(SCENARIO)
FOUND = Hosts(SCENARIO, "replacement")
TABLES = ("erlmcp_session", "erlmcp_item")
REPLACEMENT = {"erlmcp_hosts": "replacement"}


def evaluate(address, text):
    return ssh(address, f'erlmcp eval "{" ".join(text.split())}"').stdout.strip()


def hosts(*arguments):
    shared = SCENARIO.parent / "shared"
    subprocess.run([sys.executable, shared / "hosts.py", *arguments], check=True, stdout=subprocess.DEVNULL)


def test_a_cluster_comes_back_on_machines_with_other_names(tmp_path):
    first, second, third = LOST.values()
    sessions = {address: put(address, 25, f"of-{number}") for number, address in enumerate(LOST.values())}
    wanted = content(first)
    assert wanted[1] == 75
    assert content(third)[4] == wanted[4]
    audit = [content(address)[2] for address in LOST.values()]

    saved = play("erlmcp.ops.backup", LOST, {"erlmcp_backup_fetch_dir": str(tmp_path)})
    assert saved.rc == 0, saved.messages
    for name in LOST:
        hosts("power", "kill", name)
    assert not any(reachable(address, 22, 1) for address in LOST.values())

    provisioned = play("erlmcp.ops.site", FOUND, REPLACEMENT)
    assert provisioned.rc == 0, provisioned.messages
    recover = {
        **REPLACEMENT,
        "erlmcp_backup_restore_from": str(tmp_path),
        "erlmcp_backup_restore_map": dict(zip(FOUND, LOST)),
    }
    shown = play("erlmcp.ops.restore", FOUND, recover, ["--check"])
    assert shown.rc == 0, shown.messages
    assert "a.found.test (erlmcp@a.found.test) gets erlmcp-n1.lost.test-" in shown.output
    assert all(content(address)[1] == 0 for address in FOUND.values())

    started = time.monotonic()
    done = play("erlmcp.ops.restore", FOUND, recover)
    print(f"restored in {time.monotonic() - started:.1f} s")
    assert done.rc == 0, done.messages

    names = {f"erlmcp@{name}" for name in FOUND}
    for number, address in enumerate(FOUND.values()):
        assert health(address)["status"] == "healthy"
        found = content(address)
        assert (found[0], found[1], found[3], found[4]) == (wanted[0], wanted[1], 0, wanted[4])
        assert found[2] == audit[number]
        running = evaluate(address, "lists:sort(mnesia:system_info(running_db_nodes)).")
        assert set(running.strip("[]").replace("'", "").replace(" ", "").split(",")) == names
        assert "lost" not in evaluate(address, "mnesia:system_info(db_nodes).")
        for table in TABLES:
            assert evaluate(address, f"length(mnesia:table_info({table}, disc_copies)).") == "3"

    # They are one cluster again: what one takes in, the others have.
    with Mcp(FOUND["a.found.test"], session=sessions[third]) as client:
        assert client.call("get", key="of-2-7")["content"][0]["text"] == "x" * 200
        client.call("put", key="after", value="the flood")
    with Mcp(FOUND["c.found.test"], session=sessions[third]) as client:
        assert client.call("get", key="after")["content"][0]["text"] == "the flood"


@pytest.fixture(name="saved", scope="module")
def _saved(tmp_path_factory):
    """Function that backs the nodes up and then gives them a row more; returns variables that restore, and contents.

    The contents are those that were backed up and those there are now, of each node.
    """

    def save():
        directory = tmp_path_factory.mktemp("archives")
        before = [content(address) for address in FOUND.values()]
        done = play("erlmcp.ops.backup", FOUND, {**REPLACEMENT, "erlmcp_backup_fetch_dir": str(directory)})
        assert done.rc == 0, done.messages
        put(next(iter(FOUND.values())), 1, "later")
        variables = {
            **REPLACEMENT,
            "erlmcp_backup_restore_from": str(directory),
            "erlmcp_backup_restore_start_timeout_seconds": 20,
        }
        return variables, before, [content(address) for address in FOUND.values()]

    return save


@pytest.fixture(name="broken")
def _broken():
    """Function that keeps a node from serving with what is restored, by a command of its unit; undone afterwards."""
    address = FOUND["c.found.test"]
    drop_in = "/etc/systemd/system/erlmcp.service.d/fail.conf"

    def repair():
        ssh(address, f"rm -f {drop_in} && systemctl daemon-reload")

    def break_it(command):
        ssh(address, "rm -rf /var/lib/erlmcp.before-restore-*; mkdir -p /etc/systemd/system/erlmcp.service.d")
        ssh(address, f"cat > {drop_in} && systemctl daemon-reload", typed=f"[Service]\n{command}\n")
        return repair

    yield break_it
    repair()


NOT_AT_ALL = "ExecStartPre=/bin/sh -c '! ls -d /var/lib/erlmcp.before-restore-*'"
# The others find its tables, and serve.
NOT_HEALTHY = (
    'ExecStartPre=+/bin/sh -c \'R="INPUT -i lo -p tcp --dport 8080 -j REJECT"; iptables -D $$R;'
    " ! ls -d /var/lib/erlmcp.before-restore-* || iptables -I $$R'"
)


def whole():
    """Contents of all nodes, each of which is healthy and has no restore under way."""
    for address in FOUND.values():
        assert health(address)["status"] == "healthy"
        assert ssh(address, "ls -d /var/lib/.erlmcp.restore", check=False).returncode != 0
    return [content(address) for address in FOUND.values()]


@pytest.mark.parametrize(
    "command", [NOT_AT_ALL, NOT_HEALTHY], ids=["before the others serve", "after the others serve"]
)
def test_a_node_that_cannot_be_restored_takes_the_others_back(saved, broken, command):
    variables, _before, later = saved()
    broken(command)
    done = play("erlmcp.ops.restore", FOUND, variables)
    assert done.rc != 0
    assert "Every node has back what it had" in done.messages
    assert whole() == later


KEPT = "Decide that what is in service stays]"
CHANGED, DECIDED = "changed: [a.found.test]", "ok: [a.found.test]"


@pytest.mark.parametrize(
    ("task", "told", "command"),
    [
        ("Restore up to the step exchanged]", CHANGED, None),
        (KEPT, DECIDED, None),
        ("Stop the node and put back what it had]", CHANGED, NOT_AT_ALL),
    ],
    ids=["exchanged", "kept", "withdrawn"],
)
def test_a_restore_killed_between_two_nodes_comes_to_the_same_end_on_all(saved, broken, task, told, command):
    variables, before, _later = saved()
    repair = broken(command) if command else None
    # One host after the other.
    run = start("erlmcp.ops.restore", FOUND, variables, ["--forks", "1"])
    kill_after(run, f"TASK [erlmcp.ops.erlmcp_backup : {task}", told, timeout=300)
    if repair:
        repair()
    wanted = before
    if task == KEPT:
        # What is in service takes in rows, which the next run must not take away.
        put(next(iter(FOUND.values())), 1, "meanwhile")
        wanted = [content(address) for address in FOUND.values()]
    done = play("erlmcp.ops.restore", FOUND, variables)
    assert done.rc == 0, done.messages
    assert whole() == wanted


def test_one_node_of_a_shared_schema_is_not_restored_among_running_ones():
    before = [content(address) for address in FOUND.values()]
    done = play("erlmcp.ops.restore", FOUND, {"erlmcp_hosts": "a.found.test"})
    assert done.rc != 0
    assert "shares its tables with erlmcp@b.found.test, erlmcp@c.found.test" in done.messages
    assert [content(address) for address in FOUND.values()] == before
