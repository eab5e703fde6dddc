#!/usr/bin/python
# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_copy
short_description: Copy a backup of erlmcp away and prove it there
version_added: 0.1.0
description:
  - Brings an archive, then the file beside it, from the host to a place that does not share the host's fate. An archive
    that has its file beside it over there is complete.
  - A copy counts when its bytes were compared over there, after the transfer. rsync compares by checksum. rclone
    compares by the hashes that both ends have; where there are none, or they could not be checked, everything is read
    back. Only then is the archive marked as copied.
  - Before it is sent, the archive is compared with the digest that it had when it was made.
  - A copy that was cut off does not count. The next run goes on, rsync within the file, rclone with the file.
  - An archive that is marked as copied to the same place is not sent again, and not looked at there.
author:
  - erlmcp.ops contributors (@erlmcp)
extends_documentation_fragment:
  - erlmcp.ops.attributes
options:
  store_dir:
    description: Directory of the archives.
    type: path
    default: /var/backups/erlmcp
  service:
    description: systemd unit, without C(.service). One copy of a service runs at a time, beside its backups.
    type: str
    default: erlmcp
  run_dir:
    description: Directory of the lock.
    type: path
    default: /run/erlmcp-ops
  metrics_dir:
    description:
      - Text-file directory of the Prometheus node exporter, where C(erlmcp_backup.prom) tells of the last runs. When
        it is empty or not there, nothing is written.
    type: str
    default: ""
  archive:
    description: File name of an archive in the store, absolute path of one elsewhere, or V(latest).
    type: str
    default: latest
  host:
    description: Whose V(latest) is meant, by the host's name in the archive's name. Needed when the store holds
      archives of several hosts.
    type: str
  tool:
    description: The program that copies. It must be installed on the host.
    type: str
    choices: [rclone, rsync]
    required: true
  destination:
    description:
      - The directory to copy to, in the words of the tool. V(offsite:erlmcp/node1) for rclone,
        V(backup@vault.example.com:erlmcp/node1) for rsync, or a path on the host where another disk is mounted.
      - Hosts need a directory each, or archives with the host in their name, as the roles make them.
      - Every user of the host can read it while the tool runs, so it must hold no secret. rclone reads credentials from
        the configuration file of root, which C(rclone config) writes. rsync needs an ssh key of root without a
        passphrase, or C(--password-file) in O(tool_options).
    type: str
    required: true
  tool_options:
    description:
      - Further options of the tool, for example C(--bwlimit=10M), C(--config=/etc/rclone.conf) or
        C(--rsh=ssh -p 2222). They must hold no secret, and not silence the tool.
      - The environment of the tool is empty but for C(PATH), C(LANG) and C(HOME).
    type: list
    elements: str
    default: []
seealso:
  - module: erlmcp.ops.backup
  - module: erlmcp.ops.backup_verify
"""

EXAMPLES = r"""
- name: Copy the newest archive to an object store that root's rclone knows as offsite
  erlmcp.ops.backup_copy:
    tool: rclone
    destination: offsite:erlmcp

- name: Copy one archive to another host, slowly
  erlmcp.ops.backup_copy:
    archive: erlmcp-node1-20261124T023000Z.tar.zst
    tool: rsync
    destination: backup@vault.example.com:/srv/erlmcp
    tool_options: [--bwlimit=10M]
"""

RETURN = r"""
archive:
  description: Path of the archive.
  type: str
  returned: success
destination:
  description: Where it is, or would be in check mode.
  type: str
  returned: success
sha256:
  description: Digest of the archive.
  type: str
  returned: success
seconds:
  description: How long transfer and proof took.
  type: float
  returned: when it was copied
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.copy import backup_copy
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.spec import SPECS
from ansible_collections.erlmcp.ops.plugins.module_utils._core.module import run
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Runner


def main():
    module = AnsibleModule(argument_spec=SPECS["backup_copy"], supports_check_mode=True)
    run(module, lambda module: backup_copy(module, Runner()))


if __name__ == "__main__":
    main()
