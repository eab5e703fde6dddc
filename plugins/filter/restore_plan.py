# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: restore_plan
short_description: Which node of a cluster gets which archive
version_added: 0.1.0
author: erlmcp.ops contributors (@erlmcp)
description:
  - Chooses an archive for each host, and Mnesia's tables from one archive for nodes that share a schema, so that all
    nodes are consistent with each other.
  - Where an archive is from the future by more than five minutes, the times do not say which one is the latest, so a
    time has to be named.
options:
  _input:
    description: Inventory names of the hosts.
    type: list
    elements: str
    required: true
  nodes:
    description: Inventory name to node name.
    type: dict
    required: true
  found:
    description: Inventory name to what M(erlmcp.ops.backup_info) returned as C(backups).
    type: dict
    required: true
  sources:
    description: Inventory name to the host whose archive it gets. A host that is not named gets its own.
    type: dict
    default: {}
  archive:
    description: V(latest), or the name of one archive when there is one host.
    type: str
    default: latest
  before:
    description: Only archives taken up to this time, C(YYYYMMDDTHHMMSSZ). Empty for all.
    type: str
    default: ""
  free:
    description: Inventory name to the bytes that are free where the archives of the host are. Archives that would have
      to be copied to a host without room for them are refused.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Show the plan
  ansible.builtin.debug:
    msg: "{{ ['new1'] | erlmcp.ops.restore_plan(nodes, {'new1': found.backups}, {'new1': 'old1'}) }}"
  vars:
    nodes: {new1: erlmcp@new1}
"""

RETURN = r"""
_value:
  description: C(parts), which is inventory name to C(archive), C(tables_archive), C(node_map), C(files), C(copies)
    (what is to be copied from another host) and C(text), and C(problem), why there is no plan, with the next action.
    One of them is empty.
  type: dict
"""

import time

from ansible_collections.erlmcp.ops.plugins.module_utils._backup.cluster_plan import plan_cluster
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.store import CLOCK_SECONDS
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError


def restore_plan(hosts, nodes, found, sources=None, archive="latest", before="", free=None):
    try:
        now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() + CLOCK_SECONDS))
        parts = plan_cluster(hosts, nodes, found, sources, archive, before, now, free)
    except OpsError as error:
        return {"parts": {}, "problem": str(error)}
    return {"parts": parts, "problem": ""}


class FilterModule:
    """Offers the filter."""

    def filters(self):
        return {"restore_plan": restore_plan}
