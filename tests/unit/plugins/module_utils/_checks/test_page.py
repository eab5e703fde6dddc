# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page that is read at night: what it says of each host, and of what is another one's fault nothing."""

from __future__ import annotations

import pytest
from ansible_collections.erlmcp.ops.plugins.filter.health_page import health_page
from ansible_collections.erlmcp.ops.plugins.module_utils._checks.page import make_page
from ansible_collections.erlmcp.ops.plugins.module_utils._checks.row import CRIT, WARN, Row

NAMES = ["a", "b", "c"]
NODES = [f"erlmcp@{name}" for name in NAMES]
FIREWALL = {"pending": False, "backend": "nftables", "installed": True, "added": [], "removed": []}
SERVERS = [
    {
        "backend": "erlmcp_mcp",
        "name": name,
        "address": "::1",
        "port": 1,
        "up": True,
        "drained": False,
        "maintenance": False,
    }
    for name in NAMES
]
BALANCER = {
    "running": True,
    "unit": {"active": "active", "result": "success", "enabled": True},
    "version": "1",
    "laid_down": "1",
    "edited": False,
    "servers": SERVERS,
    "differs": [],
}


def node(name, **changes):
    well = {
        "name": f"erlmcp@{name}",
        "running": True,
        "health": {"healthy": True, "level": "http", "detail": "200"},
        "release": {"running": "1.0.0"},
        "members": NODES,
        "missing_members": [],
        "not_sharing": [],
        "epmd_error": None,
        "distribution_error": None,
        "store": {"members": NODES, "running": NODES},
        "checks": [],
        "journal": [],
    }
    return {"node": {**well, **changes}, "firewall": FIREWALL}


def cluster(**changes):
    return {name: changes.get(name) or node(name) for name in NAMES}


DOWN = {
    "running": False,
    "health": {"healthy": False, "level": None, "detail": "erlmcp.service has failed"},
    "missing_members": ["erlmcp@a", "erlmcp@c"],
    "journal": ["eaddrinuse", "two", "three", "four"],
    "distribution_error": "erlmcp.service has failed",
}


def codes(page):
    return {host: [row["code"] for row in found["checks"]] for host, found in page["hosts"].items() if found["checks"]}


def row(code, state):
    return Row(code, state, "it is so", "mend {host}").as_dict()


def test_a_cluster_that_is_well_is_a_line_a_host():
    page = make_page(cluster(), {"lb": BALANCER})
    assert not page["failed"]
    assert page["text"] == [
        *(
            f"OK      {name}: erlmcp@{name}: release 1.0.0, healthy (level http answered), sees {' '.join(NODES)}"
            for name in NAMES
        ),
        "OK      lb: HAProxy runs, 3 of 3 servers are up",
        "4 hosts: 4 OK",
    ]


def test_one_fault_is_told_once_with_its_cause_its_journal_and_its_command():
    alone = {"missing_members": ["erlmcp@b"], "not_sharing": ["erlmcp@b"], "members": ["erlmcp@a", "erlmcp@c"]}
    servers = [{**each, "up": each["name"] != "b"} for each in SERVERS]
    taken = row("ERLMCP_PORT_TAKEN", CRIT)
    page = make_page(
        cluster(
            a=node("a", **alone), b=node("b", **DOWN, checks=[row("ERLMCP_LOCKED", WARN), taken]), c=node("c", **alone)
        ),
        {"lb": {**BALANCER, "servers": servers}},
    )
    assert codes(page) == {"b": ["ERLMCP_PORT_TAKEN", "ERLMCP_NODE_DOWN", "ERLMCP_LOCKED"]}
    assert page["failed"]
    assert page["hosts"]["b"]["text"] == [
        "CRIT    b: ERLMCP_PORT_TAKEN: it is so",
        "        journal: eaddrinuse",
        "        journal: two",
        "        journal: three",
        "        do: mend b",
        "CRIT    b: ERLMCP_NODE_DOWN: erlmcp.service has failed",
        "        do: Once its cause is mended: ansible-playbook erlmcp.ops.site --limit b",
        "WARN    b: ERLMCP_LOCKED: it is so",
        "        do: mend b",
    ]
    assert page["text"][0].endswith("sees erlmcp@a erlmcp@c, not erlmcp@b, which is down (see there)")
    assert page["text"][-2:] == ["OK      lb: HAProxy runs, 2 of 3 servers are up", "4 hosts: 1 CRIT, 3 OK"]


