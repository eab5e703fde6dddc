# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module ``balancer_info``: what HAProxy says of itself, compared. ``upgrade`` asks a real one (site, check_health)."""

from __future__ import annotations

import hashlib

import pytest
from ansible_collections.erlmcp.ops.plugins.filter.balancer_servers import balancer_servers
from ansible_collections.erlmcp.ops.plugins.module_utils._balancer.info import (
    compare,
    parse_servers,
    parse_sessions,
    stamp_of,
)

# As HAProxy 2.6 says it.
STATES = """1
# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_port srv_fqdn
3 erlmcp_mcp 1 n1 10.0.0.1 2 0 1 9000 -
3 erlmcp_mcp 2 n2 10.0.0.2 2 8 1 9000 -
4 erlmcp_http 1 n1 10.0.0.1 0 5 1 8080 -

"""
CONFIG = b"frontend status\n    http-request return string %s if { path /version }\n"
DROPIN = b"[Service]\n"


def test_what_haproxy_lists_is_read():
    up = {"up": True, "drained": False, "maintenance": False}
    assert parse_servers(STATES) == [
        {"backend": "erlmcp_mcp", "name": "n1", "address": "10.0.0.1", "port": 9000, **up},
        {"backend": "erlmcp_mcp", "name": "n2", "address": "10.0.0.2", "port": 9000, **up, "drained": True},
        {
            "backend": "erlmcp_http",
            "name": "n1",
            "address": "10.0.0.1",
            "port": 8080,
            "up": False,
            "drained": False,
            "maintenance": True,
        },
    ]
    assert parse_servers("") == []


def test_the_connections_that_haproxy_counts_are_read():
    said = "Name: HAProxy\nMaxconn: 5000\nHard_maxconn: 5001\nCurrConns: 45\nCumConns: 46\n\n"
    assert parse_sessions(said) == {"current": 45, "limit": 5000}
    # It did not answer in time.
    assert parse_sessions("") is None


def wanted(backend, name, host, port):
    return {"backend": backend, "name": name, "host": host, "port": port}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ([], []),
        ([wanted("erlmcp_http", "n2", "n2", 8080)], ["erlmcp_http does not know n2"]),
        (
            [wanted("erlmcp_mcp", "n1", "gone", 9000)],
            [
                "erlmcp_mcp finds no n1, since the balancer cannot resolve gone: set its address in the inventory "
                "(erlmcp_address or ansible_host), or mend the name service"
            ],
        ),
        ([wanted("erlmcp_mcp", "n1", "n1", 1)], ["erlmcp_mcp looks for n1 at 10.0.0.1:9000 instead of n1:1"]),
        ([wanted("erlmcp_mcp", "n1", "n2", 9000)], ["erlmcp_mcp looks for n1 at 10.0.0.1:9000 instead of n2:9000"]),
        (
            None,
            [f"{each} knows {name}, which is no node" for each, name in (("erlmcp_http", "n1"), ("erlmcp_mcp", "n1"))],
        ),
    ],
)
def test_servers_that_differ_are_named(changed, told):
    addresses = {"n1": {"10.0.0.1"}, "n2": {"10.0.0.2", "::2"}, "gone": set()}
    servers = {
        (each["backend"], each["name"]): each
        for each in (
            wanted("erlmcp_mcp", "n1", "n1", 9000),
            wanted("erlmcp_mcp", "n2", "n2", 9000),
            wanted("erlmcp_http", "n1", "n1", 8080),
            *(changed or []),
        )
    }
    expected = [each for each in servers.values() if changed is not None or each["name"] != "n1"]
    assert compare(parse_servers(STATES), expected, addresses.__getitem__) == told


def test_a_configuration_that_was_edited_does_not_have_its_own_name():
    name = hashlib.sha256(CONFIG % b"-" + DROPIN).hexdigest()
    config = CONFIG % name.encode()
    assert stamp_of(config, DROPIN) == (name, False)
    assert stamp_of(config + b"\n", DROPIN) == (name, True)
    assert stamp_of(config, DROPIN + b"#") == (name, True)
    assert stamp_of(b"listen other\n", DROPIN) == (None, True)
    assert stamp_of(None, b"") == (None, False)


def test_a_node_has_its_own_ports():
    nodes = [{"inventory_hostname": "n1", "ansible_host": "10.0.0.1"}, {"inventory_hostname": "n2", "mcp": "1"}]
    assert balancer_servers(nodes, {"x": ["mcp", 9000]}) == [
        wanted("x", "n1", "10.0.0.1", 9000),
        wanted("x", "n2", "n2", 1),
    ]
