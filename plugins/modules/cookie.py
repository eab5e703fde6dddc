#!/usr/bin/python
# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cookie
short_description: Give an erlmcp node another cookie while it runs
version_added: 0.1.0
description:
  - Replaces the cookie that the running node demands of new connections, and the one in C(.erlang.cookie), from which
    it starts. Connections that stand are not closed, so the cluster stays together while its nodes are done one after
    another.
  - The node reads the new cookie from a file. It is in no command line, log, diff or result.
  - What a run that was killed left is told from the cookie that the node accepts, and finished by the next run.
  - The playbook C(rotate_cookie) does this for a whole cluster.
author:
  - erlmcp.ops contributors (@erlmcp)
extends_documentation_fragment:
  - erlmcp.ops.attributes
  - erlmcp.ops.node
options:
  cookie:
    description: The new cookie, 20 to 255 letters, digits, C(_) and C(-).
    type: str
    required: true
  members:
    description:
      - Node names of the whole cluster. A cookie that a node has for one of them alone is replaced as well; one that
        it has for another node is not.
    type: list
    elements: str
    default: []
  state:
    description:
      - With V(settled), only what a run that was killed left half-done is finished, or cleared where it had not
        reached the node.
      - With V(present), node and file have O(cookie) afterwards. Of a node that is stopped only the file is replaced.
      - With V(proven), nothing changes. A new connection is made to each of O(members) with the cookie in the file,
        which must be O(cookie), and fails the task unless all accept it.
    type: str
    choices: [settled, present, proven]
    default: present
"""

EXAMPLES = r"""
- name: Replace the cookie of the running node and in its file
  erlmcp.ops.cookie:
    node: "{{ __erlmcp_node }}"
    members: "{{ erlmcp_cluster_nodes }}"
    cookie: "{{ new_cookie }}"

- name: Prove that every member accepts it from here
  erlmcp.ops.cookie:
    node: "{{ __erlmcp_node }}"
    members: "{{ erlmcp_cluster_nodes }}"
    cookie: "{{ new_cookie }}"
    state: proven
"""

RETURN = r"""
had_cookie:
  description: Whether node and file had O(cookie) before, not counting a file that a run that was killed had yet to
    replace.
  type: bool
  returned: always
steps:
  description: What was done, or would be done in check mode.
  type: list
  elements: str
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.erlmcp.ops.plugins.module_utils._cookie.cookie import cookie
from ansible_collections.erlmcp.ops.plugins.module_utils._core.module import run
from ansible_collections.erlmcp.ops.plugins.module_utils._core.node_spec import NODE_SPEC
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Runner


def main():
    module = AnsibleModule(
        argument_spec={
            **NODE_SPEC,
            "cookie": {"type": "str", "required": True, "no_log": True},
            "members": {"type": "list", "elements": "str", "default": []},
            "state": {"type": "str", "choices": ["settled", "present", "proven"], "default": "present"},
        },
        supports_check_mode=True,
    )
    run(module, lambda module: cookie(module, Runner()))


if __name__ == "__main__":
    main()
