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
    "sessions": {"current": 89, "limit": 100},
    "certificate": None,
}
CERTIFICATES = [
    ({"days_left": None, "due": True}, CRIT, "cannot be read"),
    ({"days_left": -1, "due": True}, CRIT, "has ended 1 days ago"),
    ({"days_left": 0, "due": True}, WARN, "ends in 0 days"),
]


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
        "certificate": None,
    }
    return {"node": {**well, **changes}, "firewall": FIREWALL}


def page_of(nodes, balancers):
    return make_page(nodes, balancers, {name: f"erlmcp@{name}" for name in nodes})


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
    page = page_of(cluster(), {"lb": BALANCER})
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
    page = page_of(
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
    assert page["text"][0].endswith("sees erlmcp@a erlmcp@c, not erlmcp@b (see there)")
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
    page = page_of(cluster(a=node("a", **changes)), {})
    assert codes(page) == {"a": [code]}
    assert told in page["hosts"]["a"]["checks"][0]["evidence"]
    assert page["hosts"]["a"]["state"] == CRIT


@pytest.mark.parametrize(("found", "state", "told"), CERTIFICATES)
def test_a_certificate_that_ends_is_one_row_of_a_node_and_of_a_balancer(found, state, told):
    page = page_of(cluster(a=node("a", certificate=found)), {"lb": {**BALANCER, "certificate": found}})
    assert codes(page) == {"a": ["ERLMCP_CERTIFICATE"], "lb": ["ERLMCP_CERTIFICATE"]}
    for host in ("a", "lb"):
        assert page["hosts"][host]["state"] == state
        assert told in page["hosts"][host]["checks"][0]["evidence"]
    kept = {"days_left": 31, "due": False}
    assert codes(page_of(cluster(a=node("a", certificate=kept)), {"lb": {**BALANCER, "certificate": kept}})) == {}


def test_what_is_so_because_of_something_else_is_not_told():
    due, silent = row("ERLMCP_RESTART_DUE", WARN), {"distribution_error": "no cookie"}
    for cause, kept in (("ERLMCP_COOKIE", ["ERLMCP_RESTART_DUE"]), ("ERLMCP_CONFIG_BROKEN", [])):
        page = page_of(cluster(a=node("a", checks=[due, row(cause, CRIT)], **silent)), {})
        assert codes(page) == {"a": [cause, *kept]}


def test_of_the_host_of_another_node_nothing_else_is_told():
    page = page_of(cluster(a=node("a", **DOWN, checks=[row("ERLMCP_OTHER_NODE", CRIT)])), {})
    assert codes(page) == {"a": ["ERLMCP_OTHER_NODE"]}


def test_a_warning_fails_nobody():
    page = page_of(cluster(a=node("a", checks=[row("ERLMCP_RESTART_DUE", WARN)])), {})
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
    others = {name: node(name, missing_members=["erlmcp@a"]) for name in ("b", "c")}
    page = page_of(cluster(a={"node": found, "firewall": None}, **others), {"lb": {**BALANCER, "servers": servers}})
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
    page = page_of(cluster(a={**node("a"), "firewall": {**FIREWALL, "pending": True, **changes}}), {})
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
        ({"sessions": {"current": 90, "limit": 100}}, "ERLMCP_BALANCER_FULL", CRIT),
        (servers(drained=True), "ERLMCP_SERVER_DRAINED", WARN),
        (servers(maintenance=True, up=False), "ERLMCP_SERVER_MAINTENANCE", WARN),
        (servers(up=False), "ERLMCP_SERVER_DOWN", CRIT),
    ],
)
def test_what_is_wrong_with_a_balancer_is_one_row(changes, code, state):
    page = page_of(cluster(), {"lb": {**BALANCER, **changes}})
    assert codes(page) == {"lb": [code]}
    assert page["hosts"]["lb"]["state"] == state


def test_a_balancer_that_could_not_be_looked_at_is_not_well():
    assert page_of(cluster(), {"lb": {"unreachable": True}})["hosts"]["lb"]["state"] == "UNKNOWN"


def test_the_filter_takes_what_the_roles_have_found():
    hostvars = {
        "a": {"__erlmcp_cluster_inspected": node("a")["node"], "__erlmcp_firewall_inspected": {"skipped": True}},
        "b": {
            "__erlmcp_cluster_inspected": node("b")["node"],
            "__erlmcp_firewall_inspected": {**FIREWALL, "pending": True},
        },
        "lb": {"__erlmcp_load_balancer_inspected": BALANCER},
        "lost": {"inventory_hostname": "lost"},
    }
    page = health_page(list(hostvars), hostvars)
    assert codes(page) == {"b": ["ERLMCP_FIREWALL_DIFFERS"], "lost": ["ERLMCP_NOT_LOOKED_AT"]}
    assert page["text"][-1] == "4 hosts: 1 CRIT, 1 UNKNOWN, 2 OK"
