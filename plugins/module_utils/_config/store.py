# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Config sets on disk: readable for the service through its group, writable for root alone."""

from __future__ import annotations

import os
import re
import shutil
import stat

from .._core.errors import OpsError
from .._core.files import link_atomically, read_if_there, sync_directory, write_atomically
from .._core.slots import Slots
from .plan import FILES, Observed, StoredSet, prunable

_DIRECTORY_MODE = 0o750
_FILE_MODE = 0o640
_LEFT_LINK = re.compile(r"(current|next|previous|sys\.config|vm\.args|env\.sh)\.[0-9a-f]{8}\.tmp")


def write_files(directory, files, gid):
    """Write a set into ``directory``, which is there already, with its final owner and modes."""
    for name, content in files.items():
        if content is not None:
            write_atomically(os.path.join(directory, name), content, mode=_FILE_MODE, gid=gid)
    os.chown(directory, -1, gid)
    os.chmod(directory, _DIRECTORY_MODE)


class Store:
    """The sets below one configuration directory.

    :param root: the configuration directory.
    :param gid: number of the service's group, ``None`` where the group does not exist yet.
    """

    def __init__(self, root, gid):
        self.root = root
        self.gid = gid
        self.slots = Slots(root, "sets")

    def observe(self):
        """Return what is on disk as :class:`Observed`."""
        slots = self.slots.state()
        by_hand, unlinked = {}, []
        for name in FILES:
            path = os.path.join(self.root, name)
            if os.path.islink(path) and os.readlink(path) == os.path.join("current", name):
                continue
            unlinked.append(name)
            if os.path.isdir(path):
                raise OpsError(f"{path} is a directory, where the file {name} belongs: move it away", kind="config")
            content = read_if_there(path)
            if content is not None:
                by_hand[name] = content
        sets = {name: self._stored(name) for name in (slots.current, slots.next) if name}
        return Observed(slots, sets, by_hand, tuple(unlinked))

    def prepare(self):
        """Make the directories, and clear what a killed run left."""
        sets = os.path.join(self.root, self.slots.entries)
        for directory in (self.root, sets):
            if not os.path.isdir(directory):
                os.makedirs(directory)
                os.chown(directory, -1, self.gid)
                os.chmod(directory, _DIRECTORY_MODE)
        for name in os.listdir(sets):
            if name.startswith("."):
                shutil.rmtree(os.path.join(sets, name))
        for name in filter(_LEFT_LINK.fullmatch, os.listdir(self.root)):
            os.unlink(os.path.join(self.root, name))

    def add(self, name, files):
        """Lay down a set; it has its name only when it is complete."""
        path = self.slots.path(name)
        beside = os.path.join(os.path.dirname(path), f".{name}")
        os.mkdir(beside, 0o700)
        write_files(beside, files, self.gid)
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

    def _stored(self, name):
        directory = self.slots.path(name)
        files = {file: read_if_there(os.path.join(directory, file)) for file in FILES}
        intact = self._is(directory, _DIRECTORY_MODE) and all(
            self._is(os.path.join(directory, file), _FILE_MODE) for file in FILES
        )
        return StoredSet(files, intact)

    def _is(self, path, mode):
        try:
            found = os.stat(path)
        except OSError:
            return False
        return (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (mode, os.geteuid(), self.gid)
