# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The units that a set of files defines: started, stopped, restarted when their definition changed.

What systemd has loaded is asked for, not remembered: a run that was cut off after the files is finished by the next.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field

from .._core.errors import OpsError

_UNIT_DIR = "/etc/systemd/system"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9:_.@\\-]*\.(service|socket|timer|path|target|mount|automount|slice)")
_RUNNING = ("active", "activating", "reloading")
_LONGEST_SECONDS = 120


@dataclass(frozen=True)
class UnitNow:
    """``running``: whether systemd calls it active or about to be; ``outdated``: its file is not what is loaded."""

    running: bool = False
    outdated: bool = False


@dataclass(frozen=True)
class UnitPlan:
    """Names of units, in the order in which they are given; ``reload``: whether definitions are read anew."""

    reload: bool = False
    start: list = field(default_factory=list)
    restart: list = field(default_factory=list)
    stop: list = field(default_factory=list)

    @property
    def changes(self):
        return bool(self.reload or self.start or self.restart or self.stop)

    def diff(self):
        """Return before/after pairs for Ansible's ``diff``."""
        verbs = ((self.start, "inactive", "started"), (self.restart, "active", "restarted"))
        return [
            {
                "before": f"{name}: {before}\n",
                "after": f"{name}: {after}\n",
                "before_header": name,
                "after_header": name,
            }
            for names, before, after in (*verbs, (self.stop, "active", "stopped"))
            for name in names
        ]


def check_units(started, stopped, started_with):
    """Refuse names that are none, and units that are to be both.

    :raises OpsError: naming the unit.
    """
    for name in (*started, *stopped, *started_with, *started_with.values()):
        if not _NAME.fullmatch(name):
            raise OpsError(f"fileset: {name!r} is not the full name of a systemd unit", kind="input")
    for name in {*started} & {*stopped}:
        raise OpsError(f"fileset: {name} is to be started and to be stopped", kind="input")


def defined_units(entries):
    """Return the names of the units whose definition is an entry."""
    names = (os.path.split(entry["path"]) for entry in entries if entry["state"] == "file")
    return [name for directory, name in names if directory == _UNIT_DIR and _NAME.fullmatch(name)]


def plan_units(started, stopped, changed_paths, now, started_with=None):
    """Say what is to be done to units once the files are laid down.

    :param started: names of units that must run, a list.
    :param stopped: names of units that must not run, a list.
    :param changed_paths: paths of the set that change.
    :param now: name to :class:`UnitNow`, as things are before the files are laid down.
    :param started_with: names of units that must run while another one does, to the name of that one.
    """
    partners = (started_with or {}).items()
    called_for = [name for name, other in partners if now[other].running and not now[name].running]
    if not (started or stopped or called_for):
        return UnitPlan()
    changed = [path for path in changed_paths if path.startswith(f"{_UNIT_DIR}/")]

    def is_redefined(name):
        own = (f"{_UNIT_DIR}/{name}", f"{_UNIT_DIR}/{name}.d/")
        return now[name].outdated or any(path == own[0] or path.startswith(own[1]) for path in changed)

    return UnitPlan(
        reload=bool(changed) or any(unit.outdated for unit in now.values()),
        start=[name for name in started if not now[name].running] + called_for,
        restart=[name for name in started if now[name].running and is_redefined(name)],
        stop=[name for name in stopped if now[name].running],
    )


class Units:
    """The units of this host.

    :param runner: a :class:`Runner`.
    """

    def __init__(self, runner):
        self._runner = runner

    def observe(self, managed, defined):
        """Return name to :class:`UnitNow`, of ``managed`` and ``defined``; nothing is asked when none is managed.

        A unit that does not exist yet does not run.
        """
        names = sorted({*managed, *defined}) if managed else []
        if not names:
            return {}
        # One paragraph each, in the order of the names.
        text = self._systemctl("show", "-p", "ActiveState,NeedDaemonReload", "--", *names)
        paragraphs = [dict(line.split("=", 1) for line in each.splitlines()) for each in text.strip().split("\n\n")]
        return {
            name: UnitNow(properties["ActiveState"] in _RUNNING, properties["NeedDaemonReload"] == "yes")
            for name, properties in zip(names, paragraphs)
        }

    def apply(self, plan):
        """Carry out what :func:`plan_units` found.

        :raises OpsError: when a unit cannot be started or stopped, with what systemd says.
        """
        if plan.reload:
            self._systemctl("daemon-reload")
        for verb, names in (("stop", plan.stop), ("start", plan.start), ("try-restart", plan.restart)):
            if names:
                self._systemctl(verb, "--", *names)

    def _systemctl(self, *arguments):
        done = self._runner.run(["systemctl", *arguments], timeout=_LONGEST_SECONDS)
        if not done.ok:
            raise OpsError(f"systemctl {' '.join(arguments)} failed: {done.err.strip()}", kind="systemd")
        return done.out
