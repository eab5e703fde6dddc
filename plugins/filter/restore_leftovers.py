# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: restore_leftovers
short_description: What a restore that was killed calls for, before another one begins
version_added: 0.1.0
author: erlmcp.ops contributors (@erlmcp)
description:
  - A restore of several nodes comes to the same end on all of them. When its run was killed, what is noted on the hosts
    says which end that is.
options:
  _input:
    description: Inventory name of each host to what M(erlmcp.ops.backup_info) returned as C(restore).
    type: dict
    required: true
  nodes:
    description: Inventory name to node name.
    type: dict
    required: true
  plan:
    description: What P(erlmcp.ops.restore_plan#filter) or P(erlmcp.ops.undo_plan#filter) returned as C(parts) for what
      is wanted now.
    type: dict
    required: true
  lost:
    description: Inventory names of hosts that do not come back.
    type: list
    elements: str
    default: []
  undo:
    description: Whether the last restore is to be taken back now.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Show what is to be done first
  ansible.builtin.debug:
    msg: "{{ {'node1': found.restore} | erlmcp.ops.restore_leftovers({'node1': 'erlmcp@node1'}, plan.parts) }}"
"""

RETURN = r"""
_value:
  description: C(action), which is V(keep), V(withdraw) or empty; C(done), whether nothing is left to be restored after
    it; C(text) for the operator; C(run), which one is gone on with, empty for none; and C(problem), why that
    cannot be told, with the next action, empty where it can.
  type: dict
"""

from ansible_collections.erlmcp.ops.plugins.module_utils._backup.under_way import plan_leftovers
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError


def restore_leftovers(found, nodes, plan, lost=(), undo=False):
    try:
        decided = plan_leftovers(found, nodes, {host: part["archive"] for host, part in plan.items()}, lost, undo)
    except OpsError as error:
        return {"action": "", "done": False, "text": "", "run": "", "problem": str(error)}
    return {**decided, "problem": ""}


class FilterModule:
    """Offers the filter."""

    def filters(self):
        return {"restore_leftovers": restore_leftovers}
