#!/usr/bin/python
# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup
short_description: Make one proven archive of an erlmcp node
version_added: 0.1.0
description:
  - Writes C(erlmcp-<host>-<UTC time>.tar.zst) into the store, with a manifest inside and beside it that names the
    versions, each file with size and SHA-256, and each table with its rows.
  - With O(method=hot) the node goes on serving. It writes its Mnesia tables with C(mnesia:backup) and its DETS tables
    into new files itself; a copy of an open file is no backup. Other files below O(data_dir) are read as they are, and
    one that the node has open for writing, or that changes while it is read, is refused. A node without tables is
    backed up in the same way, and the manifest says that there are none.
  - An archive gets its name only when it is complete and on disk. A backup that is killed leaves no archive, and what
    it leaves is cleared by the next one.
  - Backups, restores and drills of a host exclude each other; the message names who holds the lock.
author:
  - erlmcp.ops contributors (@erlmcp)
extends_documentation_fragment:
  - erlmcp.ops.attributes
  - erlmcp.ops.node
  - erlmcp.ops.health
  - erlmcp.ops.backup
options:
  log_dir:
    description: Directory of the log files.
    type: path
    default: /var/log/erlmcp
  host:
    description: Name of the host in the archive's name. Letters, digits, dot, dash and underscore.
    type: str
    required: true
  method:
    description:
      - V(hot) is for a running node, with Mnesia or DETS tables or without.
      - V(cold) is for a node that does not run.
      - V(stop) stops a running node, copies the data directory, starts the node, and makes the archive from the copy.
        For releases that keep files open in which they write.
    type: str
    choices: [hot, cold, stop]
    default: hot
  members:
    description: What is in the archive. V(data) must be. In V(logs) there are no crash dumps, which hold the cookie.
    type: list
    elements: str
    choices: [config, data, logs, tls]
    default: [config, data, logs]
  tls_paths:
    description: Files and directories with certificates and keys, for V(tls) in O(members). Encrypt such archives.
    type: list
    elements: path
    default: []
  log_days:
    description: Log files written in the last so many days are in the archive.
    type: int
    default: 7
  exclude:
    description: Shell patterns for paths relative to O(data_dir) that are left out.
    type: list
    elements: str
    default: []
  compression:
    description: V(auto) is zstd where that is installed, else gzip.
    type: str
    choices: [auto, zstd, gzip]
    default: auto
  compression_level:
    description: Level for the compressor. Level 1 of zstd was measured to be faster than reading and hashing.
    type: int
    default: 1
  signing_key_file:
    description:
      - Path on the host of the private key that signs the archive, in the form of OpenSSH and without passphrase. The
        signature is in the file beside the archive.
      - Without it the archive is not signed.
    type: path
  signers:
    description: Public keys that whoever restores the archive trusts. A key that is none of them is refused before an
      archive is made; with an empty list this is not looked at.
    type: list
    elements: str
    default: []
  recipients:
    description:
      - Public keys for C(age), as C(age1...) or C(ssh-ed25519 ...). The archive is then encrypted on its way to the
        disk and called C(.age). Recommended; the host needs no secret for it.
      - The manifest beside the archive is not encrypted. It has names, sizes and digests, no content.
    type: list
    elements: str
    default: []
  start_timeout_seconds:
    description: How long the node may take to become healthy, for O(method=stop); and, for O(method=hot), how long a
      node that has just started may take until its tables are loaded.
    type: int
    default: 120
  stop_timeout_seconds:
    description: How long the stop may take, for O(method=stop).
    type: int
    default: 90
"""

EXAMPLES = r"""
- name: Back the node up
  erlmcp.ops.backup:
    node: "{{ __erlmcp_node }}"
    health: "{{ __erlmcp_health }}"
    host: "{{ inventory_hostname }}"
    recipients: [age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p]
"""

RETURN = r"""
archive:
  description: Path of the archive.
  type: str
  returned: unless in check mode
size:
  description: Bytes of the archive.
  type: int
  returned: unless in check mode
sha256:
  description: SHA-256 of the archive, hexadecimal.
  type: str
  returned: unless in check mode
seconds:
  description: How long the backup took.
  type: float
  returned: unless in check mode
downtime_seconds:
  description: How long the node did not serve. V(0.0) unless O(method=stop).
  type: float
  returned: unless in check mode
tables:
  description: The tables, with C(kind) (mnesia or dets), C(name) and C(rows).
  type: list
  elements: dict
  returned: unless in check mode
warnings:
  description: What is not in the archive and why.
  type: list
  elements: str
  returned: unless in check mode
method:
  description: How the data was read.
  type: str
  returned: always
steps:
  description: What was done, or would be done in check mode.
  type: list
  elements: str
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.backup import backup
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.spec import SPECS
from ansible_collections.erlmcp.ops.plugins.module_utils._core.module import run
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Runner


def main():
    module = AnsibleModule(argument_spec=SPECS["backup"], supports_check_mode=True)
    run(module, lambda module: backup(module, Runner()))


if __name__ == "__main__":
    main()
