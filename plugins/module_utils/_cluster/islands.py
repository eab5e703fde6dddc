# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which nodes share their tables, judged from what each of them says of itself. Pure.

A *node* below is a dict as module ``cluster_info`` returns it, with ``state``, ``members``, ``running``, ``tables`` and
so on. *Digests* are its ``digests``: table to node to ``rows`` and ``digest``.
"""

from __future__ import annotations

from .._core.errors import OpsError
from .view import RUNNING, STOPPED, waits, why_waiting

# A node that does not run, and one that runs and does not answer its own host.
DOWN = "down"
SILENT = "silent"


def find_islands(nodes, digests=None):
    """Group the nodes that share their tables: those that take the same nodes for running, and have the same rows.

    A node that is restarted while the cluster is split joins both sides, and from then on each side takes the other one
    for running, with copies that differ. Only the rows tell.

    :param nodes: name to node, of those that answered.
    :return: lists of names, the longest first. Nodes that share with nobody are in none.
    """
    alone = not_joined(nodes)
    running = {name: node for name, node in nodes.items() if node["state"] == RUNNING and name not in alone}
    groups = {}
    for name, node in running.items():
        groups.setdefault(frozenset(node["running"]) & frozenset(running), []).append(name)
    parts = [part for group in groups.values() for part in _by_rows(group, digests or {})]
    return sorted(parts, key=len, reverse=True)


def not_joined(nodes):
    """Names of those that have nobody but themselves in their schema, among others."""
    return [name for name, node in nodes.items() if len(nodes) > 1 and list(node["members"]) == [name]]


def _by_rows(group, digests):
    parts = []
    for name in group:
        part = next((part for part in parts if all(_same_rows(name, other, digests) for other in part)), None)
        if part is None:
            parts.append([name])
        else:
            part.append(name)
    return parts


def _same_rows(one, other, digests):
    # None is the digest of rows that would not hold still: nobody knows.
    pairs = [(of[one]["digest"], of[other]["digest"]) for of in digests.values() if one in of and other in of]
    return all(None in pair or pair[0] == pair[1] for pair in pairs)


def find_problems(nodes, expected=(), digests=None):
    """Return as texts what is wrong with single nodes and tables.

    :param nodes: name to node, of those that answered.
    :param expected: names of all nodes of the cluster.
    """
    problems = [f"{name} is not reached: it is down, or the network is cut" for name in expected if name not in nodes]
    problems += [f"Mnesia does not run on {name}" for name, node in nodes.items() if node["state"] == STOPPED]
    problems += [f"{name} shares its tables with nobody: no other node is in its schema" for name in not_joined(nodes)]
    for name, node in nodes.items():
        waits_for, waiting = waits_of(node)
        if waiting:
            problems.append(f"{name} {why_waiting(waits_for, waiting)}")
        missing = sorted({table for table, each in node["tables"].items() if not each["loaded"]} - set(waiting))
        if missing:
            problems.append(f"{name} has not loaded {', '.join(missing)}")
        if node["masters"]:
            problems.append(f"{name} loads its tables from {', '.join(node['masters'])} only: its master nodes are set")
    for table, of in (digests or {}).items():
        if None in (each["digest"] for each in of.values()):
            problems.append(f"the copies of {table} cannot be compared: its rows change outside of transactions")
    return problems


def waits_of(node):
    """Return for which nodes a node waits, and with which tables."""
    return waits({table: each["waits_for"] for table, each in node["tables"].items()})


def find_splits(islands, digests=None):
    """Return as texts that there is more than one island, and which copies differ."""
    if len(islands) < 2:
        return []
    listed = "; ".join(", ".join(island) for island in islands)
    splits = [f"the cluster is split into {len(islands)} islands that do not share what they write: {listed}"]
    for table, of in (digests or {}).items():
        if len({each["digest"] for each in of.values()} - {None}) > 1:
            rows = ", ".join(f"{name} {each['rows']} rows" for name, each in of.items())
            splits.append(f"the copies of {table} differ: {rows}")
    return splits


def is_complete(nodes, islands, expected):
    """Whether all expected nodes are one island and have loaded every table."""
    return (
        len(islands) == 1
        and set(expected) <= set(islands[0])
        and all(table["loaded"] for name in islands[0] for table in nodes[name]["tables"].values())
    )


def merge(found, names, dead=()):
    """Put together what the hosts say, for no node of a cluster that is split can see all of it.

    :param found: host to what ``cluster_info`` returned there; without ``state`` where the host was not reached.
    :param names: host to node name, for the whole cluster.
    :param dead: hosts that are lost, and not asked.
    :return: what the filter ``cluster_islands`` documents.
    :raises OpsError: for hosts of another cluster.
    """
    strangers = [host for host in found if host not in names]
    if strangers:
        raise OpsError(
            f"{', '.join(strangers)} and {', '.join(names)} are not of one cluster: name the hosts of one in "
            "erlmcp_hosts",
            kind="input",
        )
    hosts = {host: name for host, name in names.items() if host not in dead}
    asked = {host: found[host] for host in hosts if "state" in found.get(host, {})}
    nodes = {hosts[host]: info for host, info in asked.items() if info["state"] not in (DOWN, SILENT)}
    seen = {name: node for info in asked.values() for name, node in info["views"].items()}
    nodes.update({name: seen[name] for host, name in hosts.items() if host not in asked and name in seen})
    digests = _merged_digests(asked.values())
    islands = find_islands(nodes, digests)
    by_name = {name: host for host, name in hosts.items()}
    merged = {
        "islands": [_island(island, nodes, asked, by_name, digests) for island in islands],
        "partitioned": len(islands) > 1,
        "not_joined": [by_name[name] for name in not_joined(nodes)],
        "down": [host for host, info in asked.items() if info["state"] == DOWN],
        "silent": [host for host, info in asked.items() if info["state"] == SILENT],
        "stopped": [host for host, info in asked.items() if info["state"] == STOPPED],
        "unasked": [host for host in hosts if host not in asked],
        "in_ram": [host for host, info in asked.items() if info["name"] in info["in_ram"]],
        "undead": [host for host in dead if names.get(host) in seen],
        "cut": [
            [host, by_name[name]]
            for host, info in asked.items()
            for name in info["unreached"]
            if name in nodes and by_name[name] in asked
        ],
        "masters": {host: list(info["masters"]) for host, info in asked.items() if info["masters"]},
        "waiting": {host: _waiting(info) for host, info in asked.items() if waits_of(info)[1]},
        "dead": list(dead),
    }
    problems = [
        *(f"{host} was not asked" for host in merged["unasked"]),
        *(f"{asked[host]['name']} does not run" for host in merged["down"]),
        *(f"{asked[host]['name']} runs and does not answer: {asked[host]['error']}" for host in merged["silent"]),
        *(f"{one} does not reach {other}: the network between them is cut" for one, other in merged["cut"]),
        *find_problems(nodes, digests=digests),
    ]
    merged["text"] = [*_text(merged, asked), *_lacking(islands, asked, by_name), *problems]
    merged["problems"] = find_splits(islands, digests) + problems
    return merged


def _merged_digests(infos):
    """Digests can be compared that were taken together: those of a node's island count, not those of a second one."""
    merged = {}
    for info in infos:
        for table, of in info["digests"].items():
            for name, digest in of.items():
                merged.setdefault(table, {}).setdefault(name, digest)
    return merged


