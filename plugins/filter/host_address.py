# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: host_address
short_description: The address by which peers reach a host
version_added: 0.1.0
author: erlmcp.ops contributors (@erlmcp)
description:
  - Reads inventory variables only and no facts. Is the first of C(erlmcp_address), C(ansible_host) and
    C(inventory_hostname) that is set.
options:
  _input:
    description: The variables of the host, an element of C(hostvars).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the addresses of the cluster
  ansible.builtin.debug:
    msg: "{{ groups['erlmcp'] | map('extract', hostvars) | map('erlmcp.ops.host_address') }}"
  # ["10.0.0.1", "10.0.0.2"]
"""

RETURN = r"""
_value:
  description: An address or a host name.
  type: str
"""


def host_address(variables):
    """Return the address of a host, or its name."""
    names = ("erlmcp_address", "ansible_host", "inventory_hostname")
    return next(variables[name] for name in names if variables.get(name))


class FilterModule:
    """Offers the filter."""

    def filters(self):
        return {"host_address": host_address}
