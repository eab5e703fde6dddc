# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: node_name
short_description: The Erlang node name of a host
version_added: 0.1.0
author: erlmcp.ops contributors (@erlmcp)
description:
  - Reads inventory variables only and no facts, so that each host knows the names of all of them.
  - Is C(erlmcp_node_name) where it is set. Otherwise C(erlmcp_node_base), by default V(erlmcp), then C(@), then the
    first of C(erlmcp_node_host), C(inventory_hostname) if it has a dot, and C(ansible_host) if it has one. For short
    names the first label of C(inventory_hostname) stands in place of the latter two.
options:
  _input:
    description: The variables of the host, an element of C(hostvars).
    type: dict
    required: true
  type:
    description: Long names (C(-name)) or short names (C(-sname)).
    type: str
    choices: [long, short]
    default: long
  refuse:
    description:
      - Whether what is no Erlang node name is refused.
      - The roles have it judged by their check of variables, which names the variable, and all else that is wrong.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Show the node names of the cluster
  ansible.builtin.debug:
    msg: "{{ groups['erlmcp'] | map('extract', hostvars) | map('erlmcp.ops.node_name') }}"
  # ["erlmcp@node1.example.com", "erlmcp@node2.example.com"]
"""

RETURN = r"""
_value:
  description: The node name.
  type: str
"""

from ansible.errors import AnsibleFilterError
from ansible_collections.erlmcp.ops.plugins.module_utils._config.names import node_name
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError


def _node_name(variables, type="long", refuse=True):
    try:
        return node_name(variables, type, refuse)
    except OpsError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Offers the filter."""

    def filters(self):
        return {"node_name": _node_name}
