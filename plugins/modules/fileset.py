#!/usr/bin/python
# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fileset
short_description: Lay down a set of directories, files and links in one round trip
version_added: 0.1.0
description:
  - A task costs a round trip to each host, so a role that needs ten files hands them over in one call.
  - The whole set is looked at before the first entry is touched; entries are then applied in the given order, each
    file by writing beside it and renaming.
  - On a host where nothing is installed yet, check mode predicts the same changes, those of owners that do
    not exist yet included.
author:
  - erlmcp.ops contributors (@erlmcp)
extends_documentation_fragment:
  - erlmcp.ops.attributes
options:
  entries:
    description: What must be there, in the order in which it is made.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Absolute path.
        type: path
        required: true
      state:
        description: What it must be. V(absent) removes a file or link, never a directory.
        type: str
        choices: [file, directory, link, absent]
        default: file
      content:
        description: Content of a file. Often C(lookup('ansible.builtin.template', 'file.j2')).
        type: str
      secret:
        description: Content of a file that must not appear in output or diff. Instead of O(entries[].content).
        type: str
      runtime_path:
        description:
          - With O(entries[].secret), where the content lies readable, in memory, which is below C(/run) in a directory
            that is there. On disk it is then only encrypted by C(systemd-creds), in a file of the same name with
            C(.cred) at its end, and O(entries[].path) is a link.
          - A unit of yours decrypts it again at boot. Where the host's key no longer opens the file, it is encrypted
            anew.
        type: path
      content_base64:
        description: Content of a file as base64, for what is not text. The diff shows its size and digest. Instead of
          O(entries[].content).
        type: str
      target:
        description: Target of a link.
        type: str
      owner:
        description: Owning account.
        type: str
        default: root
      group:
        description: Owning group.
        type: str
        default: root
      mode:
        description: Permissions in octal.
        type: str
        default: "0644"
      refuse_change:
        description: When set, a file, or a link to one, that is there with other content is an error, not a change, and
          so is anything that is to be V(absent). The text says what to do instead.
        type: str
  started:
    description:
      - Full names of systemd units that must run once the entries are applied. Those that do not are started; those
        whose own file, or a drop-in of it, changed are restarted.
      - When this or O(stopped) names a unit, systemd reads its definitions anew if an entry below
        C(/etc/systemd/system) changed, or had changed in a run that was cut off.
    type: list
    elements: str
    default: []
  stopped:
    description: Full names of systemd units that must not run.
    type: list
    elements: str
    default: []
  started_with:
    description: Full names of systemd units that must run while another unit does, each to the full name of that one.
      Those that do not are started. When their definition changes they are not restarted, that is left to who restarts
      the other.
    type: dict
    default: {}
  programs:
    description: Names of programs that are looked for on the host, so that a role need not ask the package manager in
      every run. See RV(missing_programs).
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Ensure the unit is laid down and enabled
  erlmcp.ops.fileset:
    entries:
      - path: /var/lib/erlmcp
        state: directory
        owner: erlmcp
        group: erlmcp
        mode: "0750"
      - path: /etc/systemd/system/erlmcp.service
        content: "{{ lookup('ansible.builtin.template', 'erlmcp.service.j2') }}"
      - path: /etc/systemd/system/multi-user.target.wants/erlmcp.service
        state: link
        target: /etc/systemd/system/erlmcp.service

- name: Ensure a timer runs, with the schedule that is laid down
  erlmcp.ops.fileset:
    entries:
      - path: /etc/systemd/system/erlmcp-backup.timer
        content: "{{ lookup('ansible.builtin.template', 'erlmcp-backup.timer.j2') }}"
    started: [erlmcp-backup.timer]
"""

RETURN = r"""
changed_paths:
  description: Paths that were changed, or would be in check mode.
  type: list
  elements: str
  returned: always
started_units:
  description: Units that were started or restarted, or would be in check mode.
  type: list
  elements: str
  returned: always
stopped_units:
  description: Units that were stopped, or would be in check mode.
  type: list
  elements: str
  returned: always
missing_programs:
  description: Those of O(programs) that are not on the host.
  type: list
  elements: str
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.erlmcp.ops.plugins.module_utils._core.module import run
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Runner
from ansible_collections.erlmcp.ops.plugins.module_utils._fileset.fileset import fileset
from ansible_collections.erlmcp.ops.plugins.module_utils._fileset.spec import FILESET_SPEC


def main():
    module = AnsibleModule(
        argument_spec=FILESET_SPEC,
        supports_check_mode=True,
    )
    run(module, lambda module: fileset(module, Runner()))


if __name__ == "__main__":
    main()
