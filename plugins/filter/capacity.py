# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: capacity
short_description: What a number of connections takes, with bigger nodes or with more of them
version_added: 0.1.0
author: erlmcp.ops contributors (@erlmcp)
description:
  - Implements the table of the administration guide (Scaling, Vertical Scaling). A node holds 50,000 connections, and
    100,000 with C(+P 1000000); C(+A 32) gives 20 % more throughput, C(+S 16:16) 30 %. How gains combine the guide does
    not say; they are added.
  - C(+P) is 1,000,000 from the guide, which is ten processes a connection, and ten a connection above 100,000. Up to
    O(node_connections) it is left to the virtual machine (262,144 in OTP 25 and 26, 1,048,576 since OTP 27).
  - C(+Q) is a port a connection, and 1,024 for listeners, links to other nodes and outgoing sockets. Up to 65,536 it is
    left to the virtual machine, whose default that is.
  - C(LimitNOFILE) is a file a port, and 1,024 for code, logs and tables. It is never below 65,536, the default of role
    C(erlmcp_node).
  - C(+A) is the guide's 32 when a node holds more than O(node_connections). Since OTP 21 other threads read files, and
    few drivers use these, so measure before counting on the guide's gain.
  - C(+S) is one for each core when a node holds more than O(node_connections), which the virtual machine does by itself
    too. The guide's gain is counted with 16 cores or more. Hosts that differ are left to the virtual machine.
  - C(maxconn) of the balancer is all connections, since another balancer may be down, and 1,024 for whoever monitors.
  - Linux has 28,232 local ports by default (C(net.ipv4.ip_local_port_range)), so a balancer with one address holds no
    more connections to one port of a node. The text says so where it matters.
  - Memory is an assumption, O(connection_memory_kb) and O(memory_reserve_mb).
  - The names in its errors are those of the variables of role C(erlmcp_scale).
options:
  _input:
    description: Wanted connections of the whole cluster.
    type: int
    required: true
  nodes:
    description: Host to its facts, of which C(processor_nproc) and C(memtotal_mb) (MiB) are read. The balancer gives
      every node the same share, so the smallest decides.
    type: dict
    required: true
  spare_node:
    description: Whether the others must hold all connections when one node is lost.
    type: bool
    default: true
  node_connections:
    description: What a node holds with the defaults of the virtual machine. The default is the guide's.
    type: int
    default: 50000
  node_connections_max:
    description: What a node holds with settings. The default is the guide's.
    type: int
    default: 100000
  connection_memory_kb:
    description: KiB of memory that a connection takes. An assumption, so measure your release.
    type: int
    default: 100
  memory_reserve_mb:
    description: MiB of memory on each node that are not for connections, but for system, virtual machine and tables.
    type: int
    default: 1024
"""

EXAMPLES = r"""
- name: Show what 200,000 connections take
  ansible.builtin.debug:
    msg: "{{ (200000 | erlmcp.ops.capacity(nodes)).text }}"
  vars:
    nodes:
      node1: {processor_nproc: 16, memtotal_mb: 32000}
      node2: {processor_nproc: 16, memtotal_mb: 32000}
      node3: {processor_nproc: 16, memtotal_mb: 32000}
"""

RETURN = r"""
_value:
  description: Both ways, bigger nodes and more nodes.
  type: dict
  contains:
    fits:
      description: Whether O(nodes) hold the connections, with RV(_value.settings).
      type: bool
    problems:
      description: Why not. Empty when it fits.
      type: list
      elements: str
    share:
      description: Connections on each of O(nodes).
      type: int
    memory_mb:
      description: MiB of memory that each of O(nodes) needs.
      type: int
    throughput_gain_percent:
      description: How much more throughput RV(_value.settings) give by the guide.
      type: int
    settings:
      description: Variables of role C(erlmcp_node) for O(nodes). Empty when no settings let a node hold the share.
      type: dict
    balancer:
      description: Variables of role C(erlmcp_load_balancer).
      type: dict
    nodes_needed:
      description: How many nodes of the size of the smallest hold the connections, with O(node_connections) on each or
        what its memory allows.
      type: int
    nodes_needed_settings:
      description: Variables of role C(erlmcp_node) for those.
      type: dict
    text:
      description: All this in lines of YAML, variables and comments.
      type: list
      elements: str
"""

from ansible.errors import AnsibleFilterError
from ansible_collections.erlmcp.ops.plugins.module_utils._capacity.plan import plan_capacity
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError


def capacity(connections, nodes, **options):
    try:
        return plan_capacity(connections, nodes, **options)
    except OpsError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Offers the filter."""

    def filters(self):
        return {"capacity": capacity}
