# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a node had when it left: set aside, so that starting it by hand does not bring it back into the cluster.

Mnesia would: a removed node that is started with its old directory rejoins without a word. Nothing is deleted.
"""

from __future__ import annotations

import datetime
import json
import os

from .._config.admission import admit, marker_path
from .._core import trees
from .._core.errors import OpsError
from .._core.files import is_mount_point, link_atomically, sync_directory, write_atomically

_UNIT_DIR = "/etc/systemd/system"


class Quarantine:
    """Every step can be repeated, so that a run that was cut off is finished by the next.

    :param options: the options of the module ``cluster_member``.
    :param unit: the node's :class:`.._node.unit.Unit`.
    :param runner: a :class:`Runner`.
    """

    def __init__(self, options, unit, runner):
        self.node = options["node"]
        self.data_dir = options["data_dir"]
        self.others = options["other_units"]
        self.unit = unit
        self.runner = runner
        self.marker = marker_path(self.node["config_dir"])
        self.cookie = os.path.join(self.node["home_dir"], ".erlang.cookie")
        self.definition = os.path.join(_UNIT_DIR, unit.name)

    @property
    def aside(self):
        return f"{self.data_dir}.removed-{self._record()['time']}"

    def check(self):
        """Refuse a data directory that cannot be renamed.

        :raises OpsError: naming it.
        """
        if is_mount_point(self.data_dir):
            raise OpsError(
                f"{self.data_dir} is a mount point, so it cannot be set aside under another name: unmount it and run "
                f"again, or {trees.way_off_the_mount(self.data_dir)} before",
                kind="membership",
            )

    def begun(self):
        return os.path.exists(self.marker)

    def needed(self):
        """Whether there is anything that could come back."""
        unit = os.path.lexists(self.definition) and not os.path.islink(self.definition)
        return unit or any(os.path.lexists(path) for path in (self.data_dir, self.cookie))

    def begin(self, survivors):
        """Note that the node leaves. From here on it does not come back by a run of ``site``, or by a boot."""
        if not self.begun():
            now = f"{datetime.datetime.now(datetime.timezone.utc):%Y%m%dT%H%M%SZ}"
            record = {"node": self.node["name"], "time": now, "survivors": list(survivors)}
            os.makedirs(self.node["config_dir"], exist_ok=True)
            write_atomically(self.marker, json.dumps(record, indent=2).encode() + b"\n", mode=0o644)

    def withdraw(self):
        """Take :meth:`begin` back: the node stays."""
        admit(self.node["config_dir"])

    def finish(self):
        """Mask the unit, then set cookie and data aside; the node is stopped."""
        if self.others:
            self.runner.run(["systemctl", "disable", "--now", *self.others])
        # A unit in this directory cannot be masked by systemctl: its file is where the mask would be.
        if not os.path.islink(self.definition) and os.path.exists(self.definition):
            os.replace(self.definition, f"{self.definition}.removed")
        if not os.path.islink(self.definition):
            link_atomically(self.definition, os.devnull)
        self.unit.reload_definitions()
        # The cookie is in a directory that the service cannot write: without it Erlang does not even start.
        _move(self.cookie, f"{self.cookie}.removed-{self._record()['time']}")
        _move(self.data_dir, self.aside)

    def _record(self):
        with open(self.marker, encoding="utf-8") as stream:
            return json.load(stream)


def _move(path, target):
    if os.path.lexists(path):
        os.rename(path, target)
        sync_directory(os.path.dirname(path))
