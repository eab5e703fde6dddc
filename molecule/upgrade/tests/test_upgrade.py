# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Three nodes behind a balancer change their release, and are restarted, while clients notice nothing."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from backuplib import SOAK, content, pid
from loadlib import HttpLoad, McpLoad
from testlib import Hosts, Mcp, Watch, health, play, reachable, ssh, start, wait_until

SCENARIO = Path(__file__).parents[1]
HOSTS = Hosts(SCENARIO)
((BALANCER_NAME, BALANCER),) = Hosts(SCENARIO, "erlmcp_balancers").items()
FIRST, SECOND, THIRD = HOSTS
RELEASES, BROKEN, CRASHING = {"1.0.0", "1.1.0"}, "1.2.0", "1.3.0"
# The same version as the broken one, and an archive just as rebar3 makes it, with a file twice in it.
REPAIRED = "1.2.0-repaired"
SESSION_SECONDS = {"erlmcp_load_balancer_drain_seconds": 10, "erlmcp_cluster_drain_timeout_seconds": 10}


def archive(version):
    return {"erlmcp_release_archive": f"{{{{ __releases }}}}/erlmcp-{version}.tar.gz", **SESSION_SECONDS}


def versions():
    # While systemd waits before it starts a node again, there is no runtime directory.
    read = "until cat /run/erlmcp/started.release 2> /dev/null; do sleep 0.1; done"
    return {name: ssh(address, read).stdout.strip() for name, address in HOSTS.items()}


def pids():
    return {name: pid(address) for name, address in HOSTS.items()}


def tell(command):
    """Say something to HAProxy, as an operator does."""
    return ssh(BALANCER, f"echo '{command}' | nc -N -U /run/haproxy/erlmcp.sock").stdout


def server_states():
    """Administrative state of each server of each backend, 0 for one that gets its share."""
    lines = tell("show servers state").splitlines()
    fields = [line.split() for line in lines if line[:1].isdigit() and " " in line]
    return {(each[1], each[3]): each[6] for each in fields}


@contextmanager
def load():
    """Clients on both ports of the balancer; none of their requests may fail."""
    with Watch(HOSTS) as watch, McpLoad(BALANCER) as mcp, HttpLoad(BALANCER) as http:
        yield watch
    print(mcp, http, sep="\n")
    assert min(mcp.requests, http.requests) > 100
    assert not mcp.failures, mcp
    assert not http.failed, http


@pytest.fixture(scope="module", autouse=True)
def _hosts_have_just_booted():
    HOSTS.wait_until_whole()


@pytest.fixture(name="old")
def _old():
    """The release that all nodes run; either of the two is a change from the other, so none has to be undone."""
    running = set(versions().values())
    if len(running) != 1 or any((health(address) or {}).get("status") != "healthy" for address in HOSTS.values()):
        HOSTS.restore()
        running = set(versions().values())
    (version,) = running
    return version


@pytest.fixture(name="new")
def _new(old):
    """The release to go to."""
    (version,) = RELEASES - {old}
    return version


@pytest.fixture(autouse=True)
def _every_server_gets_its_share():
    yield
    assert set(server_states().values()) == {"0"}


def turns(done):
    """The hosts in the order in which they were restarted."""
    return [
        host
        for step in done.report["plays"]
        for task in step["tasks"]
        for host in task["hosts"]
        if task["task"]["name"].endswith("Bring the node to what is on disk")
    ]


def test_upgrade_restart_and_rollback_fail_no_request_and_the_canary_goes_first(old, new):
    # The release is not on the hosts yet when the hosts have just booted.
    upgrade = {**archive(new), "erlmcp_cluster_canary": SECOND}
    shown = play("erlmcp.ops.upgrade", HOSTS, upgrade, ["--check"])
    assert shown.rc == 0, shown.messages
    assert set(versions().values()) == {old}
    for playbook, variables, version in (
        ("upgrade", upgrade, new),
        ("restart", SESSION_SECONDS, new),
        ("rollback", SESSION_SECONDS, old),
    ):
        before = pids()
        started = time.monotonic()
        with load() as watch:
            done = play(f"erlmcp.ops.{playbook}", HOSTS, variables)
        print(f"{playbook}: {time.monotonic() - started:.0f} s")
        assert done.rc == 0, done.messages
        if playbook == "upgrade":
            # In check mode there is no new archive that could be marked as proven.
            proven = {each for each in done.changed if each[1].endswith("Verify every byte and every table")}
            assert done.changed - proven == shown.changed
            assert turns(done) == [SECOND, FIRST, THIRD]
        assert set(versions().values()) == {version}
        assert all(pids()[name] != before[name] for name in HOSTS)
        assert watch.most_down_together() == 1
        assert len({content(address)[4] for address in HOSTS.values()}) == 1


