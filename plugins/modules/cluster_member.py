#!/usr/bin/python
# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_member
short_description: Let a node share the tables of a cluster, or cease to
version_added: 0.1.0
description:
  - Members share one Mnesia schema, and copies of its tables. Being connected is not enough for that.
  - Every member is asked first. The plan names what each node and table gets; check mode shows it. Afterwards the
    change is proven from every member's view.
  - O(state=present) lets the node of this host join the others. The first node of O(members), or the one that holds
    rows, is whom the others join; for it there is nothing to do. The node's own empty tables are dropped. Its
    applications are stopped meanwhile; the other members serve on. What fails is taken back.
  - O(state=absent) for the node of this host moves its copies to others where they are needed, drains and stops it,
    sets its data and its cookie aside and masks its unit, so that it does not come back when somebody starts it. Run it
    on another host with the same O(leaving) then, which removes it from the schema; a node that is lost can be
    forgotten that way too.
  - Changes of membership need every other member to run, so that they can be planned and proven from each of them.
  - Run it with C(serial=1). Two nodes that join at the same moment wait for each other.
author:
  - erlmcp.ops contributors (@erlmcp)
extends_documentation_fragment:
  - erlmcp.ops.attributes
  - erlmcp.ops.node
  - erlmcp.ops.drain
options:
  state:
    description: Whether the node is to be a member.
    type: str
    choices: [present, absent]
    default: present
  leaving:
    description:
      - With O(state=absent), names of all nodes that are not to be members any more. On the host of one of them, it
        leaves; on another host, they are forgotten, once they are stopped.
      - Defaults to the node of this host.
    type: list
    elements: str
    default: []
  members:
    description: Names of all nodes that the cluster is to have, in the order of the inventory.
    type: list
    elements: str
    default: []
  ports:
    description: TCP ports of a member that must answer before a joining node connects to any, those of the port mapper
      and of distribution. A node that reaches only some of the members would split them.
    type: list
    elements: int
    default: []
  seed:
    description: The node that the others join when there is no cluster yet.
    type: str
  copies:
    description: How many nodes have a copy of each table. V(0) means all of them.
    type: int
    default: 0
  adopt:
    description: What to do with rows that a joining node holds itself. V(discard) sets its Mnesia directory aside, on
      the same host with C(.discarded-) and the time behind its name. Rows of tables in RAM are dropped.
    type: str
    choices: [refuse, discard]
    default: refuse
  lost:
    description: With O(state=absent) for the node of this host, which the others have forgotten. It hands nothing over;
      it is stopped if it runs, and what is left of it is set aside, so that it can be built anew.
    type: bool
    default: false
  predicted_stopped:
    description: For check mode. The nodes in O(leaving) run still, and would have been stopped by an earlier task.
    type: bool
    default: false
  applications:
    description: OTP applications that use Mnesia, in the order in which they are started.
    type: list
    elements: str
    default: [erlmcp]
  data_dir:
    description: Data directory of the service, which is set aside when the node leaves.
    type: path
    default: /var/lib/erlmcp
  other_units:
    description: systemd units to stop and disable with the node when it leaves, with their suffix.
    type: list
    elements: str
    default: []
  join_timeout_seconds:
    description: How long copying the tables may take.
    type: int
    default: 600
  stop_timeout_seconds:
    description: How long the stop may take. Longer than C(TimeoutStopSec) of the unit, after which systemd kills.
    type: int
    default: 90
seealso:
  - module: erlmcp.ops.node_info
"""

EXAMPLES = r"""
- name: Let the node share the tables of the others, in a play with serial 1
  erlmcp.ops.cluster_member:
    node: "{{ __erlmcp_node }}"
    members: "{{ erlmcp_cluster_nodes }}"

- name: Let the others forget a node that was lost
  erlmcp.ops.cluster_member:
    node: "{{ __erlmcp_node }}"
    members: "{{ erlmcp_cluster_nodes }}"
    leaving: [erlmcp@node3.example.com]
    state: absent
"""

RETURN = r"""
plan:
  description: What each node and table gets, or would get in check mode. Empty when there is nothing to do.
  type: list
  elements: str
  returned: success
  sample:
    - "erlmcp@node1: keep the schema on disk"
    - "erlmcp@node2: join erlmcp@node1 through erlmcp@node1"
    - "erlmcp@node2: get disc_copies of table erlmcp_item (75 rows)"
tables:
  description: With O(state=present), table to the kind of copy that the node got. With O(state=absent), table to the
    nodes that have a copy now.
  type: dict
  returned: when something changes
set_aside:
  description: Where what the node held is kept.
  type: str
  returned: when something was set aside
drained:
  description: How the draining ended.
  type: str
  returned: when the node left
seconds:
  description: Wall time from the plan to the proof.
  type: float
  returned: when the node joined
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.erlmcp.ops.plugins.module_utils._cluster.member import cluster_member
from ansible_collections.erlmcp.ops.plugins.module_utils._core.module import run
from ansible_collections.erlmcp.ops.plugins.module_utils._core.node_spec import NODE_SPEC
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Runner
from ansible_collections.erlmcp.ops.plugins.module_utils._node.drain import DRAIN_SPEC


def main():
    module = AnsibleModule(
        argument_spec={
            **NODE_SPEC,
            **DRAIN_SPEC,
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "leaving": {"type": "list", "elements": "str", "default": []},
            "members": {"type": "list", "elements": "str", "default": []},
            "seed": {"type": "str"},
            "copies": {"type": "int", "default": 0},
            "ports": {"type": "list", "elements": "int", "default": []},
            "adopt": {"type": "str", "choices": ["refuse", "discard"], "default": "refuse"},
            "lost": {"type": "bool", "default": False},
            "predicted_stopped": {"type": "bool", "default": False},
            "applications": {"type": "list", "elements": "str", "default": ["erlmcp"]},
            "data_dir": {"type": "path", "default": "/var/lib/erlmcp"},
            "other_units": {"type": "list", "elements": "str", "default": []},
            "join_timeout_seconds": {"type": "int", "default": 600},
            "stop_timeout_seconds": {"type": "int", "default": 90},
        },
        supports_check_mode=True,
    )
    run(module, lambda module: cluster_member(module, Runner()))


if __name__ == "__main__":
    main()
