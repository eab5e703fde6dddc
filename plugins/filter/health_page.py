# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: health_page
short_description: One verdict for each host of a cluster, with its cause and the command that mends it
version_added: 0.1.0
author: erlmcp.ops contributors (@erlmcp)
description:
  - Judges what the entry points C(inspect) of the roles have found, nodes and balancers together. What a host lacks
    because another one is down is told of that one alone.
  - C(CRIT) is what clients notice, or will at the next restart. C(WARN) is what somebody should know. C(UNKNOWN) is
    what could not be looked at.
options:
  _input:
    description: Inventory names, in the order of the page.
    type: list
    elements: str
    required: true
  hostvars:
    description: The variables of these hosts.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the page
  ansible.builtin.debug:
    msg: "{{ (ansible_play_hosts_all | erlmcp.ops.health_page(hostvars)).text }}"
  run_once: true
"""

RETURN = r"""
_value:
  description: The page.
  type: dict
  contains:
    failed:
      description: Whether a host is C(CRIT) or C(UNKNOWN).
      type: bool
    hosts:
      description: Inventory name to its C(state), its C(checks) (each with C(code), C(state), C(evidence) and
        C(remedy)), and the lines about it, C(text).
      type: dict
    text:
      description: All lines.
      type: list
      elements: str
"""

from ansible_collections.erlmcp.ops.plugins.module_utils._checks.page import make_page
from ansible_collections.erlmcp.ops.plugins.module_utils._config.names import node_name


def health_page(hosts, hostvars):
    nodes, balancers, names = {}, {}, {}
    for host in hosts:
        found = {
            name: hostvars[host].get(f"__erlmcp_{name}_inspected") for name in ("cluster", "firewall", "load_balancer")
        }
        if found["load_balancer"] is not None:
            balancers[host] = found["load_balancer"]
        if found["cluster"] is not None or found["load_balancer"] is None:
            firewall = found["firewall"]
            variables = hostvars[host]
            names[host] = (found["cluster"] or {}).get("name") or node_name(
                variables, variables.get("erlmcp_node_name_type") or "long", refuse=False
            )
            nodes[host] = {
                "node": found["cluster"] or {},
                "firewall": None if firewall is None or firewall.get("skipped") else firewall,
            }
    return make_page(nodes, balancers, names)


class FilterModule:
    """Offers the filter."""

    def filters(self):
        return {"health_page": health_page}