def test_a_release_that_never_gets_healthy_is_taken_back_on_the_first_node_only(old):
    before = pids()
    with load() as watch:
        done = play("erlmcp.ops.upgrade", HOSTS, {**archive(BROKEN), "erlmcp_cluster_start_timeout_seconds": 10})
    assert done.rc != 0
    assert "never becomes healthy" in done.messages
    assert f"put back on release {old} and serves again" in done.messages
    assert set(versions().values()) == {old}
    assert {name: pids()[name] for name in (SECOND, THIRD)} == {name: before[name] for name in (SECOND, THIRD)}
    assert all(not watch.outages(name) for name in (SECOND, THIRD))
    for address in HOSTS.values():
        assert ssh(address, "readlink /opt/erlmcp/next", check=False).returncode != 0


def laid_down(version):
    return {ssh(address, f"ls -d /opt/erlmcp/releases/{version}", check=False).returncode for address in HOSTS.values()}


def test_what_never_got_healthy_gives_way_to_a_rebuild_and_what_did_does_not(old):
    broken = {**archive(BROKEN), "erlmcp_cluster_start_timeout_seconds": 10}
    if laid_down(BROKEN) != {0}:
        assert play("erlmcp.ops.upgrade", HOSTS, broken).rc != 0
    shown = play("erlmcp.ops.upgrade", HOSTS, archive(REPAIRED), ["--check", "--diff"])
    assert shown.rc == 0, shown.messages
    assert set(versions().values()) == {old}
    done = play("erlmcp.ops.upgrade", HOSTS, archive(REPAIRED))
    assert done.rc == 0, done.messages
    assert set(versions().values()) == {BROKEN}
    assert done.changed == shown.changed
    refused = play("erlmcp.ops.upgrade", HOSTS, broken)
    assert refused.rc != 0
    assert "Releases are immutable" in refused.messages
    used = play("erlmcp.ops.remove_release", HOSTS, {"erlmcp_release_removed": BROKEN})
    assert used.rc != 0
    assert f"release {BROKEN} is current" in used.messages
    assert play("erlmcp.ops.rollback", HOSTS, SESSION_SECONDS).rc == 0
    assert set(versions().values()) == {old}
    removed = play("erlmcp.ops.remove_release", HOSTS, {"erlmcp_release_removed": BROKEN})
    assert removed.rc == 0, removed.messages
    assert {host for host, _task in removed.changed} == set(HOSTS)
    assert laid_down(BROKEN) == {2}


@pytest.mark.parametrize("level", ["ping", "process"])
def test_a_release_whose_application_crashes_after_seconds_is_taken_back_too(old, level):
    """Until then it is healthy at every level."""
    before = pids()
    patient = {
        "erlmcp_health_level": level,
        "erlmcp_health_settle_seconds": 10,
        "erlmcp_cluster_start_timeout_seconds": 20,
    }
    done = play("erlmcp.ops.upgrade", HOSTS, {**archive(CRASHING), **patient})
    assert done.rc != 0
    assert f"put back on release {old} and serves again" in done.messages
    assert set(versions().values()) == {old}
    assert {name: pids()[name] for name in (SECOND, THIRD)} == {name: before[name] for name in (SECOND, THIRD)}
    done = play("erlmcp.ops.check_health", HOSTS)
    assert done.rc == 0, done.messages


@pytest.mark.parametrize("level", ["ping", "process"])
def test_a_release_that_crashes_later_is_left_without_naming_one(old, level):
    """The first node has passed every proof before, and the second is not touched while the first is not well."""
    hasty = {"erlmcp_health_level": level, "erlmcp_health_settle_seconds": 0}
    before = pids()
    done = play("erlmcp.ops.upgrade", HOSTS, {**archive(CRASHING), **hasty, "erlmcp_cluster_canary_seconds": 10})
    assert done.rc != 0
    assert versions() == {FIRST: CRASHING, SECOND: old, THIRD: old}
    back = play("erlmcp.ops.rollback", HOSTS, {**SESSION_SECONDS, "erlmcp_health_level": level})
    assert back.rc == 0, back.messages
    assert set(versions().values()) == {old}
    assert {name: pids()[name] for name in (SECOND, THIRD)} == {name: before[name] for name in (SECOND, THIRD)}


def test_a_release_that_is_missing_or_runs_already_is_refused(old):
    before = pids()
    for playbook, variables, message in (
        ("upgrade", archive("9.9.9"), "erlmcp-9.9.9.tar.gz"),
        ("upgrade", archive(old), f"every node runs {old} already"),
        ("rollback", {"erlmcp_cluster_rollback_version": "0.0.1"}, "release 0.0.1 is not installed"),
    ):
        done = play(f"erlmcp.ops.{playbook}", HOSTS, variables)
        assert done.rc != 0
        assert message in done.messages
    assert pids() == before


