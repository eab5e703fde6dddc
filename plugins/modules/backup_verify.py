#!/usr/bin/python
# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_verify
short_description: Prove that archives can be restored, without touching the node
version_added: 0.1.0
description:
  - Reads an archive to its last byte and compares it with its manifest. With O(level=tables) it also unpacks the data
    into a scratch directory beside O(data_dir), builds its tables with the installed release's Erlang, and counts
    their rows.
  - What was proven is noted beside the archive, and M(erlmcp.ops.backup_prune) keeps the newest one that was. An
    archive that is not good loses its mark, and the module fails after all archives were looked at.
  - An encrypted archive without O(identity) is proven to have the bytes that were written, no more. That level is
    called C(sealed).
author:
  - erlmcp.ops contributors (@erlmcp)
extends_documentation_fragment:
  - erlmcp.ops.attributes
  - erlmcp.ops.node
  - erlmcp.ops.backup
  - erlmcp.ops.backup.archive
options:
  level:
    description: V(bytes) reads everything. V(tables) also builds the tables, which needs a release on the host.
    type: str
    choices: [bytes, tables]
    default: tables
  all:
    description: Verify every archive of the store instead of one.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Prove the newest archive
  erlmcp.ops.backup_verify:
    node: "{{ __erlmcp_node }}"

- name: Prove what was fetched to the control node, where no release is installed
  erlmcp.ops.backup_verify:
    node: "{{ __erlmcp_node }}"
    store_dir: backups
    all: true
    level: bytes
  delegate_to: localhost
"""

RETURN = r"""
results:
  description: One element for each archive.
  type: list
  elements: dict
  returned: always
  contains:
    archive:
      description: Path of the archive.
      type: str
    level:
      description: What was proven, V(sealed), V(bytes) or V(tables); null when it is not good.
      type: str
    tables:
      description: The tables and their rows.
      type: list
      elements: dict
    problem:
      description: What is wrong with it, or null.
      type: str
    seconds:
      description: How long it took.
      type: float
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.spec import SPECS
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.verify import backup_verify
from ansible_collections.erlmcp.ops.plugins.module_utils._core.module import run
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Runner


def main():
    module = AnsibleModule(argument_spec=SPECS["backup_verify"], supports_check_mode=True)
    run(module, lambda module: backup_verify(module, Runner()))


if __name__ == "__main__":
    main()
