# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: sandbox_problems
short_description: Which paths the sandbox of a unit keeps from it
version_added: 0.1.0
author: erlmcp.ops contributors (@erlmcp)
description:
  - Judges paths and directives of systemd together. A directory that is hidden (C(ProtectHome), C(PrivateTmp),
    C(PrivateDevices), C(InaccessiblePaths)), data and logs that cannot be written (C(ProtectSystem=strict) and
    C(ReadWritePaths)), a release of which nothing can be run (C(NoExecPaths)).
options:
  _input:
    description: Variable name to path.
    type: dict
    required: true
  settings:
    description: Directive to value, a list for one that is repeated.
    type: dict
    required: true
  unit:
    description: Name of the unit.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Refuse a directory that the node would not see
  ansible.builtin.assert:
    that: problems | length == 0
    fail_msg: "{{ problems | join('; ') }}"
  vars:
    problems: "{{ paths | erlmcp.ops.sandbox_problems({'ProtectHome': true}, 'erlmcp.service') }}"
    paths:
      erlmcp_data_dir: /home/erlmcp/data
"""

RETURN = r"""
_value:
  description: The problems, each with the next action. Empty when there is none.
  type: list
  elements: str
"""

from ansible_collections.erlmcp.ops.plugins.module_utils._config.sandbox import sandbox_problems


class FilterModule:
    """Offers the filter."""

    def filters(self):
        return {"sandbox_problems": sandbox_problems}
