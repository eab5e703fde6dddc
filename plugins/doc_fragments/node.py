# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  node:
    description:
      - Where the node lives on its host. The roles pass C(__erlmcp_node), composed from the variables of role
        C(erlmcp).
    type: dict
    required: true
    suboptions:
      name:
        description: Erlang node name, C(erlmcp@host).
        type: str
        required: true
      name_type:
        description: Long names (C(-name)) or short names (C(-sname)).
        type: str
        choices: [long, short]
        default: long
      release_name:
        description: Name of the start script in the release's C(bin) directory.
        type: str
        default: erlmcp
      service:
        description: systemd unit, without C(.service).
        type: str
        default: erlmcp
      user:
        description: The service account.
        type: str
        default: erlmcp
      home_dir:
        description: Home of the service account, where C(.erlang.cookie) lies.
        type: path
        required: true
      install_dir:
        description: Directory of C(releases/<version>) and the links C(current), C(next), C(previous).
        type: path
        default: /opt/erlmcp
      config_dir:
        description: Directory of C(sets/<id>) and the links C(current), C(next), C(previous).
        type: path
        default: /etc/erlmcp
      run_dir:
        description: The unit's runtime directory, where it records what it was started with.
        type: path
        default: /run/erlmcp
      owned_dirs:
        description: Directories in which the node writes, and below which its account has to own everything, like
          those of data and logs. The first 10,000 entries are looked at. Spools of backups are root's.
        type: list
        elements: path
        default: []
      ports:
        description: TCP ports on which the node listens, and that nobody else may have taken.
        type: list
        elements: int
        default: []
"""
