# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: to_erlang
short_description: Ansible data as Erlang source text
version_added: 0.1.0
author: erlmcp.ops contributors (@erlmcp)
description:
  - A dictionary becomes a property list with atoms as keys, in its order; a list stays a list and a string a string;
    V(true), V(false) and V(null) become the atoms C(true), C(false) and C(undefined).
  - What YAML lacks is written as a dictionary with one key. C($atom), C($binary) and C($string) take a string,
    C($tuple) takes a list, C($map) a dictionary whose keys become atoms, and C($term) Erlang text that is inserted as
    it stands.
options:
  _input:
    description: The data.
    type: raw
    required: true
  final_dot:
    description: Whether to end the text with a dot and a line break, as C(file:consult/1) wants it.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Show settings as they stand in sys.config
  ansible.builtin.debug:
    msg: "{{ settings | erlmcp.ops.to_erlang }}"
  vars:
    settings:
      port: 5005
      level: {$atom: info}
      address: {$tuple: [127, 0, 0, 1]}
      options: {$map: {depth: 3}}
      format: {$term: "{logger_formatter, #{single_line => true}}"}
  # [
  #   {port, 5005},
  #   {level, info},
  #   {address, {127, 0, 0, 1}},
  #   {options, #{depth => 3}},
  #   {format, {logger_formatter, #{single_line => true}}}
  # ]
"""

RETURN = r"""
_value:
  description: Erlang source text.
  type: str
"""

from ansible.errors import AnsibleFilterError
from ansible_collections.erlmcp.ops.plugins.module_utils._config.sys_config import to_erlang
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError


def _to_erlang(value, final_dot=False):
    try:
        return to_erlang(value, final_dot)
    except OpsError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Offers the filter."""

    def filters(self):
        return {"to_erlang": _to_erlang}
