# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``current``, ``next`` and ``previous``: how a release or a config set waits for its turn.

What is laid down is not what runs: a node that crashes while a change waits for its turn in the roll
starts again with what it ran before. ``activate`` belongs between stop and start.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from .files import link_atomically, sync_directory


@dataclass(frozen=True)
class SlotState:
    """The entry names behind the three links; ``None`` where there is none."""

    current: str | None = None
    next: str | None = None
    previous: str | None = None

    @property
    def wanted(self):
        """What the next restart through the collection will run."""
        return self.next or self.current

    @property
    def kept(self):
        """Entries that must not be pruned."""
        return {name for name in (self.current, self.next, self.previous) if name}


class Slots:
    """Three relative links in ``root`` to entries of ``root/entries``."""

    def __init__(self, root, entries):
        self.root = root
        self.entries = entries

    def path(self, name):
        return os.path.join(self.root, self.entries, name)

    def state(self):
        return SlotState(*(self._read(link) for link in ("current", "next", "previous")))

    def names(self):
        """Entries that are complete, oldest first by name."""
        try:
            found = os.listdir(os.path.join(self.root, self.entries))
        except FileNotFoundError:
            return []
        return sorted(name for name in found if not name.startswith("."))

    def stage(self, name):
        """Let ``name`` run from the next restart on; staging what is current cancels what waits."""
        if self.state().current == name:
            self.unstage()
        else:
            self._link("next", name)

    def unstage(self):
        """Forget what waits. Return whether something did."""
        try:
            os.unlink(os.path.join(self.root, "next"))
        except FileNotFoundError:
            return False
        sync_directory(self.root)
        return True

    def activate(self):
        """Make ``next`` current. Safe to repeat at any point where it may have been cut off."""
        state = self.state()
        if state.next is None:
            return
        if state.current:
            self._link("previous", state.current)
        os.rename(os.path.join(self.root, "next"), os.path.join(self.root, "current"))
        sync_directory(self.root)

    def revert(self):
        """Make ``previous`` current again, and forget what was tried. Without a ``previous`` nothing changes."""
        state = self.state()
        if state.previous is None:
            return
        self.unstage()
        self._link("current", state.previous)
        os.unlink(os.path.join(self.root, "previous"))
        sync_directory(self.root)

    def _read(self, link):
        try:
            return os.path.basename(os.readlink(os.path.join(self.root, link)))
        except OSError:
            return None

    def _link(self, link, name):
        link_atomically(os.path.join(self.root, link), os.path.join(self.entries, name))
