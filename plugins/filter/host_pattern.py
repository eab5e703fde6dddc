# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: host_pattern
short_description: The hosts a play is for, from what an operator gave
version_added: 0.1.0
author: erlmcp.ops contributors (@erlmcp)
description:
  - Refuses an empty pattern. Ansible would run on no host and call that a success.
options:
  _input:
    description: A pattern as Ansible takes it, or a list of them.
    type: raw
    required: true
"""

EXAMPLES = r"""
- name: Restart what has to be restarted
  hosts: "{{ (erlmcp_hosts if erlmcp_hosts is defined else 'erlmcp') | erlmcp.ops.host_pattern }}"
  # -e erlmcp_hosts=node1.example.com,node2.example.com
"""

RETURN = r"""
_value:
  description: The pattern.
  type: str
"""

from ansible.errors import AnsibleFilterError


def host_pattern(given):
    """Return the pattern, which is not empty."""
    patterns = [given] if isinstance(given, str) else list(given or [])
    wanted = ",".join(pattern.strip() for pattern in patterns if pattern.strip())
    if not wanted:
        raise AnsibleFilterError("erlmcp_hosts is empty: name hosts or groups, or leave it out for the group erlmcp")
    return wanted


class FilterModule:
    """Offers the filter."""

    def filters(self):
        return {"host_pattern": host_pattern}
