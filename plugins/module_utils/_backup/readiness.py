# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which tables of a node that was started are not there yet.

A node may be healthy before its tables are loaded, and before Mnesia runs: whoever asks for them waits, and says at the
end of that what is missing.
"""

from __future__ import annotations

import time

from .._core.errors import OpsError
from .._erlang.node import PASSING
from .._node.observe import unhealthy_message
from . import tables

_PAUSE_SECONDS = 0.2


def not_ready(seen, node_name, application_missing=None, schema_file=None):
    """Say what a node has to come to before its tables can be backed up; nothing when it has.

    :param seen: what :func:`.tables.look` returned.
    :param node_name: of the node.
    :param application_missing: name of its application, when that does not run.
    :param schema_file: path of a Mnesia schema in its data directory, when there is one.
    """
    if seen["state"] in ("starting", "stopping"):
        return [f"Mnesia is {seen['state']}"]
    if seen["mnesia"] is None and schema_file:
        state = "does not run" if seen["state"] == "no" else "keeps nothing on disk"
        return [f"Mnesia {state}, and tables are there ({schema_file})"]
    # That there are no tables, only a node tells that had the time to open them.
    if seen["mnesia"] is None and not seen["dets"] and application_missing:
        return [f"application {application_missing} does not run, which may have tables"]
    return [f"table {table['name']} is not loaded" for table in _unloaded(seen, node_name)]


def row_problems(seen, wanted, node_name):
    """Say which Mnesia tables of a started node are not there, or have fewer rows than were restored.

    Clients may write as soon as the node serves, so more is no problem. A table of which this node has no copy is for
    the others to count.

    :param seen: what :func:`.tables.look` returned.
    :param wanted: the ``tables`` of a manifest.
    :param node_name: of the node.
    """
    wanted = {table["name"]: table["rows"] for table in wanted if table["kind"] == "mnesia"}
    if not wanted:
        return []
    if seen["mnesia"] is None:
        state = "does not run with tables on disk" if seen["state"] in ("yes", "no") else f"is {seen['state']}"
        return [f"Mnesia {state}, so {', '.join(sorted(wanted))} cannot be counted"]
    found = {table["name"]: table for table in seen["mnesia"]["tables"]}
    unloaded = {table["name"] for table in _unloaded(seen, node_name)}
    problems = []
    for name, rows in wanted.items():
        if name not in found:
            problems.append(f"table {name} is not there")
        elif name in unloaded:
            problems.append(f"table {name} is not loaded")
        elif found[name]["rows"] is not None and found[name]["rows"] < rows:
            problems.append(f"table {name} has {found[name]['rows']} rows of {rows}")
    return problems


def rows_of(seen):
    """Return the rows of each table, Mnesia and DETS, by name; ``None`` where the node has no copy."""
    mnesia = seen["mnesia"]["tables"] if seen["mnesia"] else []
    return {table["name"]: table["rows"] for table in [*mnesia, *seen["dets"]]}


def prove(node, state, wanted):
    """Compare a started node with what was restored.

    :param node: its ``Node``.
    :param state: what :class:`.._node.observe.Observer` says of it.
    :param wanted: the ``tables`` of a manifest, or ``None`` when nobody has counted them: then each has to be loaded.
    :return: rows by table, and texts that say what is wrong or not there yet.
    """
    if not state["health"]["healthy"]:
        return {}, [unhealthy_message(state, [])]
    counts = any(table["kind"] == "mnesia" for table in wanted or ())
    if state["distribution_error"] is not None and not counts:
        return {}, []
    try:
        seen = tables.look(node)
    except OpsError as error:
        if error.kind not in PASSING:
            raise
        return {}, [f"its rows cannot be counted: {error}"] if counts or wanted is None else []
    if wanted is None:
        return rows_of(seen), not_ready(seen, node.name)
    return rows_of(seen), row_problems(seen, wanted, node.name)


def look_until_ready(look, missing, seconds, clock=time.monotonic, sleep=time.sleep):
    """Look at the tables of a running node until they are there, or for some seconds.

    :param look: returns what :func:`.tables.look` does.
    :param missing: from that to texts that say what is not there yet.
    :return: what was seen, and those texts.
    """
    deadline = clock() + seconds
    while True:
        try:
            seen = look()
            problems = missing(seen)
        except OpsError as error:
            if error.kind not in PASSING:
                raise
            seen, problems = None, [str(error)]
        if not problems or clock() >= deadline:
            return seen, problems
        sleep(_PAUSE_SECONDS)


def _unloaded(seen, node_name):
    found = seen["mnesia"]["tables"] if seen["mnesia"] else []
    return [table for table in found if table["rows"] is None and node_name in table["nodes"]]
