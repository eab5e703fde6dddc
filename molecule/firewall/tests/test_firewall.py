# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who reaches what, tried from hosts inside and outside of the cluster."""

from __future__ import annotations

from pathlib import Path

import pytest
from testlib import Hosts, play, reachable, ssh

HOSTS = Hosts(Path(__file__).parents[1])
(OUTSIDER,) = Hosts(Path(__file__).parents[1], "outsiders").values()
NODE, PEER = HOSTS.values()
EVERYBODY = {"ssh": 22, "mcp": 5005, "http": 8080}
PEERS_ONLY = {"metrics": 9090, "distribution": 9100, "epmd": 4369}


def reaches(source, target, port):
    return ssh(source, f"nc -z -w 2 {target} {port}", check=False).returncode == 0


def own_rules(address):
    return {line for line in ssh(address, "ufw show added").stdout.splitlines() if "erlmcp: " in line}


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


def test_a_monitor_gets_to_the_metrics_when_it_is_allowed_and_not_after():
    allowed = play("erlmcp.ops.site", HOSTS, {"erlmcp_firewall_monitor_addresses": [OUTSIDER]})
    assert allowed.rc == 0, allowed.messages
    assert reaches(OUTSIDER, NODE, 9090)
    assert not reaches(OUTSIDER, NODE, 9100)
    taken_back = play("erlmcp.ops.site", HOSTS)
    assert taken_back.rc == 0, taken_back.messages
    assert not reaches(OUTSIDER, NODE, 9090)


def test_rules_of_others_are_left_alone():
    ssh(NODE, "ufw allow proto tcp from any to any port 7777 comment 'by hand'")
    try:
        done = play("erlmcp.ops.site", HOSTS, {"erlmcp_firewall_monitor_addresses": [OUTSIDER]})
        assert done.rc == 0, done.messages
        assert play("erlmcp.ops.site", HOSTS).rc == 0
        assert "7777" in ssh(NODE, "ufw show added").stdout
    finally:
        ssh(NODE, "ufw delete allow proto tcp from any to any port 7777")


def test_ssh_is_not_cut_off_by_rules_that_forget_it():
    before = own_rules(NODE)
    done = play(
        "erlmcp.ops.site",
        HOSTS,
        {"erlmcp_firewall_rules": [{"name": "mcp", "port": "5005", "sources": ["any"]}]},
        ["--limit", next(iter(HOSTS)), "--tags", "erlmcp_firewall"],
    )
    try:
        assert done.rc == 0, done.messages
        assert not reaches(OUTSIDER, NODE, 8080)
        assert reaches(OUTSIDER, NODE, 22)
        assert reachable(NODE, 22)
    finally:
        assert play("erlmcp.ops.site", HOSTS).rc == 0
    assert own_rules(NODE) == before


def test_an_open_ssh_session_survives_the_switching_on():
    ssh(NODE, "ufw disable")
    done = ssh(NODE, "ufw --force enable > /dev/null; sleep 1; echo still here")
    assert done.stdout == "still here\n"


def test_everything_still_answers_after_a_reboot_of_the_firewall():
    ssh(NODE, "systemctl restart ufw")
    test_what_is_for_everybody_is_reached_from_outside(5005)
    for port in PEERS_ONLY.values():
        assert not reaches(OUTSIDER, NODE, port)
