# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sets of files that change together: readable for the service through its group, writable for root alone."""

from __future__ import annotations

import datetime
import grp
import hashlib
import os
import re
import shutil
import stat

from .errors import OpsError
from .files import link_atomically, sync_directory, write_atomically
from .slots import Slots

DIRECTORY_MODE = 0o750
FILE_MODE = 0o640


def group_id(group, may_lack=False):
    """Return the number of a group, or ``None`` where it may be missing and is.

    :param may_lack: whether an earlier task of this run would have made it (check mode).
    :raises OpsError: when the group does not exist.
    """
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError as missing:
        if may_lack:
            return None
        raise OpsError(f"the group {group!r} does not exist on this host; role erlmcp_node makes it") from missing


def set_name(files, now):
    """Return the name of a set: when it was made, and what it holds.

    :param files: file name to bytes, or to ``None`` for one that is missing.
    :param now: an aware :class:`datetime.datetime` in UTC.
    """
    digest = hashlib.sha256()
    for name in sorted(files):
        content = files[name]
        digest.update(name.encode() + (b"-" if content is None else b"%d:%b" % (len(content), content)))
    return f"{now:%Y%m%dT%H%M%SZ}-{digest.hexdigest()[:8]}"


def prunable(names, kept, keep):
    """Return the sets to delete: all but the newest ``keep`` and those the links need.

    :param names: entry names, oldest first.
    """
    old = [name for name in names if name not in kept]
    return old[: max(len(old) - keep, 0)]


def write_files(directory, files, gid):
    """Write a set into ``directory``, which is there already, with its final owner and modes."""
    for name, content in files.items():
        if content is not None:
            write_atomically(os.path.join(directory, name), content, mode=FILE_MODE, gid=gid)
    os.chown(directory, -1, gid)
    os.chmod(directory, DIRECTORY_MODE)


class Sets:
    """The sets below one directory, which has links to some of them and into the current one.

    :param root: the directory.
    :param gid: number of the service's group, ``None`` where the group does not exist yet.
    :param links: names of files in the current set that ``root`` has links to.
    """

    def __init__(self, root, gid, links):
        self.root = root
        self.gid = gid
        self.links = links
        self.slots = Slots(root, "sets")

    def is_linked(self, name):
        """Whether ``root/name`` is a link to the file in the current set."""
        path = os.path.join(self.root, name)
        return os.path.islink(path) and os.readlink(path) == os.path.join("current", name)

    def prepare(self):
        """Make the directories, and clear what a killed run left."""
        sets = os.path.join(self.root, self.slots.entries)
        for directory in (self.root, sets):
            if not os.path.isdir(directory):
                os.makedirs(directory)
                os.chown(directory, -1, self.gid)
                os.chmod(directory, DIRECTORY_MODE)
        for name in os.listdir(sets):
            if name.startswith("."):
                shutil.rmtree(os.path.join(sets, name))
        names = "|".join(map(re.escape, ("current", "next", "previous", *self.links)))
        for name in filter(re.compile(rf"({names})\.([0-9a-f]{{8}}\.)?tmp").fullmatch, os.listdir(self.root)):
            os.unlink(os.path.join(self.root, name))

    def new_name(self, files):
        """Return a free name for a set."""
        now = datetime.datetime.now(datetime.timezone.utc)
        while os.path.exists(self.slots.path(name := set_name(files, now))):
            now += datetime.timedelta(seconds=1)
        return name

    def add(self, name, files, write=write_files):
        """Lay down a set; it has its name only when it is complete.

        :param write: writes it, as :func:`write_files` does.
        """
        path = self.slots.path(name)
        beside = os.path.join(os.path.dirname(path), f".{name}")
        os.mkdir(beside, 0o700)
        write(beside, files, self.gid)
        sync_directory(beside)
        os.rename(beside, path)
        sync_directory(os.path.dirname(path))

    def adopt(self, name):
        """Make a set current without a restart: it holds what runs already."""
        link_atomically(os.path.join(self.root, "current"), os.path.join(self.slots.entries, name))

    def link(self, name, time):
        """Give operators the name they know, and keep what was there.

        :param time: text for the name of what is moved aside.
        """
        path = os.path.join(self.root, name)
        if os.path.lexists(path):
            os.link(path, f"{path}.before-erlmcp-ops-{time}", follow_symlinks=False)
        link_atomically(path, os.path.join("current", name))

    def prune(self, keep):
        """Delete old sets but the newest ``keep``; what the links need stays."""
        for name in prunable(self.slots.names(), self.slots.state().kept, keep):
            shutil.rmtree(self.slots.path(name))

    def is_intact(self, name, files):
        """Whether a set and these files of it have the owner and modes that they were made with."""
        directory = self.slots.path(name)
        return self._is(directory, DIRECTORY_MODE) and all(
            self._is(os.path.join(directory, file), FILE_MODE) for file in files
        )

    def _is(self, path, mode):
        try:
            found = os.stat(path)
        except OSError:
            return False
        return (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (mode, os.geteuid(), self.gid)
