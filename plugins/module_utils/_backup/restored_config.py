# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The config set of an archive: checked by the installed release, laid down, and taken back when it does not serve."""

from __future__ import annotations

import grp
import os

from .._config.plan import FILES
from .._config.store import Store
from .._config.validate import validate
from .._core.errors import OpsError
from .fit import DATA_ONLY


class RestoredConfig:
    """One config set on its way in, or out again.

    :param spec: the ``node`` option of a module.
    :param group: the service's group.
    """

    def __init__(self, spec, group, runner):
        self.spec = spec
        self.runner = runner
        self.store = Store(spec["config_dir"], grp.getgrnam(group).gr_gid)

    def lay_down(self, directory):
        """Check the unpacked set and add it, to be activated later.

        :return: its name, or ``None`` when it is what is current already.
        :raises OpsError: when it is not complete or the release's Erlang does not accept it.
        """
        files = {}
        for name in FILES:
            path = os.path.join(directory, name)
            if not os.path.exists(path):
                raise OpsError(f"the archive's config lacks {name}: restore the data only ({DATA_ONLY})", kind="fit")
            with open(path, "rb") as stream:
                files[name] = stream.read()
        validate(files, self.spec, self.runner, [])
        observed = self.store.observe()
        current = observed.sets.get(observed.slots.current)
        if current is not None and current.holds(files):
            return None
        self.store.prepare()
        name = self.store.new_name(files)
        self.store.add(name, files)
        return name

    def slots(self):
        """The three slots as a dict, to be handed to :meth:`put_back`."""
        state = self.store.slots.state()
        return {"current": state.current, "next": state.next, "previous": state.previous}

    def activate(self, name):
        """Make the set current. Safe to repeat."""
        if self.store.slots.state().current != name:
            self.store.slots.stage(name)
            self.store.slots.activate()

    def put_back(self, before):
        """Make current what was, and let wait again what waited. Safe to repeat."""
        if before["current"] and self.store.slots.state().current != before["current"]:
            self.activate(before["current"])
        if before["next"]:
            self.store.slots.stage(before["next"])
