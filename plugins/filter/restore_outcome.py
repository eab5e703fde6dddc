# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: restore_outcome
short_description: Say why a restore failed, and what each node has now
version_added: 0.1.0
author: erlmcp.ops contributors (@erlmcp)
description:
  - Goes by what each host has answered. Of a host that did not answer nothing is claimed.
options:
  _input:
    description: The variables of all hosts that were to be restored.
    type: list
    elements: dict
    required: true
  own:
    description: Inventory name of the host whose message this is. Its own failure comes first.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Fail with it
  ansible.builtin.fail:
    msg: "{{ ansible_play_hosts_all | map('extract', hostvars) | erlmcp.ops.restore_outcome(inventory_hostname) }}"
"""

RETURN = r"""
_value:
  description: A text.
  type: str
"""

from ansible_collections.erlmcp.ops.plugins.module_utils._backup.under_way import outcome


def restore_outcome(hosts, own):
    return outcome(
        {
            host["inventory_hostname"]: (host.get("__erlmcp_backup_restored"), host.get("__erlmcp_backup_resumed"))
            for host in hosts
        },
        own,
    )


class FilterModule:
    """Offers the filter."""

    def filters(self):
        return {"restore_outcome": restore_outcome}
