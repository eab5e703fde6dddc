# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: balancer_servers
short_description: The servers that a balancer should have
version_added: 0.1.0
author: erlmcp.ops contributors (@erlmcp)
description:
  - Returns the option C(servers) of M(erlmcp.ops.balancer_info).
options:
  _input:
    description: The variables of each node.
    type: list
    elements: dict
    required: true
  backends:
    description: Name of each proxy to the variable with a node's port, and to the port of a node without that variable.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the servers
  ansible.builtin.debug:
    msg: >-
      {{ groups['erlmcp'] | map('extract', hostvars)
         | erlmcp.ops.balancer_servers({'erlmcp_mcp': ['erlmcp_mcp_port', 9000]}) }}
"""

RETURN = r"""
_value:
  description: C(backend), C(name), C(host) and C(port) of each server.
  type: list
  elements: dict
"""

from ansible_collections.erlmcp.ops.plugins.filter.host_address import host_address


def balancer_servers(nodes, backends):
    return [
        {
            "backend": backend,
            "name": node["inventory_hostname"],
            "host": host_address(node),
            "port": int(node.get(variable, default)),
        }
        for node in nodes
        for backend, (variable, default) in backends.items()
    ]


class FilterModule:
    """Offers the filter."""

    def filters(self):
        return {"balancer_servers": balancer_servers}
