#!/usr/bin/python
# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: restore
short_description: Bring an archive into service, or leave everything as it was
version_added: 0.1.0
description:
  - Verifies the archive to its last byte, checks that node name, versions and free space fit, unpacks it beside the
    data directory, and builds its tables there. All that while the node serves, so a refusal costs nothing.
  - Then stops the node, lets the new and the old data directory change places in one step of the kernel, switches the
    config set, and starts the node, which is down for a restart, whatever the size.
  - A node that does not become healthy, or does not have every row, gets its old data and config back, and the module
    fails with the reason. What was replaced is kept beside the data directory as C(.before-restore-<UTC time>).
  - A run that was killed is finished by the next one with the same options. At every moment the data is all old or all
    new.
author:
  - erlmcp.ops contributors (@erlmcp)
extends_documentation_fragment:
  - erlmcp.ops.attributes
  - erlmcp.ops.node
  - erlmcp.ops.health
  - erlmcp.ops.backup
  - erlmcp.ops.backup.archive
options:
  state:
    description:
      - V(present) does all of it.
      - V(staged) does everything up to the stop, V(exchanged) everything up to the start. V(started) does not wait
        until the node is healthy, as nodes that share tables may wait for each other. V(proven) does all but the end,
        so that there is still a way back. What is done already is not done again.
      - V(kept) decides that what is in service stays, and V(finished) ends the restore then. To be used when all nodes
        are V(proven), and V(finished) when all are V(kept).
      - V(withdrawn) stops the node and puts back what it had before V(exchanged), V(resumed) starts it again and proves
        that it has what it had. To be used when one node could not be V(proven), and V(resumed) when all are
        V(withdrawn).
      - These four do nothing where no restore is under way.
      - V(reverted) is V(present) with O(undo).
    type: str
    choices: [present, staged, exchanged, started, proven, kept, finished, withdrawn, resumed, reverted]
    default: present
  undo:
    description:
      - Takes the last restore back. What it has moved aside is brought into service, by the same steps, and what it
        replaces is kept beside the data directory as C(.reverted-<UTC time>). Done again, it takes that back.
      - Of nodes that share tables, one alone is refused.
      - O(archive) is then the name of the directory that was moved aside, or V(latest), and O(members) is not used.
    type: bool
    default: false
  run:
    description: Tells what was replaced together, as all nodes of a run note it. The time by default.
    type: str
    default: ""
  together:
    description:
      - Names of all nodes that are restored in one run. Take each step on all of them before the next one. A node that
        starts with its new tables while another one has its old ones finds a schema that is not its own.
      - With it, a node that does not serve is left as it is, for V(withdrawn) on all of them, and V(present) is
        refused.
      - A node that shares its tables with a running one that is not named is refused, for the rows of the other would
        replace what is restored.
    type: list
    elements: str
    default: []
  members:
    description: What is restored. Logs and TLS files of an archive are for people to look at.
    type: list
    elements: str
    choices: [config, data]
    default: [config, data]
  tables_archive:
    description: Another archive, from which Mnesia's tables are taken. For nodes that share a schema, which must all
      get the tables of one moment.
    type: str
  node_map:
    description: Old node names to new ones. Mnesia's schema is rewritten with it, so that a cluster can be recovered on
      machines with other names.
    type: dict
    default: {}
  group:
    description: The service's group, which may read the config set.
    type: str
    default: erlmcp
  allow_newer:
    description: Accept an archive that a newer release or Erlang wrote than is installed.
    type: bool
    default: false
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
- name: Restore the data of the newest archive
  erlmcp.ops.restore:
    node: "{{ __erlmcp_node }}"
    health: "{{ __erlmcp_health }}"
    members: [data]

- name: Take it back
  erlmcp.ops.restore:
    node: "{{ __erlmcp_node }}"
    health: "{{ __erlmcp_health }}"
    state: reverted
"""

RETURN = r"""
archive:
  description: Path of the archive, or null for the ways back and with O(undo).
  type: str
  returned: always
steps:
  description: What was done, or would be done in check mode.
  type: list
  elements: str
  returned: always
downtime_seconds:
  description: From the stop until the node was healthy with every row.
  type: float
  returned: when the node was restarted
safety_copy:
  description: Where the replaced data directory is kept, or null.
  type: str
  returned: when directories were exchanged
tables:
  description: The tables and the rows that were restored, or null with O(undo), as nobody has counted them.
  type: list
  elements: dict
  returned: unless in check mode
health:
  description: What M(erlmcp.ops.node_info) says of the health after the restart.
  type: dict
  returned: when the node was restarted
back:
  description: Always V(true), as the node was proven to have what it had before. It runs if it ran then.
  type: bool
  returned: O(state=resumed), when a restore was under way
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.restore import restore
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.spec import SPECS
from ansible_collections.erlmcp.ops.plugins.module_utils._core.module import run
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Runner


def main():
    module = AnsibleModule(argument_spec=SPECS["restore"], supports_check_mode=True)
    run(module, lambda module: restore(module, Runner()))


if __name__ == "__main__":
    main()
