# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Master nodes: whom a node loads its tables from when it starts, whatever its own copies hold.

Mnesia writes the setting to its log at once, so it outlives a kill, and it stays until it is cleared.
"""

from __future__ import annotations

import os

from .._backup.collect import mnesia_directory
from .._backup.erlang_text import binary
from .._backup.offline import Offline
from .._core.errors import OpsError
from .._erlang.node import Node
from .._erlang.terms import Atom, format_term
from .._node.exclusion import node_lock
from .._node.unit import Unit

_READ = """
case mnesia:system_info(is_running) of
    yes ->
        Kinds = [disc_copies, ram_copies, disc_only_copies],
        [{T, mnesia:table_info(T, master_nodes), lists:append([mnesia:table_info(T, Kind) || Kind <- Kinds])}
            || T <- mnesia:system_info(tables)];
    _ -> stopped
end
"""


class StoppedTables(Offline):
    """The tables of a node that does not run."""

    def set_masters(self, mnesia_dir, node_name, masters, timeout=60):
        """Write the setting into the node's own directory; it must not run."""
        program = (
            f"application:load(mnesia), application:set_env(mnesia, dir, unicode:characters_to_list("
            f"{binary(mnesia_dir)}, file:native_name_encoding())), ok = {_set(masters)}"
        )
        self._ask(program, timeout, node_name)


def cluster_masters(module, runner):
    """The module ``cluster_masters``."""
    change = Change(module.params, runner)
    if module.check_mode:
        return change.look()
    with node_lock(module.params["node"], "change of the master nodes"):
        result = change.look()
        if result["changed"]:
            change.apply()
        return result


class Change:
    """What is to be set on one node.

    :param options: the options of the module.
    :param runner: a :class:`Runner`.
    """

    def __init__(self, options, runner):
        self.options = options
        self.runner = runner
        self.node = Node(options["node"], runner)
        self.masters = sorted(options["masters"])
        self.running = False

    def look(self):
        """See whether something is to be set; what a node that does not run has cannot be read."""
        self.running = Unit(self.options["node"]["service"], self.runner).state().running
        current = read(self.node) if self.running else None
        tables = ["every table"] if current is None else sorted(plan(current, self.masters))
        return {"changed": bool(tables), "running": self.running, "diff": self._diff(tables)}

    def apply(self):
        if self.running:
            self._set_running()
        else:
            self._set_stopped()

    def _set_running(self):
        answer = self.node.evaluate(_set(self.masters))
        current = read(self.node)
        if answer != "ok" or (current is not None and plan(current, self.masters)):
            raise OpsError(
                f"{self.node.name} did not take {', '.join(self.masters) or 'no node'} for master: {answer}. See "
                "whether its tables are loaded (repair_partition without a survivor shows it), and run again",
                kind="masters",
            )

    def _set_stopped(self):
        data_dir = os.path.realpath(self.options["data_dir"])
        directory = mnesia_directory(data_dir)
        if directory is None:
            raise OpsError(
                f"{self.node.name} does not run, and no Mnesia schema is below {data_dir}: set erlmcp_data_dir to "
                "the directory that holds it, or, when its data is lost, run replace_node",
                kind="masters",
            )
        stopped = StoppedTables(self.options["node"], self.runner, data_dir)
        stopped.set_masters(os.path.join(data_dir, directory), self.node.name, self.masters)

    def _diff(self, tables):
        if not tables:
            return {}
        source = f"from {', '.join(self.masters)} only" if self.masters else "from whoever has them"
        return {"before": "", "after": f"{self.node.name} loads {', '.join(tables)} {source} at its next start\n"}


def read(node):
    """Return table to (master nodes, nodes with a copy), or ``None`` while the node's Mnesia does not run."""
    answer = node.evaluate(_READ)
    if answer == "stopped":
        return None
    return {str(table): (sorted(map(str, set_)), sorted(map(str, copies))) for table, set_, copies in answer}


def plan(current, masters):
    """Return table to the master nodes that it lacks or has too many of.

    :param current: what :func:`read` says.
    :param masters: names of the wanted ones. Mnesia takes for each table those that have a copy of it.
    """
    wanted = {table: sorted(set(masters) & set(copies)) for table, (_now, copies) in current.items()}
    return {table: wanted[table] for table, (now, _copies) in current.items() if now != wanted[table]}


def _set(masters):
    return f"mnesia:set_master_nodes({format_term([Atom(name) for name in masters])})"
