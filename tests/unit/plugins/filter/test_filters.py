# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import importlib

import pytest
from ansible.errors import AnsibleFilterError

FILTERS = "ansible_collections.erlmcp.ops.plugins.filter"


def filter_named(name):
    return importlib.import_module(f"{FILTERS}.{name}").FilterModule().filters()[name]


@pytest.mark.parametrize(
    ("name", "arguments", "result"),
    [
        ("to_erlang", [{"a": 1}, True], "[\n  {a, 1}\n].\n"),
        ("to_sys_config", [{"a": {}}, ["{b, []}"], "x"], "%% x\n[\n  {a, []},\n  {b, []}\n].\n"),
        ("to_vm_args", [{"+P": 5}, "x"], "# x\n+P 5\n"),
        ("to_env_sh", [{"A": 1}, "x"], "# x\nexport A='1'\n"),
        ("node_name", [{"inventory_hostname": "a.b"}, "short"], "erlmcp@a"),
        ("contract_problems", [{}, {}], []),
        ("closed_addresses", [["10.0.0.1"]], ["10.0.0.1/32"]),
        ("atom", ["a@b"], {"$atom": "a@b"}),
        ("host_pattern", ["a,b:!c"], "a,b:!c"),
        ("host_pattern", [["a", " b "]], "a,b"),
        ("host_address", [{"inventory_hostname": "a"}], "a"),
        ("host_address", [{"inventory_hostname": "a", "ansible_host": "10.0.0.1"}], "10.0.0.1"),
        ("host_address", [{"ansible_host": "10.0.0.1", "erlmcp_address": "10.1.0.1"}], "10.1.0.1"),
    ],
)
def test_filter(name, arguments, result):
    assert filter_named(name)(*arguments) == result


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("to_erlang", {"a": {"$x": 1}}, "a: unknown tag"),
        ("to_sys_config", {"a": {"$x": 1}}, "a: unknown tag"),
        ("to_vm_args", {"-setcookie": "x"}, "-setcookie: "),
        ("to_env_sh", {"a-b": 1}, "'a-b' is no name"),
        ("closed_addresses", ["10.0.0.300"], "'10.0.0.300'.*: give an address"),
        ("host_pattern", " ", "erlmcp_hosts is empty"),
        ("host_pattern", [], "erlmcp_hosts is empty"),
        ("host_pattern", None, "erlmcp_hosts is empty"),
        ("node_name", {"inventory_hostname": "a"}, "a: 'erlmcp@a' is no Erlang node name"),
    ],
)
def test_a_refusal_is_a_filter_error(name, value, message):
    with pytest.raises(AnsibleFilterError, match=message):
        filter_named(name)(value)


ALONE = {"state": "running", "members": ["a"], "rows": {"t": 0}}
PAIR = {"state": "running", "members": ["a", "b"], "rows": {"t": 3}}


def asked(name, store, restarted=None, on_disk=()):
    node = {"name": name, "store": store, "members_on_disk": [*on_disk]}
    return {"__erlmcp_cluster_node": node, "__erlmcp_cluster_restarted": restarted or {}}


@pytest.mark.parametrize(
    ("hosts", "check_mode", "joining"),
    [
        # What the restart said counts, not what was before it.
        ([asked("a", None, {"state": {"name": "a", "store": PAIR}}), asked("b", PAIR)], False, []),
        ([asked("a", None, {"skipped": True}), asked("b", PAIR)], False, []),
        # In check mode nothing was started: a member of old is none that joins, a new node is.
        ([asked("a", None), asked("b", PAIR)], True, []),
        ([asked("c", None), asked("a", PAIR), asked("b", PAIR)], True, ["c"]),
        ([asked("a", None), asked("b", None), asked("c", None)], True, ["b", "c"]),
        (
            [asked("a", None, on_disk="abc"), asked("b", None, on_disk="abc"), asked("c", None, on_disk="c")],
            True,
            ["c"],
        ),
        ([{}, asked("b", ALONE)], False, ["b"]),
    ],
)
def test_nodes_to_join(hosts, check_mode, joining):
    names = sorted({host["__erlmcp_cluster_node"]["name"] for host in hosts if host} | {"a", "b"})
    assert filter_named("nodes_to_join")(hosts, names, "", check_mode) == joining


def test_a_restore_that_cannot_be_planned_is_a_text_and_no_error_of_a_template():
    chosen = filter_named("restore_plan")(["a"], {"a": "erlmcp@a"}, {"a": []})
    assert chosen["parts"] == {}
    assert "a: no good archive of a" in chosen["problem"]
    left = {"a": {"phase": "kept", "archive": "x", "together": ["erlmcp@a", "erlmcp@b"], "undo": False}}
    nodes, plan = {"a": "erlmcp@a", "b": "erlmcp@b"}, {"a": {"archive": "x"}}
    decided = filter_named("restore_leftovers")(left, nodes, plan)
    assert "a restore of a together with erlmcp@b has not ended" in decided["problem"]
    assert decided["action"] == ""
    assert filter_named("restore_leftovers")(left, nodes, plan, ["b"]) == {
        "action": "keep",
        "done": True,
        "text": "a restore had succeeded on all nodes when its run ended: what is in service stays",
        "run": "",
        "problem": "",
    }


def test_an_undo_that_cannot_be_planned_is_a_text_too():
    nothing = {"a": {"restore": None, "safety_copies": []}}
    planned = filter_named("undo_plan")(["a"], {"a": "erlmcp@a"}, nothing)
    assert planned["parts"] == {}
    assert "stands on a, so there is none to be taken back there" in planned["problem"]
