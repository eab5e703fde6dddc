# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Archives of releases that are on the control node."""

from __future__ import annotations

from ansible.errors import AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.erlmcp.ops.plugins.module_utils._config.brought import FILES
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.module_utils._release.actions import read_archive

_LONGEST = 1024**2


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


def own_contents(path, sha256, release_name):
    """Return (version, file name to bytes) of the config files that a release's archive holds.

    :raises OpsError: when the archive is no release, or is not the one with this SHA-256.
    """
    sink = _Sink()
    release = read_archive(path, sha256, release_name, sink)
    names = {f"releases/{release.version}/{name}": name for name in FILES}
    return release.version, {names[name]: content for name, content in sink.contents.items() if name in names}


class _Sink:
    """Takes from an archive what :func:`read_archive` finds in it."""

    def __init__(self):
        self.contents = {}

    def directory(self, name):
        """Directories are of no matter."""

    def link(self, name, target):
        """Nor are links."""

    def hard_link(self, name, target):
        self.contents[name] = self.contents.get(target, b"")

    def remove(self, name):
        self.contents.pop(name, None)

    def file(self, name, source, executable):
        if name.startswith("releases/") and name.rpartition("/")[2] in FILES:
            self.contents[name] = source.read(_LONGEST)
