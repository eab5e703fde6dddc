#!/usr/bin/python

# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release
short_description: Install, stage and prune erlmcp releases
description:
  - Unpacks a relx archive into C(<install_dir>/releases/<version>), owned by the user that the task becomes (root), and
    stages it, so that C(<install_dir>/next) points to it. It does not activate it, and nothing restarts.
    M(erlmcp.ops.node_restart) does both.
  - An archive is proven to be sound, harmless, whole and fit for the host before anything on the host changes, in check
    mode too. An archive that is installed already is not sent again.
  - Releases are immutable once the node was healthy with them after M(erlmcp.ops.node_restart). Then another archive of
    the version is refused; until then it takes the place of the installed one, in one step. One that is current is only
    replaced while the node is stopped.
  - A release without an Erlang runtime inside needs C(erl) of exactly its ERTS version on the host's E(PATH).
version_added: 0.1.0
author:
  - erlmcp.ops contributors (@erlmcp)
extends_documentation_fragment:
  - erlmcp.ops.attributes
options:
  src:
    description:
      - The release, as written by C(rebar3 as prod tar). It is on the control node, unless O(remote_src=true).
      - Without it, O(version) must be installed already and only staging is looked at, as for a rollback.
    type: path
  remote_src:
    description: O(src) is on the host.
    type: bool
    default: false
  checksum:
    description: What the archive must hash to, C(sha256:<64 hexadecimal digits>).
    type: str
  version:
    description:
      - The version that the archive must hold.
      - Required if O(state=absent).
    type: str
  install_dir:
    description: Directory of C(releases) and of the links C(current), C(next) and C(previous).
    type: path
    default: /opt/erlmcp
  release_name:
    description: Name of the start script in the release's C(bin) directory.
    type: str
    default: erlmcp
  stage:
    description:
      - Let the release run from the next restart by M(erlmcp.ops.node_restart) on. Staging the current release cancels
        what waits.
      - V(false) leaves all links as they are.
    type: bool
    default: true
  start_hooks:
    description:
      - Whether the start script runs its hooks. A release whose start hooks are not all in its archive is refused then.
      - V(false) warns of them only, for nodes that are started with C(--relx-disable-hooks).
    type: bool
    default: true
  keep:
    description:
      - How many versions to keep besides those that the three links point to. Those installed first are removed,
        whenever a version was installed.
      - V(0) keeps all.
    type: int
    default: 3
  service:
    description: Name of the node's systemd unit, which is asked whether the node is stopped.
    type: str
    default: erlmcp
  state:
    description:
      - V(present) installs and stages.
      - V(absent) removes O(version), and fails if it is current or next.
    type: str
    choices: [present, absent]
    default: present
  archive_sha256:
    description: Set by the action plugin, to ask whether an archive is installed. Not for playbooks.
    type: str
  asked:
    description:
      - What M(erlmcp.ops.site_info) has returned for this module in RV(erlmcp.ops.site_info#module:answers). When the
        archive is not installed, the host is not asked again before it is sent.
      - Not to be used when the machine has changed since, as by the installation of Erlang.
    type: dict
seealso:
  - module: erlmcp.ops.release_info
  - module: erlmcp.ops.node_restart
"""

EXAMPLES = r"""
- name: Install and stage a release
  erlmcp.ops.release:
    src: dist/erlmcp-1.1.0.tar.gz
    checksum: sha256:5d41402abc4b2a76b9719d911017c592ae2c4e8f1f7b5c1d5d41402abc4b2a76
    version: 1.1.0
  become: true

- name: Stage the release before, for a rollback
  erlmcp.ops.release:
    version: 1.0.0
  become: true

- name: Remove a release that must not come back
  erlmcp.ops.release:
    version: 0.9.0
    state: absent
  become: true
"""

RETURN = r"""
version:
  description: Version of the release.
  returned: success
  type: str
  sample: 1.1.0
erts:
  description: Version of the Erlang runtime that it needs.
  returned: O(state=present)
  type: str
  sample: 13.1.5
erts_included:
  description: Whether that runtime is part of the release.
  returned: O(state=present)
  type: bool
sha256:
  description: SHA-256 of the archive.
  returned: O(state=present)
  type: str
replaced:
  description: SHA-256 of the archive of this version that was installed before. V(null) when none was replaced.
  returned: O(state=present)
  type: str
staged:
  description: Whether RV(version) waits for the next restart.
  returned: success
  type: bool
current:
  description: Version that runs, or runs when the node starts.
  returned: success
  type: str
next:
  description: Version that waits for the next restart. V(null) if none does.
  returned: success
  type: str
previous:
  description: Version that ran before RV(current).
  returned: success
  type: str
pruned:
  description: Versions that were removed according to O(keep).
  returned: success
  type: list
  elements: str
release_dir:
  description: Directory of the release.
  returned: success
  type: str
  sample: /opt/erlmcp/releases/1.1.0
failure:
  description: What was refused, for programs.
  returned: failure
  type: dict
  contains:
    kind:
      description:
        - One of V(archive), V(architecture), V(busy), V(disk), V(erts), V(hooks), V(immutable), V(in_use), V(option),
          V(space).
      returned: failure
      type: str
    details:
      description: Evidence.
      returned: failure
      type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.erlmcp.ops.plugins.module_utils._core.module import run
from ansible_collections.erlmcp.ops.plugins.module_utils._release.actions import release
from ansible_collections.erlmcp.ops.plugins.module_utils._release.spec import RELEASE_SPEC


def main():
    module = AnsibleModule(
        argument_spec=RELEASE_SPEC,
        required_if=[
            ("state", "present", ("src", "version", "archive_sha256"), True),
            ("state", "absent", ("version",)),
        ],
        supports_check_mode=True,
    )
    run(module, release)


if __name__ == "__main__":
    main()
