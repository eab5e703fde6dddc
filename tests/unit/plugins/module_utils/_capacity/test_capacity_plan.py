# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The guide's table, and what follows from it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible_collections.erlmcp.ops.plugins.module_utils._capacity.plan import plan_capacity
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError

ROLES = Path(__file__).parents[5] / "roles"


def nodes(count, cores=16, memory_mb=32000):
    return {f"n{number}": {"processor_nproc": cores, "memtotal_mb": memory_mb} for number in range(1, count + 1)}


def settings(processes=0, ports=0, async_threads=0, schedulers="", files=65536):
    return {
        "erlmcp_node_process_limit": processes,
        "erlmcp_node_port_limit": ports,
        "erlmcp_node_async_threads": async_threads,
        "erlmcp_node_schedulers": schedulers,
        "erlmcp_node_open_files_limit": files,
    }


BASE = settings()
FULL = settings(1_000_000, 101_024, 32, "16:16", 102_048)

# Connections, nodes, options; whether it fits, share, settings, gain in percent, nodes needed.
TABLE = {
    "the guide's base": (50_000, nodes(1), {"spare_node": False}, True, 50_000, BASE, 0, 1),
    "one connection more": (
        *(50_001, nodes(1), {"spare_node": False}),
        *(True, 50_001, settings(1_000_000, 0, 32, "16:16"), 50, 2),
    ),
    "the guide's most": (100_000, nodes(1), {"spare_node": False}, True, 100_000, FULL, 50, 2),
    "more than the guide's most": (100_001, nodes(1), {"spare_node": False}, False, 100_001, {}, 0, 3),
    "the guide's drawing": (150_000, nodes(3), {"spare_node": False}, True, 50_000, BASE, 0, 3),
    "one node lost": (150_000, nodes(3), {}, True, 75_000, settings(1_000_000, 76_024, 32, "16:16", 77_048), 50, 4),
    "one node lost, three hold what two do": (200_000, nodes(3), {}, True, 100_000, FULL, 50, 5),
    "a node that nothing can replace": (50_000, nodes(1), {}, False, 50_000, BASE, 0, 2),
    "fewer would do": (40_000, nodes(5), {}, True, 10_000, BASE, 0, 2),
    "a share is rounded up": (100_001, nodes(3), {"spare_node": False}, True, 33_334, BASE, 0, 3),
    "fewer cores than the guide counts with": (
        *(100_000, nodes(1, cores=8), {"spare_node": False}),
        *(True, 100_000, {**FULL, "erlmcp_node_schedulers": "8:8"}, 20, 2),
    ),
    "hosts that differ": (
        *(200_000, nodes(2) | {"big": {"processor_nproc": 32, "memtotal_mb": 64000}}, {}),
        *(True, 100_000, {**FULL, "erlmcp_node_schedulers": ""}, 20, 5),
    ),
    "too little memory": (200_000, nodes(3, memory_mb=10_000), {}, False, 100_000, FULL, 50, 5),
    "memory to the last MiB": (200_000, nodes(3, memory_mb=10_790), {}, True, 100_000, FULL, 50, 5),
    "one MiB too few": (200_000, nodes(3, memory_mb=10_789), {}, False, 100_000, FULL, 50, 5),
    "little memory, more nodes": (40_000, nodes(1, memory_mb=2024), {"spare_node": False}, False, 40_000, BASE, 0, 4),
    "another assumption of memory": (
        *(100_000, nodes(2, memory_mb=3000), {"connection_memory_kb": 10, "memory_reserve_mb": 2000}),
        *(True, 100_000, FULL, 50, 3),
    ),
    "ports at the default": (64_512, nodes(1), {"spare_node": False, "node_connections": 64_512}, True, 64_512)
    + (settings(files=66_560), 0, 1),
    "ports above the default": (64_513, nodes(1), {"spare_node": False, "node_connections": 64_513}, True, 64_513)
    + (settings(ports=65_537, files=66_561), 0, 1),
    "measured to hold more": (
        *(400_000, nodes(3, memory_mb=64_000), {"node_connections_max": 200_000}),
        *(True, 200_000, settings(2_000_000, 201_024, 32, "16:16", 202_048), 50, 9),
    ),
    "strings of the command line": ("50000", nodes(1), {"spare_node": False, "memory_reserve_mb": "0"}, True, 50_000)
    + (BASE, 0, 1),
}


@pytest.mark.parametrize(
    ("connections", "hosts", "options", "fits", "share", "wanted", "gain", "needed"), TABLE.values(), ids=TABLE
)
def test_plan(connections, hosts, options, fits, share, wanted, gain, needed):
    plan = plan_capacity(connections, hosts, **options)
    assert (plan["fits"], plan["share"], plan["settings"]) == (fits, share, wanted)
    assert (plan["throughput_gain_percent"], plan["nodes_needed"]) == (gain, needed)
    assert plan["balancer"] == {"erlmcp_load_balancer_maxconn": int(connections) + 1024}
    assert bool(plan["problems"]) is not fits


