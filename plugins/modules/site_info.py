#!/usr/bin/python
# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: site_info
short_description: Tell in one call what roles would change on a host, and how its node is
version_added: 0.1.0
description:
  - A second run of a playbook has nothing to do, and asks each module about that in a task of its own. This module asks
    them all in one process. Each is asked as in check mode, so its answer is what it would do.
  - The playbook C(site) leaves out the roles that are not in RV(differs).
  - Fails with all that the modules refuse, so that nothing is changed on a host on which something is refused later.
author:
  - erlmcp.ops contributors (@erlmcp)
extends_documentation_fragment:
  - erlmcp.ops.attributes.read_only
options:
  questions:
    description:
      - What to ask, in the order in which the roles do their work.
      - All of it is kept out of logs, since the modules may be given secrets.
    type: list
    elements: dict
    required: true
    suboptions:
      role:
        description: The role that does what the module would do.
        type: str
        required: true
      module:
        description:
          - Name of a module of this collection that can be asked. C(account) stands for M(ansible.builtin.group) and
            M(ansible.builtin.user) and takes C(user), C(group), C(home) and C(shell). C(packages) stands for
            M(ansible.builtin.apt) and takes C(names).
        type: str
        required: true
      options:
        description: What the module is given. An archive of M(erlmcp.ops.release) is on the control node, unless
          C(remote_src) is true; it is not sent.
        type: dict
        required: true
  node_info:
    description: The options of M(erlmcp.ops.node_info).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Ask the host what differs
  erlmcp.ops.site_info:
    questions:
      - role: my_role
        module: fileset
        options:
          entries: "{{ my_files }}"
          programs: [zstd]
    node_info:
      node: "{{ __erlmcp_node }}"
      health: "{{ __erlmcp_health }}"
  register: asked

- name: Lay down what differs
  ansible.builtin.include_role:
    name: my_role
  when: asked.differs.my_role is defined
"""

RETURN = r"""
differs:
  description:
    - What differs, by the role that would change it. Roles that would change nothing are left out.
    - The role C(erlmcp_node) is in it whenever C(erlmcp_release) is, because another release has to accept the config.
    - Besides, all that M(erlmcp.ops.node_info) returns.
  type: dict
  returned: success
  sample: {erlmcp_backup: [/usr/local/bin/erlmcp-ops, program zstd is missing]}
answers:
  description: What the modules C(firewall) and C(release) answered, by their names. Their roles need not ask again.
  type: dict
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.erlmcp.ops.plugins.module_utils._core.module import run
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Runner
from ansible_collections.erlmcp.ops.plugins.module_utils._site.ask import site_info


def main():
    module = AnsibleModule(
        argument_spec={
            "questions": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "no_log": True,
                "options": {
                    "role": {"type": "str", "required": True},
                    "module": {"type": "str", "required": True},
                    "options": {"type": "dict", "required": True},
                },
            },
            "node_info": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    run(module, lambda module: site_info(module, Runner()))


if __name__ == "__main__":
    main()
