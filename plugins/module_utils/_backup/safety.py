# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Data directories that a restore moved aside: they stand beside the data directory, until they are old."""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
from dataclasses import dataclass

from .._core import trees
from .._core.errors import OpsError
from .._core.files import sync_directory

BEFORE = "before-restore"
REVERTED = "reverted"
FAILED = "failed-restore"

_TIME = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True)
class SafetyCopy:
    """``kind`` is one of the constants, ``time`` an aware UTC datetime, ``size`` in bytes."""

    path: str
    kind: str
    time: datetime.datetime
    size: int


def plan_safety_copies(copies, now, days):
    """Return those that go: older than ``days``, and not the only way back.

    The newest of what served once stays, whatever its age; it may hold rows that no archive has. What a failed restore
    left came from an archive.
    """
    ways_back = [copy for copy in copies if copy.kind != FAILED]
    newest = max(ways_back, key=lambda copy: copy.time, default=None)
    return [copy for copy in copies if copy is not newest and now - copy.time >= datetime.timedelta(days=days)]


class SafetyCopies:
    """The safety copies of one data directory."""

    def __init__(self, data_dir):
        self._parent, self._name = os.path.split(os.path.realpath(data_dir))
        self._pattern = re.compile(rf"{re.escape(self._name)}\.({BEFORE}|{REVERTED}|{FAILED})-(\d{{8}}T\d{{6}}Z)")
        # It is first called this: what is half removed must not look like a way back.
        self._removing = f".{self._name}.removing-"

    def found(self):
        """Return a list of :class:`SafetyCopy`, oldest first."""
        copies = []
        for name in self._names():
            parsed = self._parse(name)
            path = os.path.join(self._parent, name)
            if parsed and os.path.isdir(path) and not os.path.islink(path):
                copies.append(SafetyCopy(path, *parsed, trees.size(path)))
        return sorted(copies, key=lambda copy: (copy.time, copy.path))

    def ways_back(self):
        """Return those of them that served once, oldest first."""
        return [copy for copy in self.found() if copy.kind != FAILED]

    def note(self, name):
        """Return what a restore has noted of the copy of this name, empty where it has noted nothing."""
        try:
            with open(os.path.join(self._parent, f"{name}.json"), encoding="utf-8") as stream:
                return json.load(stream)
        except FileNotFoundError:
            return {}

    def in_use(self):
        """Whether a restore is staged, or was cut off and may need them."""
        return os.path.lexists(os.path.join(self._parent, f".{self._name}.restore"))

    def leftovers(self):
        """Return the paths of what killed runs left, and of notes whose copy is gone, sorted."""
        names = self._names()
        return sorted(
            os.path.join(self._parent, name)
            for name in names
            if name.startswith(self._removing)
            or (name.endswith(".json") and self._parse(name[: -len(".json")]) and name[: -len(".json")] not in names)
        )

    def remove(self, copy):
        """Remove a copy and the note beside it."""
        going = os.path.join(self._parent, f"{self._removing}{os.path.basename(copy.path)}")
        try:
            os.rename(copy.path, going)
            sync_directory(self._parent)
        except OSError as error:
            raise OpsError(
                f"a safety copy on host {platform.node()} could not be removed: {error.strerror} "
                f"({error.filename}): remove the cause, then run again",
                kind="data",
            ) from error
        self.clear([f"{copy.path}.json", going])

    def clear(self, leftovers):
        """Remove what :meth:`leftovers` found."""
        for path in leftovers:
            trees.remove(path)

    def _names(self):
        try:
            return set(os.listdir(self._parent))
        except FileNotFoundError:
            return set()

    def _parse(self, name):
        match = self._pattern.fullmatch(name)
        if not match:
            return None
        try:
            time = datetime.datetime.strptime(match.group(2), _TIME)
        except ValueError:
            return None
        return match.group(1), time.replace(tzinfo=datetime.timezone.utc)