@pytest.mark.parametrize("connections", [1, 49_999, 123_456, 1_000_000])
@pytest.mark.parametrize("memory_mb", [1500, 4000, 32_000])
@pytest.mark.parametrize("spare_node", [True, False])
def test_what_is_said_to_be_needed_fits_and_one_less_does_not(connections, memory_mb, spare_node):
    options = {"spare_node": spare_node, "node_connections_max": 50_000}
    needed = plan_capacity(connections, nodes(1, memory_mb=memory_mb), **options)["nodes_needed"]
    plan = plan_capacity(connections, nodes(needed, memory_mb=memory_mb), **options)
    assert plan["fits"]
    assert plan["settings"] == plan["nodes_needed_settings"]
    if needed > 1:
        assert not plan_capacity(connections, nodes(needed - 1, memory_mb=memory_mb), **options)["fits"]


def test_the_settings_are_variables_of_the_role():
    plan = plan_capacity(100_000, nodes(3))
    defaults = yaml.safe_load((ROLES / "erlmcp_node" / "defaults" / "main.yml").read_text())
    assert set(plan["settings"]) <= set(defaults)
    # What the plan calls a default is the role's.
    assert plan["nodes_needed_settings"] == {name: defaults[name] for name in plan["settings"]}


def test_the_defaults_are_those_of_role_and_filter():
    defaults = yaml.safe_load((ROLES / "erlmcp_scale" / "defaults" / "main.yml").read_text())
    names = ["spare_node", "node_connections", "node_connections_max", "connection_memory_kb", "memory_reserve_mb"]
    given = {name: defaults[f"erlmcp_scale_{name}"] for name in names}
    assert plan_capacity(123_456, nodes(3), **given) == plan_capacity(123_456, nodes(3))


def test_the_text_can_be_pasted_and_says_why_not():
    plan = plan_capacity(100_000, nodes(2, memory_mb=16_000) | nodes(1, memory_mb=8000))
    text = plan["text"]
    more = next(number for number, line in enumerate(text) if line.startswith("# More nodes"))
    assert yaml.safe_load("\n".join(text[:more])) == {**plan["settings"], **plan["balancer"]}
    assert yaml.safe_load("\n".join(text[more:])) == {**plan["nodes_needed_settings"], **plan["balancer"]}
    assert text[:3] == [
        "# 100000 connections, also with one node lost.",
        "# Bigger nodes: 2 nodes, 100000 connections and 10790 MiB of memory on each. It does not fit.",
        "# - n1 has 8000 MiB of memory, 2790 too few.",
    ]


def test_every_host_without_the_memory_is_named():
    plan = plan_capacity(100_000, {**nodes(3, memory_mb=4000), "n2": {"processor_nproc": 16, "memtotal_mb": 8000}})
    assert plan["memory_mb"] == 5907
    assert plan["problems"] == [
        "n1 has 4000 MiB of memory, 1907 too few.",
        "n3 has 4000 MiB of memory, 1907 too few.",
    ]


def test_limits_of_linux_are_told_where_they_matter():
    def told(share, **options):
        return " ".join(plan_capacity(share, nodes(1, memory_mb=500_000), spare_node=False, **options)["text"])

    assert "ip_local_port_range" not in told(28_232)
    assert "ip_local_port_range" in told(28_233)
    measured = {"node_connections_max": 2_000_000}
    assert "fs.nr_open" not in told(1_046_528, **measured)
    assert "fs.nr_open" in told(1_046_529, **measured)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"connections": 0}, "erlmcp_scale_connections is 0: it has to be a whole number of 1 or more"),
        ({"connections": "many"}, "erlmcp_scale_connections is 'many'"),
        ({"connections": 1.5}, "erlmcp_scale_connections is 1.5"),
        ({"connections": True}, "erlmcp_scale_connections is True"),
        ({"connections": None}, "erlmcp_scale_connections is None"),
        ({"node_connections": 0}, "erlmcp_scale_node_connections is 0"),
        ({"node_connections_max": 49_999}, "erlmcp_scale_node_connections_max is 49999: .* from 50000 to 13421772"),
        ({"node_connections_max": 13_421_773}, "erlmcp_scale_node_connections_max is 13421773"),
        ({"connection_memory_kb": 0}, "erlmcp_scale_connection_memory_kb is 0"),
        ({"memory_reserve_mb": -1}, "erlmcp_scale_memory_reserve_mb is -1: .* 0 or more"),
        ({"spare_node": "false"}, "erlmcp_scale_spare_node is 'false': it has to be true or false"),
        ({"nodes": {}}, "there are no nodes to plan for"),
        ({"nodes": {"a": {"memtotal_mb": 1}}}, "processor_nproc of a is None"),
        ({"nodes": {"a": {"processor_nproc": 1, "memtotal_mb": 0}}}, "memtotal_mb of a is 0"),
        (
            {"nodes": nodes(1, memory_mb=1024)},
            "n1 has 1024 MiB of memory, and erlmcp_scale_memory_reserve_mb keeps 1024",
        ),
    ],
)
def test_bad_input_is_named(changed, message):
    with pytest.raises(OpsError, match=message):
        plan_capacity(**{"connections": 1000, "nodes": nodes(3), **changed})
