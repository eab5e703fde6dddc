# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  store_dir:
    description:
      - Directory of the archives. It is made for root alone (C(0700)) when it is missing.
      - Services on one host need a directory each.
    type: path
    default: /var/backups/erlmcp
  service:
    description: systemd unit, without C(.service). Backups, restores and drills of one service exclude each other.
    type: str
    default: erlmcp
  run_dir:
    description: Directory of the lock, and of the file that tells how far a run is. It need not outlive a boot.
    type: path
    default: /run/erlmcp-ops
  metrics_dir:
    description:
      - Text-file directory of the Prometheus node exporter, where C(erlmcp_backup.prom) tells of the last runs. When
        it is empty or not there, nothing is written.
    type: str
    default: ""
  data_dir:
    description: Data directory of the service. Where it is a link, its target.
    type: path
    default: /var/lib/erlmcp
"""

    ARCHIVE = r"""
options:
  archive:
    description:
      - File name of an archive in the store, absolute path of one elsewhere, or V(latest). An archive keeps the name
        that it was made with.
    type: str
    default: latest
  host:
    description:
      - Whose V(latest) is meant, by the host's name in the archive's name. Needed when the store holds archives of
        several hosts.
    type: str
  identity:
    description:
      - The age identity (secret key) for an encrypted archive, as text. It is handed to C(age) on its standard input,
        and is never on a disk or a command line.
    type: str
  signers:
    description:
      - Public keys of those who may sign archives, each a line as OpenSSH writes it to a file C(.pub). An archive that
        none of them has signed is refused. Empty asks for no signature.
      - Needs the command C(ssh-keygen), version 8.1 of OpenSSH or newer.
    type: list
    elements: str
    default: []
"""
