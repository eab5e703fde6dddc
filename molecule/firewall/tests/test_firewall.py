# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who reaches what, tried from hosts inside and outside of the cluster, with each firewall in turn."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from testlib import Hosts, play, reachable, ssh, wait_until

HOSTS = Hosts(Path(__file__).parents[1])
(OUTSIDER,) = Hosts(Path(__file__).parents[1], "outsiders").values()
NODE, PEER = HOSTS.values()
EVERYBODY = {"ssh": 22, "mcp": 5005, "http": 8080}
PEERS_ONLY = {"metrics": 9090, "distribution": 9100, "epmd": 4369}


@dataclass(frozen=True)
class Firewall:
    """Shell commands for what the module does not do: what an administrator, or a boot, does."""

    name: str
    is_on: str
    own_rules: str
    by_hand: str
    by_hand_is_there: str
    undo_by_hand: str
    off: str
    on: str
    boots: tuple


FIREWALLS = (
    Firewall(
        "firewalld",
        is_on="firewall-cmd --state",
        own_rules="firewall-cmd --policy=erlmcp_ops --list-rich-rules",
        by_hand="firewall-cmd --add-port=7777/tcp && firewall-cmd --permanent --add-port=7778/tcp",
        # The former is there at run time only, so a reload would lose it.
        by_hand_is_there="firewall-cmd --query-port=7777/tcp && firewall-cmd --permanent --query-port=7778/tcp",
        undo_by_hand="rm -f /etc/firewalld/zones/public.xml* && firewall-cmd --reload",
        off="systemctl stop firewalld",
        on="systemctl start firewalld",
        boots=("systemctl restart firewalld",),
    ),
    Firewall(
        "ufw",
        is_on="ufw status | grep -qx 'Status: active'",
        own_rules="ufw show added | grep 'erlmcp: '",
        by_hand="ufw allow proto tcp from any to any port 7777 comment 'by hand'",
        by_hand_is_there="ufw show added | grep -q 7777",
        undo_by_hand="ufw delete allow proto tcp from any to any port 7777",
        off="ufw disable",
        on="ufw --force enable > /dev/null",
        boots=("systemctl restart ufw",),
    ),
    # Last, because it is what `auto` finds on these hosts: they are left with it.
    Firewall(
        "nftables",
        is_on="nft list table inet erlmcp_ops",
        own_rules="nft list table inet erlmcp_ops | grep 'erlmcp: '",
        by_hand="nft add table inet by_hand",
        by_hand_is_there="nft list table inet by_hand",
        undo_by_hand="nft delete table inet by_hand",
        off="nft delete table inet erlmcp_ops",
        on="nft -f /etc/nftables.d/erlmcp_ops.nft",
        # Debian's configuration begins with `flush ruleset`.
        boots=(
            "systemctl restart nftables",
            "systemctl reload nftables",
            "systemctl stop nftables && systemctl restart erlmcp-firewall",
        ),
    ),
)


@pytest.fixture(name="firewall", scope="module", autouse=True, params=FIREWALLS, ids=lambda each: each.name)
def _firewall(request):
    """Replaces the firewall that the hosts have; runs that name none then keep the new one.

    On fresh hosts, ufw and firewalld are not even installed when the change is predicted.
    """
    backend = {"erlmcp_firewall_backend": request.param.name}
    predicted, done = apply(backend, ["--check"]), apply(backend)
    assert (predicted.rc, done.rc) == (0, 0), predicted.messages + done.messages
    assert predicted.changed == done.changed
    return request.param


def apply(variables=None, options=()):
    return play(str(Path(__file__).parents[1] / "apply.yml"), HOSTS, variables, options)


def reaches(source, target, port):
    return ssh(source, f"nc -z -w 2 {target} {port}", check=False).returncode == 0


def succeeds(address, command):
    return ssh(address, command, check=False).returncode == 0


def own_rules(firewall, address):
    return set(ssh(address, firewall.own_rules).stdout.splitlines())


def test_exactly_one_firewall_is_on(firewall):
    for address in HOSTS.values():
        assert [each.name for each in FIREWALLS if succeeds(address, each.is_on)] == [firewall.name]


def test_the_firewall_in_use_is_kept_and_there_is_nothing_left_to_do():
    for options in ([], ["--check", "--diff"]):
        done = apply(options=options)
        assert (done.rc, done.changed) == (0, set()), done.messages


