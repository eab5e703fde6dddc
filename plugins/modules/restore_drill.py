#!/usr/bin/python
# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: restore_drill
short_description: Try an archive with a throw-away node
version_added: 0.1.0
description:
  - Restores an archive into scratch directories, starts the installed release with its data and its config, waits until
    it is healthy, compares its rows with the manifest, stops it and removes everything.
  - The node runs in a unit of its own, for the time of the drill, with a network that has nothing but a loopback
    interface. It keeps its name, ports and paths, and neither the node that serves nor its peers can notice it.
  - The settings of the node's unit and of its drop-ins hold for the drill too, environment, limits and sandbox among
    them. Left out are those that say what is started and how it ends, as whom, with which network and priority, and
    what it may write, which is the scratch directories only; what C(BindPaths) mounts can be read.
author:
  - erlmcp.ops contributors (@erlmcp)
extends_documentation_fragment:
  - erlmcp.ops.attributes
  - erlmcp.ops.node
  - erlmcp.ops.health
  - erlmcp.ops.backup
  - erlmcp.ops.backup.archive
options:
  log_dir:
    description: Directory of the log files, over which a scratch directory is mounted.
    type: path
    default: /var/log/erlmcp
  group:
    description: The service's group.
    type: str
    default: erlmcp
  start_timeout_seconds:
    description: How long the node may take to become healthy with every row.
    type: int
    default: 120
  stop_timeout_seconds:
    description: How long the stop may take.
    type: int
    default: 90
"""

EXAMPLES = r"""
- name: Try the newest archive
  erlmcp.ops.restore_drill:
    node: "{{ __erlmcp_node }}"
    health: "{{ __erlmcp_health }}"
"""

RETURN = r"""
archive:
  description: Path of the archive.
  type: str
  returned: always
steps:
  description: What was done, or would be done in check mode.
  type: list
  elements: str
  returned: always
seconds:
  description: How long the drill took.
  type: float
  returned: unless in check mode
start_seconds:
  description: How long the node took to become healthy with every row.
  type: float
  returned: unless in check mode
tables:
  description: The tables and their rows by the manifest.
  type: list
  elements: dict
  returned: unless in check mode
rows:
  description: The rows that the node counted, by table.
  type: dict
  returned: unless in check mode
ansible_facts:
  description: The outcome as the fact C(erlmcp_restore_drill), for reports.
  type: dict
  returned: unless in check mode
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.drill import restore_drill
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.spec import SPECS
from ansible_collections.erlmcp.ops.plugins.module_utils._core.module import run
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Runner


def main():
    module = AnsibleModule(argument_spec=SPECS["restore_drill"], supports_check_mode=True)
    run(module, lambda module: restore_drill(module, Runner()))


if __name__ == "__main__":
    main()
