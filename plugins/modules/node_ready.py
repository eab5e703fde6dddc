#!/usr/bin/python
# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_ready
short_description: Wait until an erlmcp node serves and sees its cluster
version_added: 0.1.0
description:
  - Waits until the node is healthy and sees the other members. Of a member that it still does not see after two
    seconds, the release may not look by itself. Then the node is connected to it.
  - It is connected to those only that its C(sys.config) names, and when every port of every member that is not seen
    answers. From Erlang/OTP 25 on, a node that reaches only some of the others makes them cut each other off.
  - It is not connected to one with which it shares its tables. Mnesia connects to those by itself, unless it takes them
    for down because of a partition, which the playbook C(repair_partition) ends.
  - M(erlmcp.ops.node_info) tells the same and never changes anything.
author:
  - erlmcp.ops contributors (@erlmcp)
extends_documentation_fragment:
  - erlmcp.ops.attributes
  - erlmcp.ops.node
  - erlmcp.ops.health
  - erlmcp.ops.expected
options:
  expect_pid:
    description: The process that the unit must still have. A node that crashes again and again is healthy in between.
    type: int
  ports:
    description: TCP ports of the members, those of the port mapper and of distribution. Without any the node is not
      connected to anybody.
    type: list
    elements: int
    default: []
  known_ports:
    description: TCP ports on which the node is expected to listen. Any other that hosts can reach is a warning, with
      the application that has opened it. Without any port nothing is looked at.
    type: list
    elements: int
    default: []
  wait_seconds:
    description: How long to wait. V(0) asks once, and once more when the node was connected.
    type: int
    default: 0
  required:
    description: Fail when something is still missing after O(wait_seconds), and at once when the node is another
      process than O(expect_pid). V(false) reports everything that can be seen in RV(checks) and warns of nothing.
    type: bool
    default: true
  tls_renew_days:
    description: How many days before its end a certificate is due.
    type: int
    default: 30
  connections_function:
    description: Function that counts the open connections, like C(erlmcp_admin:connection_count/0). A release that
      lacks it gives C(null) in C(figures).
    type: str
"""

EXAMPLES = r"""
- name: Require a healthy node that sees two others within a minute
  erlmcp.ops.node_ready:
    node:
      name: erlmcp@node1.example.com
      home_dir: /etc/erlmcp/home
    health:
      url: http://127.0.0.1:8080/health
    expect_members: [erlmcp@node2.example.com, erlmcp@node3.example.com]
    ports: [4369, 9100]
    wait_seconds: 60
"""

RETURN = r"""
connected:
  description: Members that the node was connected to, or, in check mode, would be. The other values are those that
    M(erlmcp.ops.node_info) returns, after that.
  type: list
  elements: str
  returned: success
checks:
  description: What is not right on the host, as M(erlmcp.ops.node_info) returns it. With O(required=false) also why the
    node could not start again, whether Mnesia hangs, whether a restart is due, and who holds the lock of the cluster.
    In a remedy C({host}) stands for the inventory name of the host.
  type: list
  elements: dict
  returned: success
certificate:
  description: The certificate of the node, C(days_left), null when it cannot be read, and whether it is C(due). Null
    without TLS.
  type: dict
  returned: with O(required=false)
journal:
  description: Lines of the unit's journal that tell of errors, and its last ones; empty when the node is healthy.
  type: list
  elements: str
  returned: with O(required=false)
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.erlmcp.ops.plugins.module_utils._core.module import run
from ansible_collections.erlmcp.ops.plugins.module_utils._core.node_spec import NODE_SPEC
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Runner
from ansible_collections.erlmcp.ops.plugins.module_utils._node.around import AROUND_SPEC
from ansible_collections.erlmcp.ops.plugins.module_utils._node.health import HEALTH_SPEC
from ansible_collections.erlmcp.ops.plugins.module_utils._node.ready import node_ready
from ansible_collections.erlmcp.ops.plugins.module_utils._tls.lifetime import LIFETIME_SPEC


def main():
    module = AnsibleModule(
        argument_spec={
            **NODE_SPEC,
            **HEALTH_SPEC,
            **AROUND_SPEC,
            **LIFETIME_SPEC,
            "expect_members": {"type": "list", "elements": "str", "default": []},
            "expect_shared_tables": {"type": "bool", "default": False},
            "expect_pid": {"type": "int"},
            "ports": {"type": "list", "elements": "int", "default": []},
            "known_ports": {"type": "list", "elements": "int", "default": []},
            "wait_seconds": {"type": "int", "default": 0},
            "required": {"type": "bool", "default": True},
            "connections_function": {"type": "str"},
        },
        supports_check_mode=True,
    )
    run(module, lambda module: node_ready(module, Runner()))


if __name__ == "__main__":
    main()
