#!/usr/bin/python
# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: check_variables
short_description: Refuse variables that roles cannot work with
version_added: 0.1.0
description:
  - Checks in one task, on the control node, what several roles of this collection are given. Ansible itself would take
    a task for each role, and another one for what argument specifications cannot express.
  - All problems are reported together. Of values, only numbers below 0 are shown, and one that is none of its
    variable's choices.
author:
  - erlmcp.ops contributors (@erlmcp)
extends_documentation_fragment:
  - erlmcp.ops.attributes.read_only
attributes:
  platform:
    description: Runs on the control node.
    platforms: posix
options:
  roles:
    description:
      - Names of roles of this collection, without its name. The types of their variables are checked, a text in place
        of a list or a dictionary is refused, and so are numbers below 0.
      - Where there are some, a variable is refused whose name is that of one of the collection but for a letter.
    type: list
    elements: str
    default: []
  problems:
    description:
      - Names of variables that hold lists of problems, each a sentence with the next action. They are not looked at
        while a type is wrong.
    type: list
    elements: str
    default: []
  rendered:
    description:
      - Names of variables that filters of this collection make, to the names of what they are made of; empty where the
        filter names that itself. What a filter refuses is a problem, in the filter's words, after those names.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Check the variables
  erlmcp.ops.check_variables:
    roles: [erlmcp, erlmcp_node]
    problems: [my_problems]
  vars:
    my_problems: "{{ [] if erlmcp_cluster_name != 'test' else ['erlmcp_cluster_name is test: name the cluster'] }}"
"""

RETURN = r"""
problems:
  description: What is wrong, one sentence each.
  type: list
  elements: str
  returned: failure
  sample: ["erlmcp_mcp_port and erlmcp_http_port are both 8080: give each port one use"]
"""
