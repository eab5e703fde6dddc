# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: hardening_problems
short_description: What is wrong with the variables of role erlmcp_hardening
version_added: 0.1.0
author: erlmcp.ops contributors (@erlmcp)
description:
  - Judges what no argument specification can. Audit rules that auditd could not load, patterns that apt or
    unattended-upgrades could not read, a time that is none.
options:
  _input:
    description: Variable name to value.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Refuse a time that is none
  ansible.builtin.assert:
    that: problems | length == 0
    fail_msg: "{{ problems | join('; ') }}"
  vars:
    problems: "{{ variables | erlmcp.ops.hardening_problems }}"
    variables:
      erlmcp_hardening_audit_rules: [{key: erlmcp_config, path: /etc/erlmcp}]
      erlmcp_hardening_audit_extra_rules: []
      erlmcp_hardening_updates_origins: ["origin=Debian,label=Debian-Security"]
      erlmcp_hardening_updates_blacklist: []
      erlmcp_hardening_updates_reboot_time: "03:30"
"""

RETURN = r"""
_value:
  description: The problems, each with the next action. Empty when there is none.
  type: list
  elements: str
"""

from ansible_collections.erlmcp.ops.plugins.module_utils._hardening.problems import hardening_problems


class FilterModule:
    """Offers the filter."""

    def filters(self):
        return {"hardening_problems": hardening_problems}
