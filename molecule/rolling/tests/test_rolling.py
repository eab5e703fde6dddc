# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a change reaches a running cluster: one node at a time, resumable, stopped by the first failure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from testlib import Hosts, Mcp, Watch, health, kill_after, play, ssh, start, wait_until_healthy

HOSTS = Hosts(Path(__file__).parents[1])
FIRST, SECOND, THIRD = HOSTS
HOSTS_PROGRAM = Path(__file__).parents[2] / "shared/hosts.py"


def pids():
    return {name: ssh(address, "systemctl show -P MainPID erlmcp").stdout.strip() for name, address in HOSTS.items()}


def serving():
    return {name for name, address in HOSTS.items() if (health(address) or {}).get("status") == "healthy"}


def log_level(name):
    return ssh(HOSTS[name], "erlmcp eval 'maps:get(level, logger:get_primary_config()).'").stdout.strip()


@pytest.fixture(scope="module", autouse=True)
def _hosts_have_just_booted():
    HOSTS.wait_until_whole()


def locked():
    held = "test -e /run/erlmcp-ops/erlmcp.cluster-lock"
    return {name for name, address in HOSTS.items() if ssh(address, held, check=False).returncode == 0}


@pytest.fixture(autouse=True)
def _cluster_as_it_was():
    """But for the log level, which each test sets to another one. However a run ended, it has given the lock back."""
    yield
    assert locked() == set()
    if serving() != set(HOSTS):
        HOSTS.restore()


def test_a_release_that_never_becomes_healthy_stops_at_the_first_node():
    """The first test of all: the way back is to what the hosts have got at first."""
    change = {
        "erlmcp_release_archive": "{{ __releases }}/erlmcp-1.2.0.tar.gz",
        "erlmcp_cluster_start_timeout_seconds": 10,
    }
    before = pids()
    done = play("erlmcp.ops.site", HOSTS, change)
    assert done.rc != 0
    assert "never becomes healthy" in done.messages
    assert serving() == {SECOND, THIRD}
    back = play("erlmcp.ops.site", HOSTS)
    assert back.rc == 0, back.messages
    assert serving() == set(HOSTS)
    assert {pids()[name] for name in (SECOND, THIRD)} == {before[name] for name in (SECOND, THIRD)}


def take_names(address):
    """Be a local user who leaves links where a run would look for what another run has left."""
    names = ("erlmcp-config-bf3d3f1b-x", "erlmcp-config-999999999-aaaaaaaa")
    links = " ".join(f"{directory}/{name}" for directory in ("/tmp", "/var/tmp") for name in names)
    command = f"for each in {links}; do ln -sfn /root $each; done"
    ssh(address, f"setpriv --reuid nobody --regid nogroup --clear-groups sh -c '{command}'")


def test_a_change_restarts_one_node_at_a_time():
    before = pids()
    for address in HOSTS.values():
        take_names(address)
    with Watch(HOSTS) as watch:
        done = play("erlmcp.ops.site", HOSTS, {"erlmcp_node_log_level": "debug"})
    assert done.rc == 0, done.messages
    after = pids()
    assert all(after[name] != before[name] for name in HOSTS)
    assert {log_level(name) for name in HOSTS} == {"debug"}
    assert all(watch.outages(name) for name in HOSTS)
    assert watch.most_down_together() == 1


def test_runs_that_are_killed_before_and_during_the_roll_are_finished_by_the_next():
    change = {"erlmcp_node_log_level": "warning"}
    before, level = pids(), log_level(FIRST)
    with Watch(HOSTS) as watch:
        kill_after(start("erlmcp.ops.site", HOSTS, change), "Sort the node into the roll")
        assert pids() == before
        assert {log_level(name) for name in HOSTS} == {level}
        # Ansible prints the play once for each node of the roll.
        kill_after(start("erlmcp.ops.site", HOSTS, change), "PLAY [Restart the nodes", times=2)
        assert pids()[FIRST] != before[FIRST]
        assert pids()[THIRD] == before[THIRD]
        done = play("erlmcp.ops.site", HOSTS, change)
    assert done.rc == 0, done.messages
    assert {task for _host, task in done.changed} == {"erlmcp.ops.erlmcp_cluster : Bring the node to what is on disk"}
    assert all(pids()[name] != before[name] for name in HOSTS)
    assert {log_level(name) for name in HOSTS} == {"warning"}
    assert watch.most_down_together() == 1


