# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: nodes_to_join
short_description: The nodes that have to join others before they share tables
version_added: 0.1.0
author: erlmcp.ops contributors (@erlmcp)
description:
  - Returns the nodes that share tables with nobody. When there is no cluster yet, the node that the others join is left
    out.
  - A node that was restarted has told whom it shares with. In check mode a node that does not run counts as started,
    with the members that the others take it for one of.
options:
  _input:
    description: The variables of all hosts of the cluster. Hosts that this run has not asked are left out.
    type: list
    elements: dict
    required: true
  expected:
    description: Names of the nodes that the cluster is to have, in the order of the inventory.
    type: list
    elements: str
    required: true
  seed:
    description: Name of the node that the others join, if the operator has named one.
    type: str
    default: ""
  check_mode:
    description: Whether nodes that do not run are taken for started.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Show who joins
  ansible.builtin.debug:
    msg: "{{ groups.erlmcp | map('extract', hostvars) | erlmcp.ops.nodes_to_join(erlmcp_cluster_expected) }}"
"""

RETURN = r"""
_value:
  description: Names of nodes, in the order of the inventory.
  type: list
  elements: str
"""

from ansible_collections.erlmcp.ops.plugins.module_utils._cluster.plan import nodes_to_join as plan


def nodes_to_join(hosts, expected, seed="", check_mode=False):
    states = [_state(host) for host in hosts if "__erlmcp_cluster_node" in host]
    stores = {state["name"]: state["store"] for state in states}
    if check_mode:
        members = [store["members"] for store in stores.values() if store]
        on_disk = {state["name"]: state.get("members_on_disk", []) for state in states}
        stores = {name: store or _started(name, members, on_disk[name]) for name, store in stores.items()}
    return plan(stores, expected, seed)


def _state(host):
    """What the host said last of its node."""
    restarted = host.get("__erlmcp_cluster_restarted", {}).get("state")
    return restarted or host["__erlmcp_cluster_node"]


def _started(name, members, on_disk):
    """What a node that does not run yet will have: what others say of it, or else what is on its disk."""
    return {"state": "running", "members": next((each for each in members if name in each), on_disk)}


class FilterModule:
    """Offers the filter."""

    def filters(self):
        return {"nodes_to_join": nodes_to_join}
