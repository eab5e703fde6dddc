#!/usr/bin/python
# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_info
short_description: Tell which backups of erlmcp are on a host
version_added: 0.1.0
description:
  - Lists the archives that M(erlmcp.ops.backup) has made, oldest first, with what is known of them without reading
    them, and the data directories that M(erlmcp.ops.restore) has moved aside.
  - A host where nothing is there yet is no failure.
author:
  - erlmcp.ops contributors (@erlmcp)
extends_documentation_fragment:
  - erlmcp.ops.attributes.read_only
options:
  store_dir:
    description: Directory of the archives.
    type: path
    default: /var/backups/erlmcp
  host:
    description: Only archives of this host, by its name in the archive's name.
    type: str
  data_dir:
    description: Data directory of the service. The safety copies stand beside it.
    type: path
    default: /var/lib/erlmcp
seealso:
  - module: erlmcp.ops.backup
  - module: erlmcp.ops.backup_prune
  - module: erlmcp.ops.backup_verify
  - module: erlmcp.ops.restore
"""

EXAMPLES = r"""
- name: Look at the backups
  erlmcp.ops.backup_info:
  register: found

- name: Ensure there is a verified one
  ansible.builtin.assert:
    that: found.backups | selectattr('verified') | length > 0
"""

RETURN = r"""
backups:
  description: The archives, oldest first.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: File name.
      returned: success
      type: str
      sample: erlmcp-n1.example.org-20260131T020000Z.tar.zst
    path:
      description: Absolute path.
      returned: success
      type: str
    host:
      description: Host that it is a backup of.
      returned: success
      type: str
    time:
      description: When it was begun, UTC.
      returned: success
      type: str
      sample: 20260131T020000Z
    size:
      description: Size in bytes.
      returned: success
      type: int
    encrypted:
      description: Whether an age identity is needed to open it.
      returned: success
      type: bool
    verified:
      description:
        - What M(erlmcp.ops.backup_verify) has proven of exactly these bytes, with C(level), C(sha256) and C(time).
          V(null) if nothing.
      returned: success
      type: dict
    copied:
      description: Where a copy was proven to be, with C(destination), C(sha256) and C(time). V(null) if none was.
      returned: success
      type: dict
    drilled:
      description: When M(erlmcp.ops.restore_drill) started a node with it, and how long that took. V(null) if never.
      returned: success
      type: dict
    problem:
      description: Why it cannot be trusted. V(null) if nothing speaks against it.
      returned: success
      type: str
    sha256:
      description: SHA-256 that the archive had when it was made. V(null), as what follows, without a file beside it.
      returned: success
      type: str
    node:
      description: Name of the Erlang node.
      returned: success
      type: str
      sample: erlmcp@n1.example.org
    release:
      description: Version of the release that ran.
      returned: success
      type: str
    otp:
      description: Version of Erlang/OTP that it ran on.
      returned: success
      type: str
    method:
      description: How the data was read, V(hot), V(cold) or V(stop).
      returned: success
      type: str
    members:
      description: What is in it, of V(config), V(data), V(logs) and V(tls).
      returned: success
      type: list
      elements: str
    db_nodes:
      description: Nodes that share the Mnesia schema. Empty without Mnesia.
      returned: success
      type: list
      elements: str
    tables:
      description: The tables in it, with C(kind) (mnesia or dets), C(name) and C(rows).
      returned: success
      type: list
      elements: dict
foreign:
  description: Names in O(store_dir) that this collection did not write. They are left alone.
  returned: success
  type: list
  elements: str
free_bytes:
  description: Bytes free on the file system of O(store_dir).
  returned: success
  type: int
safety_copies:
  description: Data directories that were moved aside, oldest first.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: Absolute path.
      returned: success
      type: str
      sample: /var/lib/erlmcp.before-restore-20260131T120000Z
    kind:
      description:
        - V(before-restore) is what a restore replaced, V(reverted) what was replaced when a restore was taken back,
          V(failed-restore) what a node did not become healthy with.
      returned: success
      type: str
    time:
      description: When it was moved aside, UTC.
      returned: success
      type: str
      sample: 20260131T120000Z
    size:
      description: Bytes of the files in it.
      returned: success
      type: int
    replaced_by:
      description: File name of the archive that took its place, or name of the copy. V(null) if nobody has noted it.
      returned: success
      type: str
    run:
      description: Which restore that was, the same on all nodes of it. V(null) if nobody has noted it.
      returned: success
      type: str
      sample: 20260131T115900Z
    together:
      description: Names of all nodes that were restored in that run. Empty for a node alone.
      returned: success
      type: list
      elements: str
restore:
  description: A restore that has not ended. V(null) if there is none.
  returned: success
  type: dict
  contains:
    phase:
      description:
        - V(staged), V(exchanged), V(proven), V(kept) or V(withdrawn), as states of M(erlmcp.ops.restore) are called. Up
          to V(staged) nothing in service has changed.
      returned: success
      type: str
    archive:
      description: File name of the archive, or name of the safety copy that is put back.
      returned: success
      type: str
    together:
      description: Names of all nodes that are restored in that run. Empty for a node alone.
      returned: success
      type: list
      elements: str
    run:
      description: As of C(safety_copies).
      returned: success
      type: str
    undo:
      description: Whether a restore is being taken back.
      returned: success
      type: bool
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.info import backup_info
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.spec import SPECS
from ansible_collections.erlmcp.ops.plugins.module_utils._core.module import run
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Runner


def main():
    module = AnsibleModule(argument_spec=SPECS["backup_info"], supports_check_mode=True)
    run(module, lambda module: backup_info(module, Runner()))


if __name__ == "__main__":
    main()