def test_a_degraded_cluster_is_not_upgraded_unless_that_is_wanted(new):
    ssh(HOSTS[THIRD], "systemctl stop erlmcp")
    before = pids()
    done = play("erlmcp.ops.upgrade", HOSTS, archive(new))
    assert done.rc != 0
    assert f"does not see erlmcp@{THIRD}" in done.messages
    assert "erlmcp_cluster_force" in done.messages
    assert pids() == before
    forced = play("erlmcp.ops.upgrade", HOSTS, archive(new), ["-e", "erlmcp_cluster_force=true"])
    assert forced.rc == 0, forced.messages
    assert set(versions().values()) == {new}


def test_the_balancer_learns_who_leaves_and_who_joins(old):
    with load():
        left = play("erlmcp.ops.leave_cluster", HOSTS, {**SESSION_SECONDS, "erlmcp_cluster_leaving": THIRD})
    assert left.rc == 0, left.messages
    assert {name for _backend, name in server_states()} == {FIRST, SECOND}
    with load():
        back = play("erlmcp.ops.site", HOSTS, {**archive(old), "erlmcp_node_readmit": True})
    assert back.rc == 0, back.messages
    assert {name for _backend, name in server_states()} == set(HOSTS)
    assert len({content(address)[4] for address in HOSTS.values()}) == 1


def is_closed(connection, seconds=1):
    connection.settimeout(seconds)
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True
    except TimeoutError:
        return False


def is_refused(place):
    """Whether a new connection is closed at once."""
    try:
        with socket.create_connection(place, timeout=5) as connection:
            return is_closed(connection)
    except ConnectionResetError:
        return True


def open_by_one_source():
    """How many connections HAProxy counts for its only source."""
    entries = tell("show table erlmcp_mcp")
    return sum(map(int, re.findall(r"conn_cur=(\d+)", entries)))


def test_one_source_does_not_shut_the_others_out():
    """The limit is a tenth of ``erlmcp_load_balancer_maxconn``; who says nothing is not kept for long."""
    allowed, more = 500, 40
    with ExitStack() as held:
        connections = [
            held.enter_context(socket.create_connection((BALANCER, 5005), timeout=5)) for _number in range(allowed)
        ]
        for connection in connections:
            connection.sendall(b"{")
        # Its threads take connections in any order: one that came late may be counted before one that came first.
        wait_until(lambda: open_by_one_source() == allowed, "HAProxy has not counted all connections")
        assert all(is_refused((BALANCER, 5005)) for _number in range(more))
        request = """{"jsonrpc": "2.0", "id": 1, "method": "ping"}"""
        for name in HOSTS:
            answer = ssh(
                HOSTS[name],
                f"exec 3<>/dev/tcp/{BALANCER}/5005; echo '{request}' >&3; timeout 5 head -n 1 <&3; exec "
                f"4<>/dev/tcp/{BALANCER}/8080; printf 'GET /health HTTP/1.0\\r\\n\\r\\n' >&4; timeout 5 head -n 1 <&4",
            ).stdout
            assert '"result"' in answer, answer
            assert "200 OK" in answer, answer
        assert sum(is_closed(connection, 0.001) for connection in connections) == 0
    wait_until(lambda: open_by_one_source() == 0, "HAProxy still counts connections that were closed")
    with socket.create_connection((BALANCER, 5005), timeout=5) as silent:
        assert not is_closed(silent, 1)
        assert is_closed(silent, 10)


