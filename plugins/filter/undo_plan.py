# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: undo_plan
short_description: Which node of a cluster gets back what, when the last restore is taken back
version_added: 0.1.0
author: erlmcp.ops contributors (@erlmcp)
description:
  - Chooses for each host what the last restore, or the last undo, has moved aside, and refuses what is not of one
    restore on all of them.
options:
  _input:
    description: Inventory names of the hosts.
    type: list
    elements: str
    required: true
  nodes:
    description: Inventory name to node name.
    type: dict
    required: true
  found:
    description: Inventory name to what M(erlmcp.ops.backup_info) returned.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the plan
  ansible.builtin.debug:
    msg: "{{ ['node1'] | erlmcp.ops.undo_plan({'node1': 'erlmcp@node1'}, {'node1': found}) }}"
"""

RETURN = r"""
_value:
  description: As of P(erlmcp.ops.restore_plan#filter); C(archive) is the name of the directory that was moved aside.
  type: dict
"""

from ansible_collections.erlmcp.ops.plugins.module_utils._backup.undo_plan import plan_undo
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError


def undo_plan(hosts, nodes, found):
    try:
        return {"parts": plan_undo(hosts, nodes, found), "problem": ""}
    except OpsError as error:
        return {"parts": {}, "problem": str(error)}


class FilterModule:
    """Offers the filter."""

    def filters(self):
        return {"undo_plan": undo_plan}
