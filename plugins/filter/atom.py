# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: atom
short_description: Mark a text as an Erlang atom
version_added: 0.1.0
author: erlmcp.ops contributors (@erlmcp)
description:
  - Returns the tagged value that P(erlmcp.ops.to_erlang#filter) writes as an atom, since a YAML string becomes an
    Erlang string. For lists, with C(map).
options:
  _input:
    description: The text.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Write a list of node names as atoms
  ansible.builtin.debug:
    msg: "{{ ['erlmcp@node1.example.com'] | map('erlmcp.ops.atom') | list | erlmcp.ops.to_erlang }}"
  # ['erlmcp@node1.example.com']
"""

RETURN = r"""
_value:
  description: The tagged value.
  type: dict
"""


class FilterModule:
    """Offers the filter."""

    def filters(self):
        return {"atom": lambda text: {"$atom": str(text)}}
