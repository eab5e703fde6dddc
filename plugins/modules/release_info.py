#!/usr/bin/python

# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_info
short_description: Tell which erlmcp releases are installed
description:
  - Reads what M(erlmcp.ops.release) has laid down on the host.
  - A host where nothing is installed is no failure.
version_added: 0.1.0
author:
  - erlmcp.ops contributors (@erlmcp)
extends_documentation_fragment:
  - erlmcp.ops.attributes.read_only
options:
  install_dir:
    description: Directory of C(releases) and of the links C(current), C(next) and C(previous).
    type: path
    default: /opt/erlmcp
seealso:
  - module: erlmcp.ops.release
"""

EXAMPLES = r"""
- name: Look at the installed releases
  erlmcp.ops.release_info:
  register: releases

- name: Show what waits for the next restart
  ansible.builtin.debug:
    var: releases.next
"""

RETURN = r"""
versions:
  description: The installed releases, the latest installed last.
  returned: success
  type: list
  elements: dict
  contains:
    version:
      description: Version of the release.
      returned: success
      type: str
      sample: 1.1.0
    erts:
      description: Version of the Erlang runtime that it needs.
      returned: success
      type: str
      sample: 13.1.5
    erts_included:
      description: Whether that runtime is part of the release.
      returned: success
      type: bool
    architecture:
      description: What the included runtime runs on, in the words of C(uname -m). V(null) without one.
      returned: success
      type: str
      sample: x86_64
    size:
      description: Bytes that it takes on disk.
      returned: success
      type: int
    sha256:
      description: SHA-256 of the archive that it came in.
      returned: success
      type: str
    archive:
      description: File name of that archive.
      returned: success
      type: str
      sample: erlmcp-1.1.0.tar.gz
    installed_at:
      description: When it was installed, UTC, ISO 8601.
      returned: success
      type: str
      sample: "2026-01-31T12:00:00.000+00:00"
    missing_hooks:
      description: Files that its start script runs before it starts Erlang, and that are not part of it.
      returned: success
      type: list
      elements: str
    proven:
      description: Whether the node was healthy with it after a restart. Until then another archive can replace it.
      returned: success
      type: bool
current:
  description: Version that runs, or runs when the node starts. V(null) if none.
  returned: success
  type: str
next:
  description: Version that waits for the next restart. V(null) if none does.
  returned: success
  type: str
previous:
  description: Version that ran before RV(current). V(null) if none.
  returned: success
  type: str
incomplete:
  description:
    - Names in C(releases) that are no complete release. Those that start with a dot were left by a killed run, and the
      next run of M(erlmcp.ops.release) removes them. Others were not laid down by it.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.erlmcp.ops.plugins.module_utils._core.module import run
from ansible_collections.erlmcp.ops.plugins.module_utils._release.actions import release_info


def main():
    module = AnsibleModule(
        argument_spec={"install_dir": {"type": "path", "default": "/opt/erlmcp"}},
        supports_check_mode=True,
    )
    run(module, release_info)


if __name__ == "__main__":
    main()
