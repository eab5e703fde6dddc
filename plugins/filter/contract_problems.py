# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: contract_problems
short_description: What is wrong with the shared variables of a cluster
version_added: 0.1.0
author: erlmcp.ops contributors (@erlmcp)
description:
  - Judges together what no argument specification sees alone. Ports that collide, directories that are inside one
    another or belong to the system, node names that two hosts share, a cookie that is no secret, what the vault of the
    example inventory has in place of secrets.
  - The cookie is never part of a message, unless everybody knows it.
options:
  _input:
    description:
      - Variable name to value. Names that end in C(_port), C(_dir) and C(_schedule) are judged as such. A port counts
        as unused when the variable of the same name with C(_enabled) in place of C(_port) is false.
    type: dict
    required: true
  nodes:
    description: Host to node name, for the whole cluster.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Refuse variables that cannot work together
  ansible.builtin.assert:
    that: problems | length == 0
    fail_msg: "{{ problems | join('; ') }}"
  vars:
    problems: "{{ contract | erlmcp.ops.contract_problems(nodes) }}"
    contract:
      erlmcp_http_port: 8080
      erlmcp_data_dir: /var/lib/erlmcp
    nodes:
      node1: erlmcp@node1.example.com
"""

RETURN = r"""
_value:
  description: The problems, each with the next action. Empty when there is none.
  type: list
  elements: str
"""

from ansible_collections.erlmcp.ops.plugins.module_utils._config.contract import contract_problems


class FilterModule:
    """Offers the filter."""

    def filters(self):
        return {"contract_problems": contract_problems}
