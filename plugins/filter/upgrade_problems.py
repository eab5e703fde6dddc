# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: upgrade_problems
short_description: What speaks against changing the nodes of a cluster to a release one after the other
version_added: 0.1.0
author: erlmcp.ops contributors (@erlmcp)
description:
  - Refuses a release that every node runs already, and one whose Erlang/OTP is too far from that of the nodes for them
    to be one cluster meanwhile. U(https://www.erlang.org/doc/system/misc.html) says how far is too far.
options:
  _input:
    description: Inventory name to what M(erlmcp.ops.node_info) returned.
    type: dict
    required: true
  version:
    description: Version of the release.
    type: str
    required: true
  erts:
    description: Version of the ERTS that it needs.
    type: str
    required: true
  goes_on:
    description: Whether the run goes on with one that was cut off, and may find everything done.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Refuse a release that does not fit
  ansible.builtin.assert:
    that: "{{ {'node1': node} | erlmcp.ops.upgrade_problems('1.1.0', '13.1.5') | length == 0 }}"
"""

RETURN = r"""
_value:
  description: The problems, each with the next action. Empty when there is none.
  type: list
  elements: str
"""

from ansible_collections.erlmcp.ops.plugins.module_utils._cluster.upgrade import upgrade_problems as judge


def upgrade_problems(nodes, version, erts, goes_on=False):
    told = {
        host: {"running": node["release"]["running"], "otp": node["figures"].get("otp")} for host, node in nodes.items()
    }
    return judge(told, version, erts, goes_on)


class FilterModule:
    """Offers the filter."""

    def filters(self):
        return {"upgrade_problems": upgrade_problems}
