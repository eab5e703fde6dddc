#!/usr/bin/python
# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_info
short_description: Tell what is true of an erlmcp node now
version_added: 0.1.0
description:
  - Reports whether the node runs, is healthy and sees its cluster, and whether what runs differs from what is on disk.
  - Health is asked in levels, HTTP first, then a ping over Erlang distribution, then process and unit. A level where
    nothing listens hands over to the next; a level that answers "not healthy" is final. A node that waits for others
    with its tables is not healthy on any level.
  - The node is asked through the release's own C(erl_call), which reads the cookie from the account's
    C(.erlang.cookie), so the cookie is on no command line.
author:
  - erlmcp.ops contributors (@erlmcp)
extends_documentation_fragment:
  - erlmcp.ops.attributes.read_only
  - erlmcp.ops.node
  - erlmcp.ops.health
  - erlmcp.ops.expected
options:
  wait_seconds:
    description: How long to wait until the node is healthy and sees O(expect_members). V(0) asks once.
    type: int
    default: 0
  assert_healthy:
    description: Fail when the node is not healthy, or does not see O(expect_members), after O(wait_seconds).
    type: bool
    default: false
  predicted_next:
    description: For check mode, in which nothing was laid down. What earlier tasks would have left in the slots
      C(next), with the keys C(release) and C(config), each a name or null. A slot without a key is read.
    type: dict
    default: {}
  connections_function:
    description: Function that counts the open connections, like C(erlmcp_admin:connection_count/0). A release that
      lacks it gives C(null) in RV(figures).
    type: str
"""

EXAMPLES = r"""
- name: Ask every node
  erlmcp.ops.node_info:
    node: "{{ __erlmcp_node }}"
    health: "{{ __erlmcp_health }}"
  register: node

- name: Require a healthy node that sees two others within a minute
  erlmcp.ops.node_info:
    node:
      name: erlmcp@node1.example.com
      home_dir: /etc/erlmcp/home
    health:
      url: http://127.0.0.1:8080/health
    expect_members: [erlmcp@node2.example.com, erlmcp@node3.example.com]
    wait_seconds: 60
    assert_healthy: true
"""

RETURN = r"""
name:
  description: Erlang node name.
  type: str
  returned: always
running:
  description: Whether the unit is active and has a process.
  type: bool
  returned: always
pid:
  description: Main process of the unit, or null.
  type: int
  returned: always
unit:
  description: State of the systemd unit (C(active), C(sub), C(result), C(enabled), C(automatic_restarts),
    C(needs_daemon_reload)).
  type: dict
  returned: always
release:
  description: Version that runs (C(running)), and the slots C(current), C(next), C(previous).
  type: dict
  returned: always
config:
  description: Config sets in the slots C(current), C(next), C(previous).
  type: dict
  returned: always
health:
  description: C(healthy), the C(level) that answered (C(http), C(ping), C(process) or null) and its C(detail).
  type: dict
  returned: always
figures:
  description: Figures of the virtual machine (bytes, counts, limits, versions); empty when the node does not answer.
  type: dict
  returned: always
members:
  description: Node names that this node sees, itself included.
  type: list
  elements: str
  returned: always
distribution_error:
  description: Why the node could not be asked over distribution, or null.
  type: str
  returned: always
epmd_error:
  description: Why other nodes cannot find one that runs by asking the C(epmd) of its host, with the next action. Null
    where they can, and where the nodes do without.
  type: str
  returned: always
store:
  description: Mnesia of the node. Its C(state) (C(running), C(stopped) or C(absent)), the C(members) of its schema,
    those that it takes for C(running), members whose schema is C(in_ram), so that they forget the cluster when they
    restart (empty where the release keeps it there on purpose), the tables with which it is C(waiting) and the members
    that it C(waits_for), since they may have newer rows, and the number of C(rows) of each table that is not local,
    C(null) for one that it cannot read yet. C(null) when the node does not answer.
  type: dict
  returned: always
members_on_disk:
  description: Of a node that does not run, the node names in its Mnesia schema, read from the file; one that has left
    the cluster may still be among them. Empty when it runs, and without a schema.
  type: list
  elements: str
  returned: always
not_sharing:
  description: Those of O(expect_members) with which it does not share its tables, with O(expect_shared_tables=true).
  type: list
  elements: str
  returned: always
missing_members:
  description: Those of O(expect_members) that it does not see.
  type: list
  elements: str
  returned: always
restart_required:
  description: Why the node has to be restarted or started, out of C(stopped), C(release), C(config) and C(unit). Read
    from the node, so it is still true after a play that died.
  type: list
  elements: str
  returned: always
checks:
  description: What is not right on the host, and is warned of. Each has a C(code), a C(state) (C(WARN) or C(CRIT)), the
    C(evidence) and a C(remedy).
  type: list
  elements: dict
  returned: always
peers_outdated:
  description: Whether the running node has not been told of the C(cluster_nodes) that its C(sys.config) names now. That
    takes no restart, see M(erlmcp.ops.cluster_peers).
  type: bool
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.erlmcp.ops.plugins.module_utils._core.module import run
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Runner
from ansible_collections.erlmcp.ops.plugins.module_utils._node.observe import node_info
from ansible_collections.erlmcp.ops.plugins.module_utils._node.spec import NODE_INFO_SPEC


def main():
    module = AnsibleModule(
        argument_spec=NODE_INFO_SPEC,
        supports_check_mode=True,
    )
    run(module, lambda module: node_info(module, Runner()))


if __name__ == "__main__":
    main()
