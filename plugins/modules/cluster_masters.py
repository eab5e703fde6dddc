#!/usr/bin/python
# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_masters
short_description: Say whom a node loads its tables from when it starts
version_added: 0.1.0
description:
  - Sets Mnesia's master nodes of every table, or clears them. From its next start on the node loads each table from a
    master that has a copy, whatever its own copy holds, and waits while none of them runs.
  - The setting is on disk at once and stays until it is cleared. A node whose masters are set does not load its own
    copy when they are gone, so clear them when the node has the rows.
  - The setting of a node that does not run is written by a short-lived Erlang.
  - The playbook C(repair_partition) uses it. A table without a copy on any master is left as it is.
author:
  - erlmcp.ops contributors (@erlmcp)
extends_documentation_fragment:
  - erlmcp.ops.attributes
  - erlmcp.ops.node
options:
  masters:
    description: Node names. An empty list clears the setting.
    type: list
    elements: str
    required: true
  data_dir:
    description: Data directory of the service, for a node that does not run. Its setting cannot be read, so it is
      always written.
    type: path
    default: /var/lib/erlmcp
"""

EXAMPLES = r"""
- name: Let the node take over what the others hold
  erlmcp.ops.cluster_masters:
    node: "{{ __erlmcp_node }}"
    masters: [erlmcp@node1.example.com, erlmcp@node2.example.com]

- name: Clear the setting
  erlmcp.ops.cluster_masters:
    node: "{{ __erlmcp_node }}"
    masters: []
"""

RETURN = r"""
running:
  description: Whether the node runs.
  type: bool
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.erlmcp.ops.plugins.module_utils._cluster.masters import cluster_masters
from ansible_collections.erlmcp.ops.plugins.module_utils._core.module import run
from ansible_collections.erlmcp.ops.plugins.module_utils._core.node_spec import NODE_SPEC
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Runner


def main():
    module = AnsibleModule(
        argument_spec={
            **NODE_SPEC,
            "masters": {"type": "list", "elements": "str", "required": True},
            "data_dir": {"type": "path", "default": "/var/lib/erlmcp"},
        },
        supports_check_mode=True,
    )
    run(module, lambda module: cluster_masters(module, Runner()))


if __name__ == "__main__":
    main()