def _island(island, nodes, asked, by_name, digests):
    hosts = [by_name[name] for name in island]
    tables = {}
    for name in island:
        for table, each in nodes[name]["tables"].items():
            if each["loaded"] and table not in tables:
                tables[table] = digests.get(table, {}).get(name) or {"rows": each["rows"], "digest": None}
    held = {
        table
        for name in island
        for table, each in nodes[name]["tables"].items()
        if any(node in island for node in each["copies"])
    }
    changes = [asked[host]["evidence"]["last_change"] for host in hosts if host in asked]
    return {
        "nodes": island,
        "hosts": hosts,
        # Who repairs what another side has removed from its schema would resurrect it.
        "schema": sorted(set.intersection(*(set(nodes[name]["members"]) for name in island))),
        "tables": tables,
        "not_loaded": sorted(held - set(tables)),
        "last_change": max((change for change in changes if change), default=None),
    }


def _waiting(info):
    """What is known of a node that waits: for whom, and what its own copies hold."""
    waits_for, waiting = waits_of(info)
    evidence = info["evidence"]
    written = [at for name, at in evidence["files"].items() if name.rpartition(".")[0] in waiting]
    return {
        "nodes": waits_for,
        "outlived": info["outlived"],
        "members": info["members"],
        "tables": {table: evidence["on_disk"].get(table) for table in waiting},
        "last_change": max(written, default=None),
        "started": evidence["started"],
    }


def _lacking(islands, asked, by_name):
    """Say of each island what it lacks of the others, where its first node could compare the rows."""
    lines = []
    for number, island in enumerate(islands, start=1):
        lacks = asked.get(by_name[min(island)], {"lacks": {}})["lacks"]
        for other_number, other in enumerate(islands, start=1):
            counts = lacks.get(min(other), {}) if other is not island else {}
            missing = [f"{count} of {table}" for table, count in counts.items() if count]
            if missing:
                lines.append(f"Island {number} lacks rows that island {other_number} has: {', '.join(missing)}.")
            elif counts:
                lines.append(
                    f"Island {number} holds every row that island {other_number} has now: nothing of it is lost by "
                    f"keeping island {number}."
                )
    return lines


def _text(merged, asked):
    islands = merged["islands"]
    if merged["partitioned"]:
        lines = [f"The cluster is split into {len(islands)} islands."]
    elif islands:
        lines = ["The nodes that run are one island."]
    else:
        lines = ["No nodes share tables."]
    for number, island in enumerate(islands, start=1):
        lines.append(f"Island {number}: {', '.join(island['hosts'])}")
        for table, each in island["tables"].items():
            digest = f", digest {each['digest']}" if each["digest"] else ""
            lines.append(f"  {table}: {each['rows']} rows{digest}{_compared(islands, table)}")
        for host in island["hosts"]:
            if host in asked:
                lines.append(f"  {_evidence(host, asked[host]['evidence'])}")
    if merged["partitioned"] and not merged["cut"]:
        lines.append("Every node reaches every other one. Mnesia stays split until one side is restarted.")
    return lines


def _compared(islands, table):
    digests = [island["tables"][table]["digest"] for island in islands if table in island["tables"]]
    if len(digests) < 2 or None in digests:
        return ""
    return " (the same on every island)" if len(set(digests)) == 1 else " (not the same on every island)"


def _evidence(host, evidence):
    files = f"files last written {evidence['last_change']}" if evidence["last_change"] else "no files"
    return f"{host}: {files}, {evidence['transaction_commits']} transactions since its start {evidence['started']}"
