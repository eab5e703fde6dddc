# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: security_report
short_description: The checks of all hosts as one report
version_added: 0.1.0
author: erlmcp.ops contributors (@erlmcp)
description:
  - Makes one report out of what the filter P(erlmcp.ops.security_checks#filter) returned for each host.
options:
  _input:
    description: Host to its checks.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the report
  ansible.builtin.debug:
    msg: "{{ (checks | erlmcp.ops.security_report).text }}"
"""

RETURN = r"""
_value:
  description: The report.
  type: dict
  contains:
    failed:
      description: Whether a check fails on a host and is not accepted.
      type: bool
    hosts:
      description: Names of the hosts.
      type: list
      elements: str
    counts:
      description: Status to the number of checks that have it.
      type: dict
    checks:
      description: The checks of all hosts.
      type: list
      elements: dict
    text:
      description: Lines of a table, and what to do.
      type: list
      elements: str
"""

from ansible_collections.erlmcp.ops.plugins.module_utils._security.report import make_report


class FilterModule:
    """Offers the filter."""

    def filters(self):
        return {"security_report": make_report}
