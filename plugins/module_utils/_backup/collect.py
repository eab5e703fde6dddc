# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which files go into an archive, and which of them nobody can vouch for while the node runs."""

from __future__ import annotations

import fnmatch
import glob
import os
import stat

from .._core import trees
from .._core.errors import OpsError
from .._erlang.crash_dump import is_crash_dump

# Spool and scratch directories of backups, below the data directory because the node may write nowhere else.
OWN = ".erlmcp-"
# A file that says it is this much larger than what it takes on disk holds nothing that a node has written.
_MOST_IN_HOLES = 1024**3


def walk(root):
    """Yield (path relative to ``root``, lstat) of everything below it but directories; links are not followed."""
    return trees.walk(root, lambda name: not os.path.basename(name).startswith(OWN))


def regular_files(root, exclude=(), without=()):
    """Return (relative paths, skipped ones) of what is to be archived: everything but crash dumps.

    :param exclude: patterns for relative paths, of the user.
    :param without: relative paths of files and directories that go another way, for example Mnesia's.
    :return: two lists; ``skipped`` are links, devices and the like, which an archive does not hold.
    :raises OpsError: at a file that is nearly all holes.
    """
    found, skipped = [], []
    for name, status in walk(root):
        if _below(name, without) or any(fnmatch.fnmatch(name, pattern) for pattern in exclude):
            continue
        if not stat.S_ISREG(status.st_mode):
            skipped.append(name)
        elif not is_crash_dump(root, name):
            _refuse_holes(root, name, status)
            found.append(name)
    return found, skipped


def exclusion(name):
    """Say how a file below the data directory is left out: there, and literally, since patterns are compared."""
    return f"add '{glob.escape(name)}' to erlmcp_backup_exclude"


def _refuse_holes(root, name, status):
    on_disk = status.st_blocks * 512
    if status.st_size - on_disk > max(_MOST_IN_HOLES, 9 * on_disk):
        path = os.path.join(root, name)
        raise OpsError(
            f"{path} says that it has {status.st_size} bytes, and {on_disk} are on disk: an archive would hold its "
            f"holes as zeros. Remove it, or {exclusion(name)}",
            kind="data",
            file=path,
        )


def recent_logs(root, days, now):
    """Relative paths of the log files below ``root`` that were written in the last ``days`` days.

    Without crash dumps: one holds the cookie.
    """
    since = now - days * 86400
    return [
        name
        for name, status in walk(root)
        if stat.S_ISREG(status.st_mode) and status.st_mtime >= since and not is_crash_dump(root, name)
    ]


def mnesia_directory(root):
    """Relative path of the directory below ``root`` that holds a Mnesia schema, or ``None``."""
    for name, _status in walk(root):
        if os.path.basename(name) == "schema.DAT":
            return os.path.dirname(name)
    return None


def size_below(root, places=None):
    """Bytes of the files below ``root``, or only of those at or below ``places``."""
    return sum(status.st_size for name, status in walk(root) if places is None or _below(name, places))


def open_for_writing(pid, root):
    """Relative paths of the files below ``root`` that process ``pid`` has open for writing, as the kernel says.

    :raises OpsError: when the process has ended.
    """
    try:
        descriptors = os.listdir(f"/proc/{pid}/fd")
    except (FileNotFoundError, ProcessLookupError) as ended:
        raise OpsError(
            f"the node has ended while it was backed up (process {pid}): back it up again when it runs", kind="changed"
        ) from ended
    found = set()
    for descriptor in descriptors:
        try:
            target = os.readlink(f"/proc/{pid}/fd/{descriptor}")
            with open(f"/proc/{pid}/fdinfo/{descriptor}", encoding="ascii") as stream:
                flags = next(int(line.split()[1], 8) for line in stream if line.startswith("flags:"))
        except (FileNotFoundError, ProcessLookupError):
            continue
        if flags & os.O_ACCMODE != os.O_RDONLY and target.startswith(f"{root}{os.sep}"):
            found.add(os.path.relpath(target, root))
    return found


def refuse_unaccounted(open_files, accounted, exclude):
    """Refuse to copy files that the node is writing itself.

    :param open_files: what :func:`open_for_writing` says.
    :param accounted: relative paths of files and directories that the node writes for us.
    :raises OpsError: naming the files.
    """
    unknown = sorted(
        name
        for name in open_files
        if not _below(name, accounted)
        and not name.startswith(OWN)
        and not any(fnmatch.fnmatch(name, pattern) for pattern in exclude)
    )
    if unknown:
        raise OpsError(
            f"the node has {', '.join(unknown)} open for writing, and neither Mnesia nor DETS vouches for it: a copy "
            "could be half-written. Set erlmcp_backup_method: stop, which stops the node for the copy, or "
            f"{' and '.join(map(exclusion, unknown))}",
            kind="open_files",
            files=unknown,
        )


def _below(name, places):
    return any(name == place or name.startswith(f"{place}{os.sep}") for place in places)
