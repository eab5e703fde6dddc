#!/usr/bin/python
# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_fetch
short_description: Fetch a backup of erlmcp to the control node
version_added: 0.1.0
description:
  - Fetches an archive, then the file beside it, from the host to a directory on the control node. An archive that has
    its file beside it there is complete, and has the digest that it was made with.
  - It goes over the connection that Ansible has, in pieces, so it works with every connection and every way to become
    root, and takes no room on the host.
  - A fetch that was cut off goes on with what has come. That lies in the directory C(.partial) of O(dest_dir), under a
    name with the digest of the archive, so nothing is ever put together from two files. An archive that changes
    meanwhile is refused.
  - Files on the control node belong to the user who runs Ansible, and can be read by nobody else. With C(-vvv) pieces
    are not shown, with C(ANSIBLE_DEBUG) they are.
author:
  - erlmcp.ops contributors (@erlmcp)
extends_documentation_fragment:
  - erlmcp.ops.attributes
options:
  store_dir:
    description: Directory of the archives on the host.
    type: path
    default: /var/backups/erlmcp
  archive:
    description: File name of an archive in the store, absolute path of one elsewhere, or V(latest).
    type: str
    default: latest
  host:
    description: Whose V(latest) is meant, by the host's name in the archive's name. Needed when the store holds
      archives of several hosts.
    type: str
  dest_dir:
    description: Directory on the control node. It is made for its owner alone (C(0700)) when it is missing.
    type: path
    required: true
  piece:
    description: Which bytes to read. The half of the module that runs on the control node sets it.
    type: dict
    suboptions:
      path:
        description: Path of the archive, or of the file beside it.
        type: path
        required: true
      version:
        description: What tells the file of the other pieces from what has become of it.
        type: str
        required: true
      offset:
        description: Where the piece begins, in bytes.
        type: int
        required: true
      size:
        description: How many bytes it has.
        type: int
        required: true
seealso:
  - module: erlmcp.ops.backup
  - module: erlmcp.ops.backup_copy
  - module: erlmcp.ops.backup_verify
"""

EXAMPLES = r"""
- name: Fetch the newest archive
  erlmcp.ops.backup_fetch:
    dest_dir: ~/backups

- name: Fetch one archive
  erlmcp.ops.backup_fetch:
    archive: erlmcp-node1-20261124T023000Z.tar.zst
    dest_dir: ~/backups
"""

RETURN = r"""
path:
  description: Path of the archive on the control node.
  type: str
  returned: success
size:
  description: Bytes of the archive.
  type: int
  returned: success
sha256:
  description: Digest of the archive.
  type: str
  returned: success
fetched_bytes:
  description: Bytes that were fetched, or would be in check mode. What an earlier run has fetched is not in it.
  type: int
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.pieces import backup_fetch
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.spec import SPECS
from ansible_collections.erlmcp.ops.plugins.module_utils._core.module import run


def main():
    module = AnsibleModule(argument_spec=SPECS["backup_fetch"], supports_check_mode=True)
    run(module, backup_fetch)


if __name__ == "__main__":
    main()
