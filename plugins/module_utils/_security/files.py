# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who may read and write what: every entry below a directory, summed up."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat

from .._core import trees
from .text import printable

# Enough to know where to look; a release has thousands of files.
_SHOWN = 5
_ACCESS_LIST = "system.posix_acl_access"


class Account:
    """The service account as the host knows it.

    :param name: its name. It need not exist.
    """

    def __init__(self, name):
        self.name = name
        try:
            self.entry = pwd.getpwnam(name)
        except KeyError:
            self.entry = None

    @property
    def exists(self):
        return self.entry is not None

    @property
    def uid(self):
        return self.entry.pw_uid if self.exists else None

    @property
    def gids(self):
        return frozenset(os.getgrouplist(self.name, self.entry.pw_gid)) if self.exists else frozenset()

    def observe(self, sudo):
        """Return what ``security_info`` documents as ``account``.

        :param sudo: what ``sudo -l -U`` says of it; empty without sudo.
        """
        return {
            "name": self.name,
            "exists": self.exists,
            "uid": self.uid,
            "shell": self.entry.pw_shell if self.exists else None,
            "groups": sorted(map(_group_name, self.gids)),
            "sudo": " may run " in sudo,
        }


class Tree:
    """Sums up entries. An entry that several rules speak of is counted in each.

    :param path: a directory, or a file.
    :param account: the :class:`Account` of the service.
    :param without: paths that are looked at under a name of their own.
    """

    _LISTS = ("world_readable", "world_writable", "service_writable", "setuid", "access_lists")

    def __init__(self, path, account, without=()):
        self.path = os.path.normpath(path)
        self.account = account
        self.without = frozenset(map(os.path.normpath, without)) - {self.path}
        self.entries = 0
        self.lists = {name: {"count": 0, "paths": []} for name in self._LISTS}

    def observe(self):
        """Return what ``security_info`` documents as one of ``trees``."""
        try:
            top = os.stat(self.path)
        except FileNotFoundError:
            return {"path": self.path, "exists": False}
        self._add(self.path, top)
        if stat.S_ISDIR(top.st_mode):
            for name, found in trees.walk(os.path.realpath(self.path), self._enters, directories=True):
                path = os.path.join(self.path, name)
                if path not in self.without and not stat.S_ISLNK(found.st_mode):
                    self._add(path, found)
        return {"path": self.path, "exists": True, **described(top), "entries": self.entries, **self.lists}

    def _enters(self, name):
        return os.path.join(self.path, name) not in self.without

    def _add(self, path, found):
        self.entries += 1
        mode = found.st_mode
        rights = {
            # To enter a directory is to reach what is below it.
            "world_readable": mode & (0o005 if stat.S_ISDIR(mode) else 0o004),
            "world_writable": mode & 0o002,
            # An owner gives himself the right.
            "service_writable": found.st_uid == self.account.uid
            or mode & 0o002
            or (mode & 0o020 and found.st_gid in self.account.gids),
            "setuid": mode & (stat.S_ISUID | stat.S_ISGID) and stat.S_ISREG(mode),
            "access_lists": has_access_list(path),
        }
        for name, is_so in rights.items():
            if is_so:
                self.lists[name]["count"] += 1
                if len(self.lists[name]["paths"]) < _SHOWN:
                    self.lists[name]["paths"].append(_shown(path, found))


def _shown(path, found):
    return "{path} ({mode} {owner}:{group})".format(path=printable(path), **described(found))


def has_access_list(path):
    """Whether the mode of an entry does not tell the whole of who may do what."""
    try:
        return _ACCESS_LIST in os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.ENOENT):
            return False
        raise


def described(found):
    """Return owner, group and mode of an ``os.stat_result``."""
    return {
        "owner": _user_name(found.st_uid),
        "group": _group_name(found.st_gid),
        "mode": f"{stat.S_IMODE(found.st_mode):04o}",
    }


def _user_name(uid):
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group_name(gid):
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
