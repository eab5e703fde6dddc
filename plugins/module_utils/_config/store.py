# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Config sets on disk, and the files that were made by hand before there were any."""

from __future__ import annotations

import os

from .._core.errors import OpsError
from .._core.files import read_if_there
from .._core.sets import Sets
from .plan import FILES, Observed, StoredSet


class Store(Sets):
    """The sets below one configuration directory.

    :param root: the configuration directory.
    :param gid: number of the service's group, ``None`` where the group does not exist yet.
    """

    def __init__(self, root, gid):
        super().__init__(root, gid, FILES)

    def observe(self):
        """Return what is on disk as :class:`Observed`."""
        slots = self.slots.state()
        by_hand, unlinked = {}, []
        for name in FILES:
            if self.is_linked(name):
                continue
            path = os.path.join(self.root, name)
            unlinked.append(name)
            if os.path.isdir(path):
                raise OpsError(f"{path} is a directory, where the file {name} belongs: move it away", kind="config")
            content = read_if_there(path)
            if content is not None:
                by_hand[name] = content
        sets = {name: self._stored(name) for name in (slots.current, slots.next) if name}
        return Observed(slots, sets, by_hand, tuple(unlinked))

    def _stored(self, name):
        directory = self.slots.path(name)
        files = {file: read_if_there(os.path.join(directory, file)) for file in FILES}
        return StoredSet(files, self.is_intact(name, FILES))
