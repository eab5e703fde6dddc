# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which node of a cluster gets which archive. Pure."""

from __future__ import annotations

from .._core.errors import OpsError
from .staging import RESERVE_BYTES


def plan_cluster(hosts, nodes, found, sources=None, archive="latest", before="", now="", free=None):
    """Choose an archive for each host, so that all nodes are consistent with each other.

    Nodes whose tables have copies on each other share a schema: they all get Mnesia's tables from the newest of their
    archives, and everything else from their own.

    :param hosts: inventory names of the hosts to be restored.
    :param nodes: inventory name to node name.
    :param found: inventory name to ``backups``, as module ``backup_info`` returns them.
    :param sources: inventory name to the host whose archive it gets; a host that is not named gets its own.
    :param archive: ``latest``, or the name of one archive when there is one host.
    :param before: only archives taken up to this time, ``YYYYMMDDTHHMMSSZ``; empty for all.
    :param now: the time, in the same form; empty when nobody knows. An archive that is younger says that a clock was
        wrong, so the times do not tell which is the latest.
    :param free: inventory name to the bytes that are free where the archives of the host are.
    :return: inventory name to ``archive``, ``tables_archive`` (or ``None``), ``node_map``, ``files`` (names of what the
        host needs), ``copies`` (``name``, ``size`` and ``host``, which has it, of what is on another host) and ``text``
        for the operator.
    :raises OpsError: naming every host for which there is none.
    """
    sources = sources or {}
    if archive != "latest" and len(hosts) > 1:
        raise OpsError(
            "erlmcp_backup_restore_archive names one archive for several hosts: limit the run to one host, or name a "
            "time with erlmcp_backup_restore_before",
            kind="input",
        )
    # Each host has one up to this time, where it has any.
    firsts = [_times(found[host], sources.get(host, host))[:1] for host in hosts] if archive == "latest" else []
    enough = max((time for first in firsts for time in first), default="")
    chosen, problems = {}, []
    for host in hosts:
        try:
            chosen[host] = _choose(found[host], sources.get(host, host), archive, before, now, enough)
        except OpsError as error:
            problems.append(f"{host}: {error}")
    if problems:
        raise OpsError("; ".join(problems), kind="plan", problems=problems)
    _check_one_each(chosen)
    node_map = {backup["node"]: nodes[host] for host, backup in chosen.items() if backup["node"] != nodes[host]}
    parts = {host: _part(host, nodes[host], chosen, found[host], node_map) for host in hosts}
    _check_room(parts, free or {})
    return parts


def _check_one_each(chosen):
    by_node = {}
    for host, backup in chosen.items():
        by_node.setdefault(backup["node"], []).append(host)
    problems = [
        f"{' and '.join(hosts)} would get an archive of {node} each, and one node does not become two: name another "
        "source for one of them in erlmcp_backup_restore_map"
        for node, hosts in by_node.items()
        if len(hosts) > 1
    ]
    if problems:
        raise OpsError("; ".join(problems), kind="plan", problems=problems)


def _check_room(parts, free):
    problems = [
        f"{host} has {free[host] // 1024**2} MiB free where its archives are, and {each['name']}, which has "
        f"{each['size'] // 1024**2} MiB, is to be copied there from {each['host']}: make room, for example with the "
        "playbook prune_backups"
        for host, part in parts.items()
        for each in part["copies"]
        if host in free and free[host] < each["size"] + RESERVE_BYTES
    ]
    if problems:
        raise OpsError("; ".join(problems), kind="space", problems=problems)


def _times(backups, source):
    """Times of the good archives of a host, the oldest first."""
    return sorted(each["time"] for each in backups if each["host"] == source and not each["problem"])


def _choose(backups, source, archive, before, now, enough):
    if archive != "latest":
        named = next((each for each in backups if each["name"] == archive), None)
        if named is None:
            there = ", ".join(each["name"] for each in backups) or "none"
            raise OpsError(f"there is no {archive}; there are {there}. Name one in erlmcp_backup_restore_archive")
        if named["problem"]:
            raise OpsError(f"{archive} is not good: {named['problem']}. Name another one")
        return named
    own = [each for each in backups if each["host"] == source and not each["problem"]]
    later = [each["name"] for each in own if not before and now and each["time"] > now]
    if later:
        raise OpsError(
            f"{', '.join(later)} is from the future: a clock was wrong when it was made, or is wrong now, so the times "
            "do not say which archive is the latest. Name a time with erlmcp_backup_restore_before"
        )
    fitting = [each for each in own if not before or each["time"] <= before]
    if not fitting:
        times = ", ".join(time for time in _times(backups, source) if time >= enough) or enough
        others = ", ".join(sorted({each["host"] for each in backups if not each["problem"]} - {source}))
        remedies = [
            *([f"set erlmcp_backup_restore_before to the time of one that there is ({times})"] if times else []),
            *([f"name another source in erlmcp_backup_restore_map (there are archives of {others})"] if others else []),
            "name a directory that holds one in erlmcp_backup_restore_from",
        ]
        raise OpsError(f"no good archive of {source}{f' up to {before}' if before else ''}: {', or '.join(remedies)}")
    return max(fitting, key=lambda each: each["time"])


def _part(host, node, chosen, backups, node_map):
    own = chosen[host]
    sharing = [each for each in chosen.values() if len(own["db_nodes"]) > 1 and each["db_nodes"] == own["db_nodes"]]
    tables = max(sharing, key=lambda each: (each["time"], each["name"]), default=own)
    copies = [
        {"name": each["name"], "size": each["size"], "host": source}
        for source, each in chosen.items()
        if each is tables and tables["name"] not in {there["name"] for there in backups}
    ]
    other = tables["name"] if tables["name"] != own["name"] else None
    names = [own["name"], *([other] if other else [])]
    rows = sum(table["rows"] for table in own["tables"])
    return {
        "archive": own["name"],
        "tables_archive": other,
        "node_map": node_map,
        "files": [file for name in names for file in (name, f"{name}.json")],
        "copies": copies,
        "text": f"{host} ({node}) gets {own['name']} of {own['node']}: release {own['release']}, {rows} rows"
        + (f"; its Mnesia tables from {other}" if other else "")
        + "".join(f", which is copied from {each['host']} ({each['size'] // 1024**2} MiB)" for each in copies),
    }
