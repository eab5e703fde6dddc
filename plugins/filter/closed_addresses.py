# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: closed_addresses
short_description: A list of addresses, if it is known to be complete
version_added: 0.1.0
author: erlmcp.ops contributors (@erlmcp)
description:
  - Makes a list that systemd takes for C(IPAddressAllow) from lists of who may talk to a node.
options:
  _input:
    description: V(any), addresses, networks and host names.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Show who may talk to the node
  ansible.builtin.debug:
    msg: "{{ ['10.0.0.1', '10.1.0.0/16', '10.0.0.1'] | erlmcp.ops.closed_addresses }}"
  # ["10.0.0.1/32", "10.1.0.0/16"]
"""

RETURN = r"""
_value:
  description: Networks, each once. Empty when V(any) or a host name is among the input.
  type: list
  elements: str
"""

from ansible.errors import AnsibleFilterError
from ansible_collections.erlmcp.ops.plugins.module_utils._config.addresses import closed_addresses
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError


def _closed_addresses(sources):
    try:
        return closed_addresses(sources)
    except OpsError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Offers the filter."""

    def filters(self):
        return {"closed_addresses": _closed_addresses}
