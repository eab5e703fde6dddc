# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Releases without listeners, without ERTS, and another Debian: deployed, verified and restarted as safely."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from testlib import Hosts, Mcp, health, play, ssh

DIRECTORY = Path(__file__).parents[1]


BARE, SYSTEM_ERLANG, TRIXIE = (Hosts(DIRECTORY, "erlmcp", name) for name in ("bare", "system_erlang", "trixie"))
FIRST, SECOND = BARE
ALL = {**BARE, **SYSTEM_ERLANG, **TRIXIE}


def pid(address):
    return ssh(address, "systemctl show -P MainPID erlmcp").stdout


def test_the_level_that_answered_is_told():
    done = play("erlmcp.ops.check_health", BARE)
    assert done.rc == 0, done.messages
    for name in BARE:
        assert f"erlmcp@{name}: release 0.6.0, healthy (level ping answered)" in done.output
        # It opens a port that nobody has named.
        stray = f"erlmcp@{name} listens on 0.0.0.0 port [0-9]+, which its application erlmcp has opened"
        assert re.search(stray, " ".join(done.output.split())), done.output
    for name in TRIXIE:
        assert f"erlmcp@{name}: release 1.0.0, healthy (level http answered)" in done.output
        assert f"erlmcp@{name} listens on" not in " ".join(done.output.split())


@pytest.mark.parametrize("name", BARE)
def test_a_bare_release_runs_and_sees_its_peers_without_clustering_of_its_own(name):
    members = ssh(BARE[name], "erlmcp eval 'lists:sort([node() | nodes()]).'").stdout
    assert all(f"erlmcp@{each}" in members for each in BARE), members
    assert health(BARE[name]) is None


def test_a_release_whose_hook_is_missing_is_refused_unless_hooks_are_left_out():
    name = next(iter(BARE))
    for options in ([], ["--check"]):
        done = play("erlmcp.ops.site", BARE, {"erlmcp_start_hooks_enabled": True}, ["--limit", name, *options])
        assert done.rc != 0
        assert "runs bin/hooks/lacking before it starts Erlang" in done.messages
        assert not done.changed
    hooks = ssh(BARE[name], "grep ^PRE_START_HOOKS= /opt/erlmcp/current/bin/erlmcp").stdout
    assert hooks == 'PRE_START_HOOKS="hooks/lacking"\n'


def test_a_bare_release_is_restarted_one_node_at_a_time_and_verified():
    before = {name: pid(address) for name, address in BARE.items()}
    done = play("erlmcp.ops.site", BARE, {"erlmcp_node_log_level": "debug"}, ["--limit", "bare"])
    assert done.rc == 0, done.messages
    assert all(pid(address) != before[name] for name, address in BARE.items())
    assert play("erlmcp.ops.site", BARE, options=["--limit", "bare"]).rc == 0


def members(name):
    """What the node sees, nothing while it does not answer."""
    return ssh(BARE[name], "erlmcp eval 'lists:sort([node() | nodes()]).'", check=False).stdout.strip()


def part():
    """Cut the connection of the two; neither looks for the other."""
    for name, other in ((FIRST, SECOND), (SECOND, FIRST)):
        ssh(BARE[name], f"erlmcp eval \"erlang:disconnect_node('erlmcp@{other}').\"")
    assert [len(members(name).split(",")) for name in BARE] == [1, 1]


@pytest.mark.parametrize("command", ["systemctl restart erlmcp", "systemctl kill -s KILL erlmcp"])
def test_a_node_that_the_collection_did_not_start_finds_the_others(command):
    before = pid(BARE[FIRST])
    ssh(BARE[FIRST], command)
    deadline = time.monotonic() + 60
    while pid(BARE[FIRST]) in ("0\n", before) or not all(len(members(name).split(",")) == 2 for name in BARE):
        assert time.monotonic() < deadline
        time.sleep(0.5)


