# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Archives of releases that are on the control node."""

from __future__ import annotations

from ansible.errors import AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError


def is_here(options):
    """Whether the archive that module ``release`` is given with these options is on the control node."""
    remote = boolean(options.get("remote_src", False), strict=False)
    return bool(options.get("src")) and not remote and options.get("state", "present") == "present"


def find_archive(action, src):
    """Return the path of the archive, which may be beside the playbook.

    :param action: the action plugin that looks for it.
    :raises OpsError: when there is none.
    """
    try:
        return action._find_needle("files", src)
    except AnsibleError as error:
        raise OpsError(
            f"src: there is no archive {src} on the control node: build it, or correct the path", kind="archive"
        ) from error
