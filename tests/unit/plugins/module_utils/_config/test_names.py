# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._config.names import node_name
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError


@pytest.mark.parametrize(
    ("variables", "name_type", "name"),
    [
        ({"inventory_hostname": "n1.example.com"}, "long", "erlmcp@n1.example.com"),
        ({"inventory_hostname": "n1.example.com"}, "short", "erlmcp@n1"),
        ({"inventory_hostname": "n1"}, "short", "erlmcp@n1"),
        ({"inventory_hostname": "n1", "ansible_host": "10.0.0.1"}, "long", "erlmcp@10.0.0.1"),
        ({"inventory_hostname": "n1.example.com", "ansible_host": "10.0.0.1"}, "long", "erlmcp@n1.example.com"),
        ({"inventory_hostname": "n1", "erlmcp_node_host": "fd00::1"}, "long", "erlmcp@fd00::1"),
        ({"inventory_hostname": "n1", "erlmcp_node_host": "x.y", "erlmcp_node_base": "mcp"}, "long", "mcp@x.y"),
        ({"inventory_hostname": "n1", "erlmcp_node_name": "a@b.c", "erlmcp_node_host": "x.y"}, "long", "a@b.c"),
    ],
)
def test_node_name(variables, name_type, name):
    assert node_name(variables, name_type) == name


@pytest.mark.parametrize(
    ("variables", "name_type", "message"),
    [
        (
            {"ansible_host": "h2"},
            "long",
            "n1: 'erlmcp@n1' is no Erlang node name (erlmcp_node_name): a long name needs a host",
        ),
        ({}, "long", "set erlmcp_node_host, or erlmcp_node_name_type: short"),
        ({"erlmcp_node_name": "a@b@c.d"}, "long", "name@host"),
        ({"erlmcp_node_name": "ab"}, "long", "name@host"),
        ({"erlmcp_node_name": "a b@c.d"}, "long", "'a b' is not"),
        ({"erlmcp_node_name": "a@c.d;x"}, "long", "'c.d;x' is no host name"),
        ({"erlmcp_node_host": "x.y"}, "short", "a short name has no dot"),
        ({"inventory_hostname": "10.0.0.1"}, "short", "set erlmcp_node_host"),
        ({}, "medium", "erlmcp_node_name_type is long or short, not 'medium'"),
    ],
)
def test_a_refusal_names_host_and_variable(variables, name_type, message):
    with pytest.raises(OpsError) as caught:
        node_name({"inventory_hostname": "n1", **variables}, name_type)
    assert message in str(caught.value)