def test_what_was_edited_by_hand_is_repaired_and_loaded():
    """The process that runs says that it has the right configuration: the edit left its name alone."""
    config = "/etc/haproxy/haproxy.cfg"
    ssh(BALANCER, f"cp -p {config} /var/tmp/kept && sed -i '/server {THIRD}/d' {config} && systemctl reload haproxy")
    wait_until(lambda: {name for _backend, name in server_states()} == {FIRST, SECOND}, "HAProxy has not loaded it")
    tell(f"set server erlmcp_http/{FIRST} state drain")
    # More clients than it has been set up for.
    with ExitStack() as stack:
        for _number in range(45):
            stack.enter_context(Mcp(BALANCER))
        tell("set maxconn global 50")
        found = play("erlmcp.ops.check_health", HOSTS)
    assert found.rc != 0
    assert re.search("HAProxy has 4[5-9] connections, and takes 50", found.messages)
    # Edited back, and not loaded.
    ssh(BALANCER, f"mv /var/tmp/kept {config}")
    again = play("erlmcp.ops.check_health", HOSTS)
    servers, drained = "ERLMCP_BALANCER_SERVERS", "ERLMCP_SERVER_DRAINED"
    assert [{host: list(codes) for host, codes in played.page.items()} for played in (found, again)] == [
        {BALANCER_NAME: ["ERLMCP_BALANCER_EDITED", servers, "ERLMCP_BALANCER_FULL", drained]},
        {BALANCER_NAME: [servers, drained]},
    ]
    assert f"erlmcp_mcp does not know {THIRD}" in again.messages
    done = play("erlmcp.ops.site", HOSTS, options=["--tags", "erlmcp_load_balancer"])
    assert done.rc == 0, done.messages
    assert {name for _backend, name in server_states()} == set(HOSTS)
    ssh(BALANCER, "systemctl stop haproxy")
    stopped = play("erlmcp.ops.check_health", HOSTS)
    assert {host: list(codes) for host, codes in stopped.page.items()} == {BALANCER_NAME: ["ERLMCP_BALANCER_DOWN"]}
    (command,) = re.findall(r"do: ansible-playbook (\S+) (.*?)\. Until then", stopped.messages)
    mended = play(command[0], HOSTS, options=command[1].split())
    assert mended.rc == 0, mended.messages
    assert play("erlmcp.ops.check_health", HOSTS).page == {}
    assert ssh(BALANCER, "stat -c '%U %a' /run/haproxy/erlmcp.sock").stdout.strip() == "root 600"


def test_a_name_that_does_not_resolve_keeps_no_other_node_out(tmp_path):
    inventory = tmp_path / "renamed.yml"
    inventory.write_text(f"all: {{hosts: {{{THIRD}: {{erlmcp_address: gone.invalid}}}}}}\n")
    renamed = ["-i", str(inventory)]
    balancer = ["--limit", BALANCER_NAME, "--tags", "erlmcp_load_balancer"]
    done = play("erlmcp.ops.site", HOSTS, options=[*renamed, *balancer])
    assert done.rc == 0, done.messages
    ssh(BALANCER, "systemctl restart haproxy")
    wait_until(lambda: health(BALANCER) is not None, "HAProxy does not serve")
    found = play("erlmcp.ops.check_health", HOSTS, options=renamed)
    assert "ERLMCP_BALANCER_SERVERS" in found.page[BALANCER_NAME]
    assert f"erlmcp_mcp finds no {THIRD}, since the balancer cannot resolve gone.invalid" in found.messages
    back = play("erlmcp.ops.site", HOSTS, options=balancer)
    assert back.rc == 0, back.messages
    wait_until(lambda: play("erlmcp.ops.check_health", HOSTS).page == {}, "a server is missing")


def told_who_is_at_work(running):
    """A second operator is, while an upgrade runs."""
    for line in running.stdout:
        if "Check the cluster" in line or "Ask the node how it is" in line:
            break
    for playbook, change in (("restart", SESSION_SECONDS), ("site", {"erlmcp_node_log_level": "debug"})):
        second = play(f"erlmcp.ops.{playbook}", HOSTS, change)
        assert second.rc != 0
        assert "for upgrade to" in second.messages
        assert "root@" in second.messages
        assert not second.changed


def test_one_operator_at_a_time_and_killed_anywhere_it_is_finished_by_the_next_run(old, new):
    kills = 20 if SOAK else 1
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    version, other = new, old
    started = time.monotonic()
    running = start("erlmcp.ops.upgrade", HOSTS, {**archive(version), "erlmcp_health_level": "ping"})
    try:
        told_who_is_at_work(running)
        running.stdout.read()
        assert running.wait(timeout=300) == 0
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()
    longest = time.monotonic() - started
    assert set(versions().values()) == {version}
    while kills:
        version, other = other, version
        moment = chance.uniform(0, longest)
        with load() as watch:
            running = start("erlmcp.ops.upgrade", HOSTS, archive(version))
            deadline = time.monotonic() + moment
            while time.monotonic() < deadline and running.poll() is None:
                time.sleep(0.1)
            if running.poll() is not None:
                assert running.returncode == 0
                continue
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()
            found = versions()
            again = play("erlmcp.ops.upgrade", HOSTS, archive(version))
        assert again.rc == 0, (kills, moment, again.messages)
        print(f"killed after {moment:.1f} of {longest:.1f} s at {sorted(found.values())}")
        assert set(versions().values()) == {version}
        assert watch.most_down_together() <= 1
        assert set(server_states().values()) == {"0"}
        kills -= 1
    assert all(health(address)["status"] == "healthy" for address in HOSTS.values())
    assert reachable(BALANCER, 5005)
