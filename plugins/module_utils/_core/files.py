# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files and directories that are either old or new, never half: written beside, synced, renamed."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def sync_directory(path):
    """Make renames inside ``path`` survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path, content, mode=0o644, uid=-1, gid=-1):
    """Replace the file at ``path`` with ``content``; owner and mode are right before the name is.

    :param content: bytes.
    """
    beside = _beside(path)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            os.fchown(stream.fileno(), uid, gid)
            os.fchmod(stream.fileno(), mode)
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(beside, path)
    except BaseException:
        os.unlink(beside)
        raise
    sync_directory(os.path.dirname(path))


def link_atomically(path, target):
    """Make ``path`` a symbolic link to ``target``, replacing the link that is there."""
    beside = _beside(path)
    os.symlink(target, beside)
    try:
        os.replace(beside, path)
    except BaseException:
        os.unlink(beside)
        raise
    sync_directory(os.path.dirname(path))


def exchange(one, other):
    """Let the two paths change places, atomically (``renameat2`` with ``RENAME_EXCHANGE``, Linux 3.15).

    :raises OSError: where the file system cannot do it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), one)
    for directory in sorted({os.path.dirname(one), os.path.dirname(other)}):
        sync_directory(directory)


def is_mount_point(path):
    """Whether something is mounted at ``path``. ``os.path.ismount`` does not see what is of the same file system."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as stream:
        return path in mount_points(stream.read())


def mount_points(text):
    """Return the paths in a ``mountinfo`` of the kernel, which has blanks and the like in octal."""
    fields = [line.split(" ")[4] for line in text.split("\n") if line]
    return {re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field) for field in fields}


def read_if_there(path):
    """Return the bytes of a file, or ``None`` where there is none."""
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except FileNotFoundError:
        return None


def _beside(path):
    """A name that is free: what a killed run left under it is cleared."""
    beside = f"{path}.tmp"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(beside)
    return beside