def test_a_config_that_never_becomes_healthy_stops_at_the_first_node():
    before = pids()
    with Watch({name: HOSTS[name] for name in (SECOND, THIRD)}) as watch:
        done = play("erlmcp.ops.site", HOSTS, {"erlmcp_node_config": {"erlmcp": {"mcp_port": 22}}})
        assert done.rc != 0
        assert serving() == {SECOND, THIRD}
        assert "cannot listen on port 22" in done.messages
        assert "run the playbook revert_config" in done.messages
        # Until its turn a node keeps what it ran: a crash in the meantime must not bring it up with the bad config.
        assert "{mcp_port, 22}" not in ssh(HOSTS[SECOND], "cat /etc/erlmcp/sys.config").stdout
        # Nor does a set that somebody has broken since it ran.
        ssh(HOSTS[FIRST], "cd /etc/erlmcp/previous && cp -a sys.config /var/tmp/kept && echo broken >> sys.config")
        refused = play("erlmcp.ops.revert_config", HOSTS)
        assert refused.rc != 0
        assert "is not what it was when it ran" in refused.messages
        assert not [task for host, task in refused.changed if host == FIRST]
        ssh(HOSTS[FIRST], "mv /var/tmp/kept /etc/erlmcp/previous/sys.config")
        reverted = play("erlmcp.ops.revert_config", HOSTS)
        assert reverted.rc == 0, reverted.messages
    assert serving() == set(HOSTS)
    assert {name: pid for name, pid in pids().items() if name != FIRST} == {
        name: pid for name, pid in before.items() if name != FIRST
    }
    assert watch.most_down_together() == 0


def test_a_node_is_not_taken_down_while_another_one_is():
    ssh(HOSTS[THIRD], "systemctl stop erlmcp")
    before = pids()
    done = play("erlmcp.ops.site", HOSTS, {"erlmcp_node_log_level": "debug"}, ["--limit", FIRST])
    assert done.rc != 0
    assert f"erlmcp@{FIRST} is left running" in done.messages
    assert f"erlmcp@{THIRD} is not connected" in done.messages
    assert pids() == before
    # Stopped members come back as members, and that is what check mode says.
    for name in (FIRST, SECOND):
        ssh(HOSTS[name], "systemctl stop erlmcp")
    foreseen = play("erlmcp.ops.site", HOSTS, {"erlmcp_node_log_level": "debug"}, ["--check"])
    repaired = play("erlmcp.ops.site", HOSTS, {"erlmcp_node_log_level": "debug"})
    assert (foreseen.rc, repaired.rc) == (0, 0), foreseen.messages + repaired.messages
    assert foreseen.changed == repaired.changed


def test_a_run_whose_last_check_fails_says_so_and_keeps_no_lock():
    """Everything has been done, and then a node hangs."""
    running = start("erlmcp.ops.restart", HOSTS, {"erlmcp_cluster_wait_seconds": 3}, ["--limit", FIRST])
    assert any("PLAY [Prove the cluster" in line for line in running.stdout)
    ssh(HOSTS[FIRST], "systemctl kill --signal STOP erlmcp")
    try:
        printed = running.stdout.read()
        assert running.wait(timeout=60) != 0
        assert f"erlmcp@{FIRST}" in printed
        assert "Release the lock of the cluster" in printed
        assert locked() == set()
    finally:
        ssh(HOSTS[FIRST], "systemctl kill --signal CONT erlmcp")
    wait_until_healthy(HOSTS[FIRST])


def power(state, name):
    subprocess.run([sys.executable, HOSTS_PROGRAM, "power", state, name], check=True, capture_output=True, timeout=120)


def test_a_host_that_goes_off_during_a_run_is_named_and_the_next_run_ends_it():
    request = {"erlmcp_cluster_restart_reasons": ["requested"]}
    with Mcp(HOSTS[FIRST]) as client:
        client.call("put", key="before", value="acknowledged")
        session = client.server["_meta"]["sessionId"]
    before = pids()
    running = start("erlmcp.ops.roll", HOSTS, {**request, "erlmcp_cluster_wait_seconds": 10})
    assert any("PLAY [Restart the nodes" in line for line in running.stdout)
    power("kill", SECOND)
    try:
        printed = running.stdout.read()
        assert running.wait(timeout=180) != 0, printed
        found = play("erlmcp.ops.check_health", HOSTS, {"erlmcp_cluster_wait_seconds": 1})
    finally:
        power("on", SECOND)
    assert found.page[SECOND].keys() == {"ERLMCP_UNREACHABLE"}
    assert {code for host in (FIRST, THIRD) for code in found.page.get(host, ())} <= {"ERLMCP_LOCKED"}
    assert ssh(HOSTS[THIRD], "systemctl show -P MainPID erlmcp").stdout.strip() == before[THIRD]
    HOSTS.wait_until_whole()
    with Watch(HOSTS) as watch:
        done = play("erlmcp.ops.roll", HOSTS, request)
    assert done.rc == 0, done.messages
    assert pids()[THIRD] != before[THIRD]
    assert watch.most_down_together() == 1
    assert play("erlmcp.ops.check_health", HOSTS).page == {}
    for address in HOSTS.values():
        with Mcp(address, session=session) as client:
            assert client.call("get", key="before")["content"][0]["text"] == "acknowledged"


def test_a_requested_restart_restarts_every_node_once():
    before = pids()
    with Watch(HOSTS) as watch:
        done = play("erlmcp.ops.roll", HOSTS, {"erlmcp_cluster_restart_reasons": ["requested"]})
    assert done.rc == 0, done.messages
    assert all(pids()[name] != before[name] for name in HOSTS)
    assert watch.most_down_together() == 1
