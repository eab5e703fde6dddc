#!/usr/bin/python
# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_peers
short_description: Let a running node connect to the peers that its config names
version_added: 0.1.0
description:
  - Adding a host to a cluster changes C(cluster_nodes) in the C(sys.config) of all others. This module tells the
    running node, so that it need not be restarted.
  - Do that with O(state=connected) after O(state=reachable) has passed on every host. From Erlang/OTP 25 on, a new node
    that reaches only some of the members makes them cut off those that it does not reach, and Mnesia then takes members
    for down that never were.
  - A release that reads the setting only when it starts is not helped by being told, and not harmed.
author:
  - erlmcp.ops contributors (@erlmcp)
extends_documentation_fragment:
  - erlmcp.ops.attributes
  - erlmcp.ops.node
options:
  state:
    description:
      - With V(reachable), nothing is changed. The module fails when a port of a peer that the node has not met yet does
        not answer from this host. A refused connection is an answer, because nothing need run there yet.
      - With V(connected), the node is told the C(cluster_nodes) of the C(sys.config) in use, and connects to them. A
        node that does not run reads them when it starts.
    type: str
    choices: [reachable, connected]
    required: true
  members:
    description: Node names that this node is going to see, itself included or not. Needed with O(state=reachable).
    type: list
    elements: str
    default: []
  ports:
    description: TCP ports of a peer that must answer, those of the port mapper and of distribution. Needed with
      O(state=reachable).
    type: list
    elements: int
    default: []
  predicted_outdated:
    description: For check mode. An earlier task would have changed C(cluster_nodes) in the C(sys.config) in use.
    type: bool
    default: false
  timeout_seconds:
    description: How long a port may take to answer. All are asked at once.
    type: int
    default: 5
"""

EXAMPLES = r"""
- name: See that the new peers can be reached
  erlmcp.ops.cluster_peers:
    node: "{{ __erlmcp_node }}"
    state: reachable
    members: "{{ erlmcp_cluster_nodes }}"
    ports: [4369, 9100]

- name: Let the node connect to them
  erlmcp.ops.cluster_peers:
    node: "{{ __erlmcp_node }}"
    state: connected
"""

RETURN = r"""
new:
  description: With O(state=reachable), those of O(members) that the node has not met yet, all of which answer.
  type: list
  elements: str
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.erlmcp.ops.plugins.module_utils._cluster.peers import cluster_peers
from ansible_collections.erlmcp.ops.plugins.module_utils._core.module import run
from ansible_collections.erlmcp.ops.plugins.module_utils._core.node_spec import NODE_SPEC
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Runner


def main():
    module = AnsibleModule(
        argument_spec={
            **NODE_SPEC,
            "state": {"type": "str", "choices": ["reachable", "connected"], "required": True},
            "members": {"type": "list", "elements": "str", "default": []},
            "ports": {"type": "list", "elements": "int", "default": []},
            "predicted_outdated": {"type": "bool", "default": False},
            "timeout_seconds": {"type": "int", "default": 5},
        },
        required_if=[("state", "reachable", ["members", "ports"])],
        supports_check_mode=True,
    )
    run(module, lambda module: cluster_peers(module, Runner()))


if __name__ == "__main__":
    main()
