# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A systemd that answers as systemctl does, for the few verbs that are used."""

from __future__ import annotations

from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Completed


class FakeSystemd:
    """A Runner; ``did`` is what was asked for besides looking.

    :param units: name to (active state, whether its file is newer than what is loaded).
    :param needs: a path that must be there before anything is done.
    :param broken: what systemd says instead of doing anything.
    """

    def __init__(self, units, needs=None, broken=None):
        self.units = dict(units)
        self.needs = needs
        self.broken = broken
        self.did = []

    def run(self, argv, timeout):
        command, verb, *arguments = argv
        assert command == "systemctl"
        if verb == "show":
            assert arguments[:3] == ["-p", "ActiveState,NeedDaemonReload", "--"]
            return Completed(0, "\n".join(self._paragraph(name) for name in arguments[3:]), "")
        if self.broken:
            return Completed(1, "", f"{self.broken}\n")
        assert self.needs is None or self.needs.exists()
        self.did.append([verb, *arguments])
        for name in arguments[1:]:
            self.units[name] = ("inactive" if verb == "stop" else "active", False)
        return Completed(0, "", "")

    def _paragraph(self, name):
        state, outdated = self.units.get(name, ("inactive", False))
        return f"NeedDaemonReload={'yes' if outdated else 'no'}\nActiveState={state}\n"
