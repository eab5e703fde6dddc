# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What one node says of the cluster, and every member that it reaches."""

from __future__ import annotations

import datetime
import os
import time
from contextlib import suppress

from .._core.errors import OpsError
from .._erlang.node import PASSING, Node
from .._node.exclusion import wait_for_others
from .._node.unit import Unit
from .digest import count_lacking, take_digests
from .islands import DOWN, SILENT, find_islands, find_problems, find_splits, is_complete
from .on_disk import rows_on_disk
from .view import own_view, views

_PAUSE_SECONDS = 0.5
# A node that is being started or stopped does not answer either, and will soon be the one or the other.
_SILENCE_SECONDS = 20

_EVIDENCE = """
Running = code:which(mnesia) =/= non_existing andalso mnesia:system_info(is_running) =:= yes,
[{started, erlang:system_time(millisecond) - element(1, erlang:statistics(wall_clock))},
 {commits, case Running of true -> mnesia:system_info(transaction_commits); false -> 0 end},
 {masters, case Running of true -> mnesia:table_info(schema, master_nodes); false -> [] end}]
"""


def cluster_info(module, runner):
    """The module ``cluster_info``."""
    options = module.params
    node = Node(options["node"], runner)
    unit = Unit(options["node"]["service"], runner)
    wait_for_others(options["node"])
    started = time.monotonic()
    while True:
        info = look(node, unit, options["members"])
        patience = max(options["wait_seconds"], _SILENCE_SECONDS if info["state"] == SILENT else 0)
        if info["complete"] or time.monotonic() >= started + patience:
            break
        time.sleep(_PAUSE_SECONDS)
    if options["digest"]:
        info = compare(node, info, options["members"])
    if options["assert_complete"] and not info["complete"]:
        raise OpsError(
            f"{node.name} does not see one cluster with loaded tables: {'; '.join(info['problems'])}",
            kind="cluster",
            **{key: info[key] for key in ("islands", "unreached", "problems")},
        )
    return {"changed": False, **info}


def look(node, unit, expected=()):
    """Ask the node, and through it the others.

    :param node: a :class:`.._erlang.node.Node`.
    :param unit: a :class:`.._node.unit.Unit`.
    :param expected: names of all nodes of the cluster; empty for those in the node's schema.
    :return: what the module documents, without digests.
    """
    try:
        own = own_view(node)
        evidence = dict(node.evaluate(_EVIDENCE))
        others = sorted({*own.store.members, *expected} - {node.name})
        reached = views(node, others) if others else {}
        on_disk = rows_on_disk(node, own.store.waits()[1])
    except OpsError as error:
        if error.kind not in PASSING:
            raise
        return _unreachable(node, SILENT if unit.state().running else DOWN, str(error))
    described = {"name": node.name, "error": None, **_described(own)}
    described["masters"] = sorted({*described["masters"], *map(str, evidence["masters"])})
    seen = {name: _described(view) for name, view in reached.items()}
    return _judged(
        {
            **described,
            "views": seen,
            "unreached": [name for name in others if name not in seen],
            "digests": {},
            "lacks": {},
            "evidence": {**_files(own.store), **_since(evidence), "on_disk": on_disk},
        },
        expected,
    )


def compare(node, info, expected=()):
    """Add the digests of the node's island, where it is the first of it, so that each island is read once."""
    island = next((each for each in info["islands"] if node.name in each), [])
    if node.name != min(island, default=None):
        return info
    copies = {table: [name for name in island if name in each["copies"]] for table, each in info["tables"].items()}
    digests = take_digests(node, {table: names for table, names in copies.items() if names})
    others = [min(each) for each in info["islands"] if each is not island]
    loaded = {
        name: [table for table, each in info["tables"].items() if each["loaded"] and _has_loaded(info, name, table)]
        for name in others
    }
    lacks = {name: count_lacking(node, name, tables) for name, tables in loaded.items()}
    return _judged({**info, "digests": digests, "lacks": lacks}, expected)


def _has_loaded(info, name, table):
    return info["views"][name]["tables"].get(table, {"loaded": False})["loaded"]


def _judged(info, expected):
    nodes = {info["name"]: info, **info["views"]}
    expected = list(expected) or info["members"]
    islands = find_islands(nodes, info["digests"])
    return {
        **info,
        "islands": islands,
        "partitioned": len(islands) > 1,
        "complete": is_complete(nodes, islands, expected),
        "problems": find_splits(islands, info["digests"]) + find_problems(nodes, expected, info["digests"]),
    }


def _unreachable(node, state, error):
    return {
        "name": node.name,
        "state": state,
        "error": error,
        "connected": [],
        "members": [],
        "running": [],
        "outlived": [],
        "in_ram": [],
        "tables": {},
        "masters": [],
        "views": {},
        "unreached": [],
        "digests": {},
        "lacks": {},
        "evidence": {
            "directory": None,
            "files": {},
            "last_change": None,
            "started": None,
            "transaction_commits": 0,
            "on_disk": {},
        },
        "islands": [],
        "partitioned": False,
        "complete": False,
        "problems": [f"{node.name} does not answer: {error}"],
    }


def _described(view):
    store = view.store
    tables = {
        name: {
            "copies": each.copies,
            "rows": each.rows if each.loaded else None,
            "loaded": each.loaded,
            "masters": list(each.masters),
            "waits_for": list(each.waits_for),
        }
        for name, each in store.tables.items()
    }
    return {
        "state": store.state,
        "connected": list(view.connected),
        "members": list(store.members),
        "running": list(store.running),
        "outlived": list(store.outlived),
        "in_ram": store.forgetful(),
        "tables": tables,
        "masters": sorted({name for each in store.tables.values() for name in each.masters}),
    }


def _files(store):
    """When the files that transactions end up in were last written."""
    names = {"LATEST.LOG", *(f"{table}.{kind}" for table in store.tables for kind in ("DAT", "DCD", "DCL"))}
    written = {}
    if store.directory and os.path.isdir(store.directory):
        with os.scandir(store.directory) as entries:
            for entry in entries:
                # Mnesia removes a log as soon as it is in the table's own file.
                with suppress(FileNotFoundError):
                    if entry.name in names:
                        written[entry.name] = entry.stat().st_mtime
    return {
        "directory": store.directory,
        "files": {name: _iso(written[name]) for name in sorted(written)},
        "last_change": _iso(max(written.values())) if written else None,
    }


def _since(evidence):
    return {"started": _iso(evidence["started"] / 1000), "transaction_commits": evidence["commits"]}


def _iso(seconds):
    return f"{datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc):%Y-%m-%dT%H:%M:%SZ}"
