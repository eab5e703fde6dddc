# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the port mapper listens, and nodes that do without it."""

from __future__ import annotations

from pathlib import Path

from testlib import Hosts, play, ssh

HOSTS = Hosts(Path(__file__).parents[1])


def listening(address):
    return set(ssh(address, "ss -Htln 'sport = 4369' | awk '{print $4}'").stdout.split())


def peers(address):
    return ssh(address, "erlmcp eval 'nodes().'").stdout.strip()


def test_epmd_listens_on_the_address_that_peers_use_and_on_loopback():
    for address in HOSTS.values():
        assert listening(address) == {f"{address}:4369", "127.0.0.1:4369", "[::1]:4369"}


def test_an_address_that_the_host_does_not_have_is_refused_before_anything_changes():
    for options in ([], ["--check"]):
        refused = play("erlmcp.ops.site", HOSTS, {"erlmcp_node_epmd_address": "192.0.2.1"}, options)
        assert refused.rc != 0
        assert "could not listen on '192.0.2.1'" in refused.messages
        assert refused.changed == set()


def test_without_epmd_the_nodes_find_each_other_during_the_roll_and_after():
    one, other = HOSTS.values()
    try:
        without = {"erlmcp_epmd_enabled": False}
        done = play("erlmcp.ops.site", HOSTS, without)
        assert done.rc == 0, done.messages
        assert (listening(one), listening(other)) == (set(), set())
        assert peers(one) == f"['erlmcp@{list(HOSTS)[1]}']"
        assert peers(other) == f"['erlmcp@{list(HOSTS)[0]}']"
        assert "erlmcp@" in ssh(one, "erlmcp rpc erlang node").stdout
        assert play("erlmcp.ops.site", HOSTS, without, ["--check"]).changed == set()
    finally:
        # Started one by one, a node that asks epmd does not find those that still do without it.
        for address in HOSTS.values():
            ssh(address, "systemctl stop erlmcp")
        back = play("erlmcp.ops.site", HOSTS)
        assert back.rc == 0, back.messages
    test_epmd_listens_on_the_address_that_peers_use_and_on_loopback()
    assert peers(one) == f"['erlmcp@{list(HOSTS)[1]}']"
