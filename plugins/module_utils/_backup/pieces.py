# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An archive on its host, told and read piece by piece: the half of module ``backup_fetch`` that runs there.

Pieces are what every connection and every way to become root can carry. A tool that opens a connection of its own, as
rsync does, would have to be given what Ansible knows, and cannot be given a password.
"""

from __future__ import annotations

import base64
import hashlib
import os
import platform

from .._core.errors import OpsError
from .manifest import parse_name
from .store import Store


def backup_fetch(module):
    """The module ``backup_fetch``, on the host: tell of an archive, or read a piece."""
    options = module.params
    if options["piece"]:
        return {"changed": False, "content": read_piece(**options["piece"])}
    backup = Store(options["store_dir"]).find(options["archive"], options["host"])
    if backup.problem:
        raise OpsError(f"{backup.path} is not good: {backup.problem}. Fetch another archive", kind="archive")
    facts = backup.beside["archive"]
    # The archive first: one that has its file beside it is complete.
    return {"changed": False, "files": [_told(backup.path, facts["sha256"]), _told(f"{backup.path}.json")]}


def read_piece(path, offset, size, version):
    """Return ``size`` bytes of an archive, or of the file beside it, in Base64.

    :param version: of the file of which the other pieces are.
    :raises OpsError: when it is no such file, or not that one any more.
    """
    if parse_name(os.path.basename(path).removesuffix(".json")) is None:
        raise OpsError(f"piece: {path} is no archive", kind="input")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError as missing:
        raise _changed(path, "is gone") from missing
    try:
        if _version(os.fstat(descriptor)) != version:
            raise _changed(path, "has changed")
        return base64.b64encode(os.pread(descriptor, size, offset)).decode()
    finally:
        os.close(descriptor)


def _told(path, sha256=None):
    """What the control node needs to know of a file; the archive's digest need not be computed."""
    with open(path, "rb") as stream:
        return {
            "path": path,
            "version": _version(os.fstat(stream.fileno())),
            "size": os.fstat(stream.fileno()).st_size,
            "sha256": sha256 or hashlib.sha256(stream.read()).hexdigest(),
        }


def _version(status):
    """What differs between two files, and between a file and what has become of it."""
    return f"{status.st_dev}:{status.st_ino}:{status.st_size}:{status.st_mtime_ns}"


def _changed(path, what):
    return OpsError(
        f"{path} on host {platform.node()} {what} while it was fetched; nothing of it was put together. Look which "
        "archives are there (erlmcp-ops list), then run again",
        kind="archive",
        path=path,
    )