@pytest.mark.parametrize(
    ("changes", "code", "told"),
    [
        (DOWN, "ERLMCP_NODE_DOWN", "erlmcp.service has failed"),
        (
            {"health": {"healthy": False, "level": "http", "detail": "503"}},
            "ERLMCP_NODE_UNHEALTHY",
            "erlmcp@a is not healthy: 503",
        ),
        (
            {"health": {"healthy": False, "level": "ping", "detail": "waits for b"}, "store": {"waiting": ["t"]}},
            "ERLMCP_NODE_WAITS",
            "waits for b",
        ),
        ({"epmd_error": "silent", "distribution_error": "x"}, "ERLMCP_EPMD", "cannot be found by others: silent"),
        ({"distribution_error": "cookie", "missing_members": NODES}, "ERLMCP_DISTRIBUTION", "cannot be asked: cookie"),
        ({"missing_members": ["erlmcp@b"]}, "ERLMCP_MEMBERS_MISSING", "does not see erlmcp@b"),
        ({"not_sharing": ["erlmcp@b"]}, "ERLMCP_TABLES_NOT_SHARED", "does not share its tables with erlmcp@b"),
    ],
)
def test_what_is_wrong_with_a_node_is_one_row(changes, code, told):
    page = make_page(cluster(a=node("a", **changes)), {})
    assert codes(page) == {"a": [code]}
    assert told in page["hosts"]["a"]["checks"][0]["evidence"]
    assert page["hosts"]["a"]["state"] == CRIT


def test_a_warning_fails_nobody():
    page = make_page(cluster(a=node("a", checks=[row("ERLMCP_RESTART_DUE", WARN)])), {})
    assert (page["failed"], page["hosts"]["a"]["state"]) == (False, WARN)
    assert page["text"][0].startswith("WARN    a: erlmcp@a: release 1.0.0, healthy")
    assert page["text"][1:3] == ["WARN    a: ERLMCP_RESTART_DUE: it is so", "        do: mend a"]


@pytest.mark.parametrize(
    ("found", "code"),
    [
        ({"unreachable": True, "msg": "ssh:\n timed out"}, "ERLMCP_UNREACHABLE"),
        ({"msg": "no such variable"}, "ERLMCP_NOT_LOOKED_AT"),
        ({}, "ERLMCP_NOT_LOOKED_AT"),
    ],
)
def test_what_could_not_be_looked_at_is_not_well_and_its_node_is_not_called_up(found, code):
    servers = [{**each, "up": each["name"] != "a"} for each in SERVERS]
    page = make_page(cluster(a={"node": found, "firewall": None}), {"lb": {**BALANCER, "servers": servers}})
    assert codes(page) == {"a": [code]}
    assert page["failed"]
    assert page["hosts"]["a"]["state"] == "UNKNOWN"
    assert "\n" not in page["text"][0]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"added": [{"name": "ssh"}]}, "lacks ssh"),
        ({"removed": [{"name": "more"}]}, "has more"),
        ({}, "it is off"),
        ({"installed": False}, "not installed"),
    ],
)
def test_a_firewall_that_differs_is_told(changes, told):
    page = make_page(cluster(a={**node("a"), "firewall": {**FIREWALL, "pending": True, **changes}}), {})
    assert codes(page) == {"a": ["ERLMCP_FIREWALL_DIFFERS"]}
    assert told in page["hosts"]["a"]["checks"][0]["evidence"]


def servers(**changes):
    return {"servers": [{**SERVERS[0], **changes}, *SERVERS[1:]]}


@pytest.mark.parametrize(
    ("changes", "code", "state"),
    [
        ({"running": False}, "ERLMCP_BALANCER_DOWN", CRIT),
        ({"edited": True}, "ERLMCP_BALANCER_EDITED", CRIT),
        ({"version": "2"}, "ERLMCP_BALANCER_OUTDATED", CRIT),
        ({"version": None}, "ERLMCP_BALANCER_OUTDATED", CRIT),
        ({"differs": ["erlmcp_mcp does not know c"]}, "ERLMCP_BALANCER_SERVERS", CRIT),
        (servers(drained=True), "ERLMCP_SERVER_DRAINED", WARN),
        (servers(maintenance=True, up=False), "ERLMCP_SERVER_MAINTENANCE", WARN),
        (servers(up=False), "ERLMCP_SERVER_DOWN", CRIT),
    ],
)
def test_what_is_wrong_with_a_balancer_is_one_row(changes, code, state):
    page = make_page(cluster(), {"lb": {**BALANCER, **changes}})
    assert codes(page) == {"lb": [code]}
    assert page["hosts"]["lb"]["state"] == state


def test_a_balancer_that_could_not_be_looked_at_is_not_well():
    assert make_page(cluster(), {"lb": {"unreachable": True}})["hosts"]["lb"]["state"] == "UNKNOWN"


def test_the_filter_takes_what_the_roles_have_found():
    hostvars = {
        "a": {"__erlmcp_cluster_inspected": node("a")["node"], "__erlmcp_firewall_inspected": {"skipped": True}},
        "b": {
            "__erlmcp_cluster_inspected": node("b")["node"],
            "__erlmcp_firewall_inspected": {**FIREWALL, "pending": True},
        },
        "lb": {"__erlmcp_load_balancer_inspected": BALANCER},
        "lost": {},
    }
    page = health_page(list(hostvars), hostvars)
    assert codes(page) == {"b": ["ERLMCP_FIREWALL_DIFFERS"], "lost": ["ERLMCP_NOT_LOOKED_AT"]}
    assert page["text"][-1] == "4 hosts: 1 CRIT, 1 UNKNOWN, 2 OK"
