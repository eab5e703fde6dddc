# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Secrets where they do not belong, and secrets at rest. What is returned names places, never a secret."""

from __future__ import annotations

import json
import os
import re
import stat
import time

from .._core import trees
from .._core.files import read_if_there
from .._erlang.crash_dump import is_crash_dump
from .files import described
from .text import printable

# A log is searched from its end; what is longer than that was looked at before.
_SEARCHED_BYTES = 4 * 1024**2
_SEARCHED_FILES = 200
# A word this short may stand anywhere.
_SHORTEST = 8
_FLAG = re.compile(rb"^\s*-setcookie\s", re.MULTILINE)
_AGE = b"age-encryption.org/v1"
_PLAIN = (b"\x28\xb5\x2f\xfd", b"\x1f\x8b")


def cookie_path(home_dir):
    return os.path.join(home_dir, ".erlang.cookie")


def read_cookie(home_dir):
    """Return the cookie of the node, empty where there is none that can be searched for."""
    cookie = (read_if_there(cookie_path(home_dir)) or b"").strip()
    return cookie if len(cookie) >= _SHORTEST else b""


def search(directories, cookie, without):
    """Return the files that hold the cookie, or a flag that gives one. Crash dumps have a check of their own.

    :param directories: where to look, all the way down.
    :param without: a directory where the cookie belongs.
    """
    files = sorted(_files(directories, without), reverse=True)
    return sorted(
        printable(os.path.join(top, name))
        for _modified, top, name in files[:_SEARCHED_FILES]
        if not is_crash_dump(top, name) and _holds(top, name, cookie)
    )


def _files(directories, without):
    for top in directories:

        def enter(name, top=top):
            return os.path.join(top, name) != without

        for name, found in trees.walk(top, enter):
            if stat.S_ISREG(found.st_mode):
                yield found.st_mtime, top, name


def _holds(top, name, cookie):
    content = trees.read(top, name, _SEARCHED_BYTES, from_end=True) or b""
    return bool(cookie and cookie in content or _FLAG.search(content))


def observe_crash_dumps(directories):
    """Return what ``security_info`` documents as ``crash_dumps``, newest first.

    :param directories: where to look, all the way down. One may be below another.
    """
    now = time.time()
    found = {
        os.path.join(top, name): status
        for top in directories
        for name, status in trees.walk(top)
        if stat.S_ISREG(status.st_mode) and is_crash_dump(top, name)
    }
    newest = sorted(found.items(), key=lambda item: item[1].st_mtime, reverse=True)[:_SEARCHED_FILES]
    return [
        {
            "path": printable(path),
            **described(status),
            "bytes": status.st_size,
            "age_days": int((now - status.st_mtime) // 86400),
        }
        for path, status in newest
    ]


def observe_backups(store_dir, settings_path):
    """Return what ``security_info`` documents as ``backups``."""
    settings = read_if_there(settings_path)
    kinds = {"encrypted": 0, "plain": []}
    for entry in sorted(os.scandir(store_dir), key=lambda entry: entry.name) if os.path.isdir(store_dir) else []:
        if not entry.is_file(follow_symlinks=False):
            continue
        with open(entry.path, "rb") as stream:
            head = stream.read(len(_AGE))
        if head == _AGE:
            kinds["encrypted"] += 1
        elif head.startswith(_PLAIN):
            kinds["plain"].append(printable(entry.name))
    return {
        "configured": settings is not None,
        "recipients": len(json.loads(settings)["recipients"]) if settings else 0,
        **kinds,
    }


def is_on_encrypted_volume(path, sys="/sys"):
    """Whether the kernel encrypts what a path lies on, in whole; ``None`` without the path."""
    try:
        device = os.stat(path).st_dev
    except FileNotFoundError:
        return None
    return _is_encrypted(os.path.join(sys, "dev/block", f"{os.major(device)}:{os.minor(device)}"))


def _is_encrypted(block):
    uuid = read_if_there(os.path.join(block, "dm/uuid")) or b""
    below = os.path.join(block, "slaves")
    # A volume over several disks is encrypted when each of them is.
    parts = [os.path.join(below, name) for name in os.listdir(below)] if os.path.isdir(below) else []
    return uuid.startswith(b"CRYPT-") or (bool(parts) and all(map(_is_encrypted, parts)))
