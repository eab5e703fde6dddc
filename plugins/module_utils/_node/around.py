# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a node depends on, and the collection has not laid down: it is named, not mended."""

from __future__ import annotations

import itertools
import os
import pwd
import shlex

from .._core import trees
from .._security.files import described
from .._security.text import printable
from .unit import Unit

# Enough to see what somebody has restored or moved there. A data directory may have millions.
_LOOKED_AT = 10_000
_SHOWN = 3
# Root's own: spools of backups, and what a file system has at its top.
_SPOOL, _FOUND = ".erlmcp-", "lost+found"

AROUND_SPEC = {
    "owned_dirs": {"type": "list", "elements": "path", "default": []},
    "watched_services": {"type": "list", "elements": "str", "default": []},
}


def look_around(module, runner):
    """Return texts that say what is wrong, each with the command that mends it; warn of them too.

    :param module: whose options are those of :data:`AROUND_SPEC`, and ``node``.
    """
    options, node = module.params, module.params["node"]
    found = [_not_owned(directory, node["user"]) for directory in options["owned_dirs"]]
    found += [_failed(Unit(service, runner)) for service in options["watched_services"]]
    texts = [f"{node['name']}: {text}" for text in found if text]
    for text in texts:
        module.warn(text)
    return texts


def _not_owned(directory, user):
    try:
        uid = pwd.getpwnam(user).pw_uid
    except KeyError:
        return None
    entries = itertools.islice(trees.walk(directory, _enters, directories=True), _LOOKED_AT)
    found = [(name, status) for name, status in entries if status.st_uid != uid and not _is_roots(name)]
    if not found:
        return None
    shown = [
        "{path} ({owner}:{group})".format(path=printable(os.path.join(directory, name)), **described(status))
        for name, status in found[:_SHOWN]
    ]
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return (
        f"{', '.join(shown)}{more} is not owned by {user}, so the node may fail, or not start again. Give it back: "
        # It follows no link, and does nothing by a path that the account could exchange meanwhile.
        f"find {shlex.quote(directory)} -mindepth 1 \\( -name '{_SPOOL}*' -o -name {_FOUND} \\) -prune "
        f"-o ! -user {user} -execdir chown -h {user}: {{}} +"
    )


def _is_roots(name):
    last = os.path.basename(name)
    return last.startswith(_SPOOL) or last == _FOUND


def _enters(name):
    return not _is_roots(name) and name.count(os.sep) < trees.MAX_DEPTH - 1


def _failed(unit):
    state = unit.state()
    if state.active != "failed":
        return None
    return (
        f"{unit.name} has failed ({state.result}): journalctl -u {unit.name} tells why. Once that is mended: "
        f"systemctl start {unit.name}"
    )
