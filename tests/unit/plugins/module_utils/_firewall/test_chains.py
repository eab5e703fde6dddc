# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from ipaddress import ip_network

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._firewall.chains import input_chains, unclear_chains
from ansible_collections.erlmcp.ops.plugins.module_utils._firewall.rules import Rule

ESTABLISHED = {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}}
NEW = {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": "new"}}
LOOPBACK = {"match": {"op": "==", "left": {"meta": {"key": "iif"}}, "right": "lo"}}
INTERFACE = {"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "eth0"}}
ICMP = {"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": {"set": ["icmp", "ipv6-icmp"]}}}
PING = {"match": {"op": "==", "left": {"payload": {"protocol": "icmp", "field": "type"}}, "right": "echo-request"}}
SOURCE = {"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": "10.0.0.3"}}
ACCEPT, DROP, COUNTER = {"accept": None}, {"drop": None}, {"counter": {"packets": 0, "bytes": 0}}


def port(right, protocol="tcp", op="=="):
    return {"match": {"op": op, "left": {"payload": {"protocol": protocol, "field": "dport"}}, "right": right}}


def ruleset(*expressions, policy="drop", family="ip", table="x", **chain):
    place = {"family": family, "table": table}
    items = [
        {"metainfo": {"json_schema_version": 1}},
        {"table": {"family": family, "name": table}},
        {"chain": {**place, "name": "input", "type": "filter", "hook": "input", "policy": policy, **chain}},
        {"chain": {**place, "name": "other"}},
        *({"rule": {**place, "chain": "input", "expr": list(expression)}} for expression in expressions),
        {"rule": {**place, "chain": "other", "expr": [DROP]}},
    ]
    return json.dumps({"nftables": items})


def read(*expressions, **chain):
    found = input_chains(ruleset(*expressions, **chain), "inet erlmcp_ops")
    return [str(rule) for _name, rules in found for rule in rules]


EVERYTHING = "deny any/any from 0.0.0.0/0"


def test_what_can_be_no_new_connection_is_passed_over():
    assert read([ESTABLISHED, ACCEPT], [LOOPBACK, ACCEPT], [ICMP, ACCEPT], [PING, COUNTER, ACCEPT], [COUNTER]) == [
        EVERYTHING
    ]


def test_ports_that_get_in():
    expected = ["allow 22,9100:9105/tcp from 0.0.0.0/0", "allow 53/udp from 0.0.0.0/0", EVERYTHING]
    ports = port({"set": [22, {"range": [9100, 9105]}]})
    assert read([SOURCE, ports, ACCEPT], [port(53, "udp"), ACCEPT]) == expected


@pytest.mark.parametrize(
    "expression",
    [
        [ACCEPT],
        [NEW, ACCEPT],
        [SOURCE, ACCEPT],
        [INTERFACE, ACCEPT],
        [port("@services"), ACCEPT],
        [port(22, op="!="), ACCEPT],
        [{"jump": {"target": "other"}}],
        [{"vmap": {"key": {"ct": {"key": "state"}}, "data": {"set": []}}}],
        [{"xt": None}],
    ],
)
def test_reading_stops_where_nothing_is_certain(expression):
    assert read(expression) == []


@pytest.mark.parametrize(
    ("expressions", "policy", "is_unclear"),
    [
        ([[{"xt": None}, ACCEPT]], "drop", True),
        ([[ESTABLISHED, ACCEPT], [{"jump": {"target": "other"}}]], "drop", True),
        ([[SOURCE, ACCEPT]], "drop", True),
        # What is understood is refused or taken, and what drops nothing is in nobody's way.
        ([[{"xt": None}, ACCEPT]], "accept", False),
        ([[port(22), ACCEPT]], "drop", False),
        ([[ACCEPT]], "drop", False),
        ([[NEW, ACCEPT]], "drop", False),
    ],
)
def test_a_chain_that_drops_and_is_not_understood_is_named(expressions, policy, is_unclear):
    found = unclear_chains(ruleset(*expressions, policy=policy), "inet erlmcp_ops")
    assert found == (("chain input of table ip x",) if is_unclear else ())


def test_drops():
    assert read([port(25), DROP], [SOURCE, port(26), DROP], policy="accept") == ["deny 25/tcp from 0.0.0.0/0"]
    assert read([DROP], [ACCEPT], policy="accept") == [EVERYTHING]


def test_families():
    assert read(family="inet") == [EVERYTHING, "deny any/any from ::/0"]
    assert read(family="ip6") == ["deny any/any from ::/0"]
    assert read(family="bridge") == []


def test_our_own_and_other_hooks_are_left_out():
    assert read(family="inet", table="erlmcp_ops") == []
    assert read(hook="forward") == []
    assert read(policy="accept") == []


def test_name_and_rules():
    chain = {"family": "ip", "table": "x", "name": "in", "type": "filter", "hook": "input", "policy": "drop"}
    assert input_chains(json.dumps({"nftables": [{"chain": chain}]}), "") == (
        ("chain in of table ip x", (Rule("deny", "any", "any", ip_network("0.0.0.0/0")),)),
    )