@pytest.mark.parametrize(
    ("playbook", "variables"),
    [
        ("check_health", {}),
        ("site", {}),
        ("join_cluster", {}),
        ("roll", {"erlmcp_cluster_restart_reasons": ["requested"]}),
        ("restart", {}),
    ],
)
def test_nodes_that_do_not_look_for_each_other_are_connected(playbook, variables):
    part()
    variables = {"erlmcp_hosts": "bare", **variables}
    shown = play(f"erlmcp.ops.{playbook}", BARE, variables, ["--check"])
    assert shown.rc == 0, shown.messages
    assert members(FIRST) == f"['erlmcp@{FIRST}']"
    done = play(f"erlmcp.ops.{playbook}", BARE, variables)
    assert done.rc == 0, done.messages
    assert [len(members(name).split(",")) for name in BARE] == [2, 2]
    assert done.changed


def test_a_bare_release_that_hangs_is_not_healthy():
    name, address = next(iter(BARE.items()))
    ssh(address, f"kill -STOP {pid(address)}")
    try:
        done = play("erlmcp.ops.check_health", BARE, {"erlmcp_cluster_wait_seconds": 1}, ["--limit", name])
    finally:
        ssh(address, f"kill -CONT {pid(address)}")
    assert done.rc != 0
    assert "level ping must answer, only process did" in done.messages
    assert play("erlmcp.ops.check_health", BARE).rc == 0


def test_a_level_that_does_not_answer_fails_when_it_must():
    done = play(
        "erlmcp.ops.check_health",
        BARE,
        {"erlmcp_http_enabled": True, "erlmcp_cluster_wait_seconds": 1},
        ["--limit", "bare"],
    )
    assert done.rc != 0
    assert "level http must answer, only ping did" in done.messages
    # As the inventory has it, with which the first test passes.
    assert "set erlmcp_http_enabled: false" in done.messages


@pytest.mark.parametrize("name", SYSTEM_ERLANG)
def test_a_release_without_erts_runs_on_the_systems_erlang_with_a_short_name(name):
    address = SYSTEM_ERLANG[name]
    assert health(address)["node"] == "erlmcp@localhost"
    assert "/usr/lib/erlang/erts-" in ssh(address, f"readlink /proc/{pid(address).strip()}/exe").stdout
    assert ssh(address, "erlmcp ping").stdout == "pong\n"


@pytest.mark.parametrize("name", TRIXIE)
def test_debian_13_serves(name):
    assert "trixie" in ssh(TRIXIE[name], "cat /etc/os-release").stdout
    assert health(TRIXIE[name])["status"] == "healthy"
    with Mcp(TRIXIE[name]) as client:
        assert client.call("echo", message="hello")["content"][0]["text"] == "hello"


@pytest.mark.parametrize("name", ALL)
def test_no_node_sees_another_cluster(name):
    own = next(group for group in (BARE, SYSTEM_ERLANG, TRIXIE) if name in group)
    members = ssh(ALL[name], "erlmcp eval 'nodes().'").stdout
    assert members.count("erlmcp@") == len(own) - 1


def test_a_release_without_erts_is_refused_where_the_erlang_is_another_one():
    done = play(
        "erlmcp.ops.site",
        TRIXIE,
        {
            "erlmcp_release_archive": "{{ __releases }}/erlmcp-1.0.0-noerts.tar.gz",
            "erlmcp_release_system_erlang": True,
            "erlmcp_install_dir": "/opt/another",
        },
        ["--limit", next(iter(TRIXIE)), "--tags", "erlmcp_release"],
    )
    assert done.rc != 0
    assert "needs ERTS" in done.messages
    assert play("erlmcp.ops.check_health", TRIXIE).rc == 0


def test_a_package_of_the_systems_erlang_that_is_missing_comes_back_without_a_restart():
    (name, address) = next(iter(SYSTEM_ERLANG.items()))
    ssh(address, "dpkg --purge --force-depends erlang-asn1")
    before = pid(address)
    done = play("erlmcp.ops.site", SYSTEM_ERLANG, options=["--limit", name])
    assert done.rc == 0, done.messages
    task = "erlmcp.ops.erlmcp_release : Ensure the system's Erlang is installed for a release without ERTS"
    assert done.changed == {(name, task)}
    assert pid(address) == before