@pytest.mark.parametrize("port", EVERYBODY.values(), ids=EVERYBODY)
def test_what_is_for_everybody_is_reached_from_outside(port):
    assert reaches(OUTSIDER, NODE, port)
    assert reaches(PEER, NODE, port)


@pytest.mark.parametrize("port", PEERS_ONLY.values(), ids=PEERS_ONLY)
def test_what_is_for_peers_is_reached_by_peers_only(port):
    assert reaches(PEER, NODE, port)
    assert not reaches(OUTSIDER, NODE, port)


def test_the_ports_that_are_refused_are_open_behind_the_firewall():
    """Otherwise the test before would pass with nothing listening."""
    for port in PEERS_ONLY.values():
        assert reaches(NODE, NODE, port)


def test_a_port_that_no_rule_names_is_closed():
    ssh(NODE, "systemd-run --collect --unit=stray nc -lk 12345")
    try:
        assert reaches(NODE, NODE, 12345)
        assert not reaches(OUTSIDER, NODE, 12345)
        assert not reaches(PEER, NODE, 12345)
    finally:
        ssh(NODE, "systemctl stop stray")


def test_a_monitor_gets_to_the_metrics_while_it_is_allowed_and_rules_of_others_are_left_alone(firewall):
    ssh(NODE, firewall.by_hand)
    try:
        allowed = apply({"erlmcp_firewall_monitor_addresses": [OUTSIDER]})
        assert allowed.rc == 0, allowed.messages
        assert reaches(OUTSIDER, NODE, 9090)
        assert not reaches(OUTSIDER, NODE, 9100)
        taken_back = apply()
        assert taken_back.rc == 0, taken_back.messages
        assert not reaches(OUTSIDER, NODE, 9090)
        assert succeeds(NODE, firewall.by_hand_is_there)
    finally:
        ssh(NODE, firewall.undo_by_hand)


def test_a_firewall_with_rules_of_others_is_not_replaced(firewall):
    if firewall.name == "nftables":
        pytest.skip("the table is nothing but ours")
    before = own_rules(firewall, NODE)
    ssh(NODE, firewall.by_hand)
    try:
        for options in ([], ["--check"]):
            refused = apply({"erlmcp_firewall_backend": "nftables"}, ["--limit", next(iter(HOSTS)), *options])
            assert refused.rc != 0
            assert f"{firewall.name} is on too" in refused.messages
        assert succeeds(NODE, firewall.is_on)
        assert succeeds(NODE, firewall.by_hand_is_there)
        assert not succeeds(NODE, "nft list table inet erlmcp_ops")
        assert own_rules(firewall, NODE) == before
    finally:
        ssh(NODE, firewall.undo_by_hand)


def test_ssh_is_not_cut_off_by_rules_that_forget_it(firewall):
    before = own_rules(firewall, NODE)
    done = apply(
        {"erlmcp_firewall_rules": [{"name": "mcp", "port": "5005", "sources": ["any"]}]},
        ["--limit", next(iter(HOSTS))],
    )
    try:
        assert done.rc == 0, done.messages
        assert not reaches(OUTSIDER, NODE, 8080)
        assert reaches(OUTSIDER, NODE, 22)
        assert reachable(NODE, 22)
    finally:
        assert apply().rc == 0
    assert own_rules(firewall, NODE) == before


def test_an_open_ssh_session_survives_the_switching_on(firewall):
    ssh(NODE, firewall.off)
    done = ssh(NODE, f"{firewall.on}; sleep 1; echo still here")
    assert done.stdout == "still here\n"


def test_a_firewall_that_was_switched_off_is_switched_on(firewall):
    ssh(NODE, firewall.off)
    predicted, done = apply(options=["--check"]), apply()
    assert (predicted.rc, done.rc) == (0, 0), done.messages
    assert predicted.changed == done.changed
    assert done.changed
    assert not reaches(OUTSIDER, NODE, 9100)


def test_everything_still_answers_after_a_reboot_of_the_firewall(firewall):
    for boot in firewall.boots:
        ssh(NODE, boot)
        test_what_is_for_everybody_is_reached_from_outside(5005)
        for port in PEERS_ONLY.values():
            # firewalld says that it has started before its rules are there.
            wait_until(lambda port=port: not reaches(OUTSIDER, NODE, port), f"port {port} stays open", seconds=10)
    assert apply().changed == set()
