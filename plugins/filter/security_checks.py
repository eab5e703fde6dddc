# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: security_checks
short_description: Judge a host by what M(erlmcp.ops.security_info) has seen
version_added: 0.1.0
author: erlmcp.ops contributors (@erlmcp)
description:
  - Goes through the hardening checklist of the administration guide. The result is for the filter
    P(erlmcp.ops.security_report#filter).
  - The trees of the facts must be named C(config), C(home), C(cookie), C(tls), C(logs), C(data), C(backups) and
    C(releases).
options:
  _input:
    description: What M(erlmcp.ops.security_info) returned, or how it failed. Then there is one check, C(reached).
    type: dict
    required: true
  settings:
    description:
      - C(host) is the host's name, C(accepted) the list C(erlmcp_hardening_accepted).
      - C(exposure_max), C(certificate_days) and C(updates_max_age_days) are the limits.
      - C(firewall) is what M(erlmcp.ops.firewall) returned in check mode, and C(firewall_enabled) whether it should be
        on. C(audit_keys) are the keys that audit rules must have.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show what fails
  ansible.builtin.debug:
    msg: "{{ seen | erlmcp.ops.security_checks(settings) | selectattr('status', 'eq', 'fail') }}"
  vars:
    settings:
      host: node1
      exposure_max: 1.2
      certificate_days: 30
      updates_max_age_days: 2
      firewall: "{{ firewall }}"
      firewall_enabled: true
      audit_keys: [erlmcp_config]
      accepted:
        - check: audit_active
          reason: a container, whose kernel audits for its host
"""

RETURN = r"""
_value:
  description:
    - One dict for each check, with C(host), C(id), C(title), C(guide) (the item of the guide's checklist), C(status),
      C(evidence), C(remedy) where it does not pass, and C(reason) where it is accepted.
    - C(status) is C(pass), C(fail), C(warn), C(skip) where there is nothing to judge, or C(accepted).
  type: list
  elements: dict
"""

from ansible.errors import AnsibleFilterError
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.module_utils._security.checks import judge_host


def security_checks(facts, settings):
    try:
        return judge_host(facts, settings)
    except OpsError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Offers the filter."""

    def filters(self):
        return {"security_checks": security_checks}
