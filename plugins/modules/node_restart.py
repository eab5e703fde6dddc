#!/usr/bin/python
# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_restart
short_description: Restart or start one erlmcp node safely, when it needs it
version_added: 0.1.0
description:
  - Does nothing when the node runs what is on disk (see RV(erlmcp.ops.node_info#module:restart_required)).
  - Otherwise refuses to take the node down while another member is not well, drains it, stops it, switches to the
    release and the config set that wait in the slot C(next), starts it, and waits until it is healthy and sees again
    the members it saw before.
  - A module that an interrupted run left at work on the host is waited for.
  - Run it with C(serial=1) and C(any_errors_fatal=true), so that a node that fails stops the roll.
author:
  - erlmcp.ops contributors (@erlmcp)
extends_documentation_fragment:
  - erlmcp.ops.attributes
  - erlmcp.ops.node
  - erlmcp.ops.health
  - erlmcp.ops.drain
options:
  members:
    description: Node names of the whole cluster, for the gate.
    type: list
    elements: str
    default: []
  data_dir:
    description: The node's data directory. While a restore of it has not ended, which a run that was killed leaves so,
      the node is neither started nor stopped.
    type: path
  ports:
    description: TCP ports of the members, those of the port mapper and of distribution. The gate connects the node to
      members that it does not see, when all of them answer there. Without ports it does not.
    type: list
    elements: int
    default: []
  application:
    description: OTP application that must run on every other member.
    type: str
    default: erlmcp
  gate:
    description: Refuse to stop a healthy node while another one of O(members) is not connected or does not run
      O(application), or while no other node that runs has a copy of a table that they share.
    type: bool
    default: true
  reasons:
    description: Reasons to restart besides those the node itself has, for example V(requested).
    type: list
    elements: str
    default: []
  predicted_next:
    description: For check mode, in which nothing was laid down. What earlier tasks would have left in the slots
      C(next), with the keys C(release) and C(config), each a name or null. A slot without a key is read.
    type: dict
    default: {}
  revert:
    description:
      - Put the node back on the release that it ran before, and the config set if that was switched too, when it does
        not become healthy. The module fails all the same.
    type: bool
    default: false
  start_timeout_seconds:
    description: How long the node may take to become healthy and rejoin.
    type: int
    default: 120
  stop_timeout_seconds:
    description: How long the stop may take. Longer than C(TimeoutStopSec) of the unit, after which systemd kills.
    type: int
    default: 90
"""

EXAMPLES = r"""
- name: Restart the nodes that need it, one at a time
  hosts: erlmcp
  serial: 1
  any_errors_fatal: true
  tasks:
    - name: Bring the node to what is on disk
      erlmcp.ops.node_restart:
        node: "{{ __erlmcp_node }}"
        health: "{{ __erlmcp_health }}"
        members: "{{ erlmcp_cluster_nodes }}"
"""

RETURN = r"""
reasons:
  description: Why the node was restarted; empty when it was not.
  type: list
  elements: str
  returned: always
steps:
  description: What was done, or would be done in check mode.
  type: list
  elements: str
  returned: always
drained:
  description: How the draining ended.
  type: str
  returned: when the node was restarted
seconds:
  description: Wall time from the gate to healthy.
  type: float
  returned: when the node was restarted
state:
  description: What M(erlmcp.ops.node_info) says after the restart.
  type: dict
  returned: when the node was restarted
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.erlmcp.ops.plugins.module_utils._core.module import run
from ansible_collections.erlmcp.ops.plugins.module_utils._core.node_spec import NODE_SPEC
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Runner
from ansible_collections.erlmcp.ops.plugins.module_utils._node.drain import DRAIN_SPEC
from ansible_collections.erlmcp.ops.plugins.module_utils._node.health import HEALTH_SPEC
from ansible_collections.erlmcp.ops.plugins.module_utils._node.restart import node_restart


def main():
    module = AnsibleModule(
        argument_spec={
            **NODE_SPEC,
            **HEALTH_SPEC,
            **DRAIN_SPEC,
            "members": {"type": "list", "elements": "str", "default": []},
            "data_dir": {"type": "path"},
            "ports": {"type": "list", "elements": "int", "default": []},
            "application": {"type": "str", "default": "erlmcp"},
            "gate": {"type": "bool", "default": True},
            "reasons": {"type": "list", "elements": "str", "default": []},
            "predicted_next": {"type": "dict", "default": {}},
            "revert": {"type": "bool", "default": False},
            "start_timeout_seconds": {"type": "int", "default": 120},
            "stop_timeout_seconds": {"type": "int", "default": 90},
        },
        supports_check_mode=True,
    )
    run(module, lambda module: node_restart(module, Runner()))


if __name__ == "__main__":
    main()
