#!/usr/bin/python
# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_info
short_description: Tell how a node sees the cluster, and whether the cluster is split
version_added: 0.1.0
description:
  - Asks the node of this host with whom it shares its Mnesia tables, and through it every member that it reaches.
  - A cluster is split when nodes that have each other in their schema all run, and take each other for down. That
    stays so when the network between them is whole again. Mnesia calls it a partitioned network, and merges nothing.
  - While the network is cut no node can tell a member that is down from one on the other side. Ask the hosts of both
    sides, and put the answers together with the filter P(erlmcp.ops.cluster_islands#filter).
  - A node that does not run, or does not answer, is reported as such and is no failure.
  - Asking connects the nodes to each other where the network lets them.
author:
  - erlmcp.ops contributors (@erlmcp)
extends_documentation_fragment:
  - erlmcp.ops.attributes.read_only
  - erlmcp.ops.node
options:
  members:
    description: Node names of the whole cluster. Without it, those in the schema of the node.
    type: list
    elements: str
    default: []
  digest:
    description:
      - Read every row of every copy and compare the copies. The first node of an island, by name, does it for all
        nodes of the island, so ask all hosts.
      - While a table is read, whoever writes to it waits. Reading a million small rows was measured to take less than
        a second.
      - Only this finds copies that differ although their nodes take each other for running. A node that is restarted
        while the cluster is split brings that about, because it joins both sides.
    type: bool
    default: false
  wait_seconds:
    description: How long to wait until RV(complete). V(0) asks once.
    type: int
    default: 0
  assert_complete:
    description: Fail unless RV(complete), after O(wait_seconds).
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Ask every host, whatever side it is on
  erlmcp.ops.cluster_info:
    node: "{{ __erlmcp_node }}"
    members: "{{ erlmcp_cluster_nodes }}"
  register: cluster

- name: Require one cluster whose copies have the same rows
  erlmcp.ops.cluster_info:
    node:
      name: erlmcp@node1.example.com
      home_dir: /etc/erlmcp/home
    members: [erlmcp@node1.example.com, erlmcp@node2.example.com]
    digest: true
    wait_seconds: 60
    assert_complete: true
"""

RETURN = r"""
name:
  description: Erlang node name.
  type: str
  returned: always
state:
  description:
    - Mnesia of the node is C(running), C(stopped) or C(absent) from the release.
    - C(down) is a node that does not run, C(silent) one that runs and does not answer. Of these nothing else is known.
  type: str
  returned: always
error:
  description: Why the node does not answer, or null.
  type: str
  returned: always
connected:
  description: Nodes that it was connected to when it was asked.
  type: list
  elements: str
  returned: always
members:
  description: Nodes in its schema, itself included.
  type: list
  elements: str
  returned: always
running:
  description: Those of RV(members) that it takes for running. Its transactions reach these only.
  type: list
  elements: str
  returned: always
outlived:
  description: Those of RV(members) that it has seen going down, and not coming back yet. What they have is older.
  type: list
  elements: str
  returned: always
in_ram:
  description: Those of RV(members) whose schema is in RAM only, so that they forget the cluster when they restart.
    Empty where the release keeps it there on purpose.
  type: list
  elements: str
  returned: always
tables:
  description:
    - Table to C(copies) (node to kind of copy), C(rows) (null unless loaded), C(loaded), C(masters) and C(waits_for).
    - The last are nodes that may have newer rows. Until they run the node does not load what it has, for it has not
      seen them going down. After a power cut that may be all of them. When all run and all wait, Mnesia takes the rows
      of the first node by name.
  type: dict
  returned: always
  sample:
    erlmcp_item:
      copies: {erlmcp@node1.example.com: disc_copies, erlmcp@node2.example.com: disc_copies}
      rows: 40
      loaded: true
      masters: []
      waits_for: []
masters:
  description: Nodes that it loads its tables from, whatever the others hold. Empty unless a repair is under way.
  type: list
  elements: str
  returned: always
views:
  description: Member that was reached to what it says of itself, with C(state), C(connected), C(members),
    C(running), C(in_ram), C(tables) and C(masters).
  type: dict
  returned: always
unreached:
  description: Members that were not reached.
  type: list
  elements: str
  returned: always
islands:
  description: The nodes that were asked, as lists of those that share their tables.
  type: list
  elements: list
  returned: always
  sample: [[erlmcp@node1.example.com, erlmcp@node2.example.com], [erlmcp@node3.example.com]]
partitioned:
  description: Whether there is more than one island. False proves nothing about members that were not reached.
  type: bool
  returned: always
complete:
  description: Whether all members are one island and have loaded every table.
  type: bool
  returned: always
digests:
  description: Table to node to C(rows) and C(digest), which is the same for copies with the same rows on any machine.
    Empty unless O(digest) and the node is the first of its island. C(digest) is null when rows change all the time
    outside of transactions.
  type: dict
  returned: always
  sample:
    erlmcp_item:
      erlmcp@node1.example.com: {rows: 40, digest: 00000000a2f51c33}
      erlmcp@node2.example.com: {rows: 40, digest: 00000000a2f51c33}
lacks:
  description: First node of each other island to tables, with the number of rows that it has and this node has not.
    Empty unless O(digest), the node is the first of its island, and reaches the others.
  type: dict
  returned: always
  sample: {erlmcp@node3.example.com: {erlmcp_item: 7}}
evidence:
  description: For whoever has to choose a side, when the node's C(files) in Mnesia's C(directory) were last written,
    the C(last_change) among them, how many C(transaction_commits) there were since the node C(started), and how many
    rows are C(on_disk) of the tables with which it waits (null where its files cannot be read).
  type: dict
  returned: always
problems:
  description: What keeps the nodes from being one cluster.
  type: list
  elements: str
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.erlmcp.ops.plugins.module_utils._cluster.info import cluster_info
from ansible_collections.erlmcp.ops.plugins.module_utils._core.module import run
from ansible_collections.erlmcp.ops.plugins.module_utils._core.node_spec import NODE_SPEC
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Runner


def main():
    module = AnsibleModule(
        argument_spec={
            **NODE_SPEC,
            "members": {"type": "list", "elements": "str", "default": []},
            "digest": {"type": "bool", "default": False},
            "wait_seconds": {"type": "int", "default": 0},
            "assert_complete": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    run(module, lambda module: cluster_info(module, Runner()))


if __name__ == "__main__":
    main()
