# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which node of a cluster gets which archive. Pure."""

from __future__ import annotations

from .._core.errors import OpsError


def plan_cluster(hosts, nodes, found, sources=None, archive="latest", before="", now=""):
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
    :return: inventory name to ``archive``, ``tables_archive`` (or ``None``), ``node_map``, ``files`` (names of what the
        host needs) and ``text`` for the operator.
    :raises OpsError: naming every host for which there is none.
    """
    sources = sources or {}
    if archive != "latest" and len(hosts) > 1:
        raise OpsError(
            "erlmcp_backup_restore_archive names one archive for several hosts: limit the run to one host, or name a "
            "time with erlmcp_backup_restore_before",
            kind="input",
        )
    chosen, problems = {}, []
    for host in hosts:
        try:
            chosen[host] = _choose(found[host], sources.get(host, host), archive, before, now)
        except OpsError as error:
            problems.append(f"{host}: {error}")
    if problems:
        raise OpsError("; ".join(problems), kind="plan", problems=problems)
    node_map = {backup["node"]: nodes[host] for host, backup in chosen.items() if backup["node"] != nodes[host]}
    return {host: _part(host, nodes[host], chosen, found[host], node_map) for host in hosts}


def _choose(backups, source, archive, before, now):
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
        times = ", ".join(sorted(each["time"] for each in own))
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
    if tables["name"] not in {each["name"] for each in backups}:
        raise OpsError(
            f"{host} shares its schema with {', '.join(own['db_nodes'])}, and needs {tables['name']} too, which is on "
            "another host: fetch the archives to the control node (erlmcp_backup_fetch_dir), and name that directory "
            "in erlmcp_backup_restore_from",
            kind="plan",
        )
    other = tables["name"] if tables["name"] != own["name"] else None
    names = [own["name"], *([other] if other else [])]
    rows = sum(table["rows"] for table in own["tables"])
    return {
        "archive": own["name"],
        "tables_archive": other,
        "node_map": node_map,
        "files": [file for name in names for file in (name, f"{name}.json")],
        "text": f"{host} ({node}) gets {own['name']} of {own['node']}: release {own['release']}, {rows} rows"
        + (f"; its Mnesia tables from {other}" if other else ""),
    }
