# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: to_sys_config
short_description: The text of an Erlang sys.config
version_added: 0.1.0
author: erlmcp.ops contributors (@erlmcp)
description:
  - Writes one section for each application, with the rules of P(erlmcp.ops.to_erlang#filter).
  - Refuses what would obviously spoil the file. M(erlmcp.ops.config) lets the Erlang of the release judge the rest.
options:
  _input:
    description: Application name to settings.
    type: dict
    required: true
  extra_terms:
    description: Erlang text of further sections, each C({application, [...]}).
    type: list
    elements: str
    default: []
  header:
    description: Text for comment lines at the top.
    type: str
  extra_name:
    description: The variable that holds O(extra_terms), for messages.
    type: str
    default: erlmcp_config_terms
"""

EXAMPLES = r"""
- name: Show the sys.config of a node
  ansible.builtin.debug:
    msg: "{{ settings | erlmcp.ops.to_sys_config(extra_terms=terms, header='Managed by Ansible') }}"
  vars:
    settings:
      kernel:
        logger_level: {$atom: info}
    terms:
      - "{erlmcp, [{greeting, <<\"hello\">>}]}"
  # %% Managed by Ansible
  # [
  #   {kernel, [
  #     {logger_level, info}
  #   ]},
  #   {erlmcp, [{greeting, <<"hello">>}]}
  # ].
"""

RETURN = r"""
_value:
  description: The text of the file.
  type: str
"""

from ansible.errors import AnsibleFilterError
from ansible_collections.erlmcp.ops.plugins.module_utils._config.sys_config import to_sys_config
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError


def _to_sys_config(settings, extra_terms=(), header=None, extra_name="erlmcp_config_terms"):
    try:
        return to_sys_config(settings, extra_terms, header, extra_name)
    except OpsError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Offers the filter."""

    def filters(self):
        return {"to_sys_config": _to_sys_config}
