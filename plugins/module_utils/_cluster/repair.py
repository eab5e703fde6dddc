# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a cluster that is split becomes one again: whose rows are kept, and who loads them anew. Pure."""

from __future__ import annotations

import json

from .view import why_waiting

_CHOOSE = (
    "name a host of the island whose rows are kept: -e erlmcp_cluster_survivor=HOST, one of {hosts}. Every node of "
    "the other islands is backed up, stopped, backed up again, and started with the rows of that island. Nothing was "
    "changed"
)


def plan_repair(merged, names, survivor="", force_load=False):
    """Decide what is to be done on which host.

    Every member outside of the surviving island loses, one that does not run included: that is how a repair which was
    killed between stop and start is finished. It has no other memory than what the nodes say.

    A node that waits for others is a loser too, when it is to load what it has: it is stopped, backed up, and started
    with itself as master. Mnesia's ``force_load_table`` would do without a stop, but is forgotten at the next one. Then
    a node that comes back meanwhile loads its own rows, and what was written since is lost.

    :param merged: what :func:`.islands.merge` says.
    :param names: host to node name, for the whole cluster.
    :param survivor: a host of the island whose rows are kept; empty where none was chosen.
    :param force_load: whether its node is to load what it has, though others may have newer rows.
    :return: ``winners``, ``losers``, ``forced``, ``keepers`` and ``leftover`` (hosts), ``masters`` (node names),
        ``refusals`` and ``text``. ``forced`` is that one of the losers which loads what it has, and starts first.
        ``keepers`` are hosts whose node stays its own master until all members are back. ``leftover`` are hosts that
        have master nodes set and must not.
    """
    winners = next((island for island in merged["islands"] if survivor in island["hosts"]), None)
    forced = [survivor] if force_load and _can_be_forced(merged, survivor, winners) else []
    winners = None if forced else winners
    losers = _losers(merged, names, winners, forced) if winners or forced else []
    refusals = _refusals(merged, names, survivor, winners, losers, forced)
    if refusals:
        nothing = dict.fromkeys(("winners", "losers", "forced", "keepers", "masters", "leftover", "text"), [])
        return {**nothing, "refusals": refusals}
    keepers = sorted({*_keepers(merged, names), *(forced if merged["dead"] else [])})
    leftover = [host for host in merged["masters"] if host not in [*losers, *keepers]]
    masters = [names[host] for host in forced] or (winners["nodes"] if losers else [])
    return {
        "winners": winners["hosts"] if winners and losers else [],
        "losers": losers,
        "forced": forced,
        "keepers": keepers,
        "masters": masters,
        "leftover": leftover,
        "refusals": [],
        "text": _text(winners, losers, forced, keepers, leftover, masters),
    }


def _can_be_forced(merged, survivor, winners):
    """Whether a node waits, or was stopped half-way through this, while no other one serves."""
    return not _serves(merged) and survivor in [
        *merged["waiting"],
        *([] if winners else [*merged["down"], *merged["stopped"]]),
    ]


def _serves(merged):
    waiting = {table for wait in merged["waiting"].values() for table in wait["tables"]}
    return any(waiting & set(island["tables"]) or not waiting for island in merged["islands"] if island["tables"])


def _keepers(merged, names):
    """Hosts whose node was made to load what it has, and is not to wait for those that are not back yet."""
    back = {name for island in merged["islands"] for name in island["nodes"]}
    known = {host: island["schema"] for island in merged["islands"] for host in island["hosts"]}
    return [
        host
        for host, masters in merged["masters"].items()
        if masters == [names[host]] and host in known and set(known[host]) - back
    ]


def _waiting(merged, names):
    """Say of each node that waits for whom and what it has, and how to go on."""
    if not merged["waiting"]:
        return []
    hosts = {name: host for host, name in names.items()}
    # Values of what a template has made can be gone through once.
    waits = list(merged["waiting"].values())
    seen_going = {name for wait in waits for name in wait["outlived"]}
    missing = {name for wait in waits for name in wait["members"]} - {names[host] for host in merged["waiting"]}
    newer = [hosts.get(name, name) for name in sorted(missing - seen_going)]
    older = [hosts.get(name, name) for name in sorted(missing & seen_going)]
    lines = [
        f"{names[host]} {why_waiting(wait['nodes'], sorted(wait['tables']))}. On its disk are {_rows(wait)}"
        for host, wait in merged["waiting"].items()
    ]
    if older:
        lines.append(f"What {', '.join(older)} has is older: it was seen going down by a node that waits")
    if newer:
        lines.append(f"What {', '.join(newer)} has may be newer. {_how_to_ask(merged, newer, older)}")
    lines.append(_how_to_force(merged))
    return lines


def _how_to_ask(merged, newer, older):
    """Say how a node is started that may have newer rows. Who has met another one forgets that it has outlived it."""
    lost = f"If {', '.join(newer)} is lost, go on without it: what it took in after the others had stopped is lost then"
    if older:
        return f"Start it, while {', '.join(older)} stays down, and run this again unless that serves then. {lost}"
    return (
        f"So that no row is lost, stop what waits (systemctl stop on {', '.join(merged['waiting'])}), start "
        f"{', '.join(newer)} without it, and start the rest when that serves. Not beside it: when all are up and all "
        "wait, Mnesia takes the rows of the first node by name. If that waits too, run this again. Nodes that wait "
        f"whichever is started first went down at once, and have as good as the same rows. {lost}"
    )


def _how_to_force(merged):
    def rank(host):
        wait = merged["waiting"][host]
        written = "" if _tells_nothing(wait) else wait["last_change"]
        return sum(rows or 0 for rows in wait["tables"].values()), written

    lost = sorted({*merged["unasked"], *merged["dead"]})
    dead = f" -e '{json.dumps({'erlmcp_cluster_dead': lost})}'" if lost else ""
    return (
        f"The rows of one node are served with -e erlmcp_cluster_survivor={max(merged['waiting'], key=rank)} "
        f"-e erlmcp_cluster_force_load=true{dead}. It is backed up before. The nodes of all other hosts that are "
        "reached are backed up too, and take over its rows. Nothing was changed"
    )


def _rows(wait):
    rows = ", ".join(f"{'?' if count is None else count} of {table}" for table, count in wait["tables"].items())
    if not wait["last_change"]:
        return rows
    when = "when it started, " if _tells_nothing(wait) else ""
    return f"{rows} (files last written {when}{wait['last_change']})"


def _tells_nothing(wait):
    """Whether the files of its tables were written by the start, which moves what is in the log to where it belongs."""
    return not wait["last_change"] or wait["last_change"] >= wait["started"]


def _refusals(merged, names, survivor, winners, losers, forced):
    blind = _blind(merged, names)
    # Whoever looks at a cluster after a power cut may reach one host only.
    waiting = [] if forced or _serves(merged) else _waiting(merged, names)
    if blind or (waiting and (winners or not survivor)):
        return waiting + blind
    if forced:
        return _still_cut(merged, losers)
    return waiting + _unrepairable(merged, names, survivor, winners, losers)


def _unrepairable(merged, names, survivor, winners, losers):
    if losers:
        return _not_repairable(merged, winners, losers)
    if survivor and not winners:
        what = "on no island" if survivor in names else "no host of the cluster"
        return [f"erlmcp_cluster_survivor is {survivor}, which is {what}: name one of {_listed(merged)}"]
    return [] if survivor else _undecided(merged, names)


def _blind(merged, names):
    """Whose rows would be lost must be known of every node."""
    return [
        *(
            f"erlmcp_cluster_dead names {host}, which is no host of the cluster: name some of {', '.join(names)}"
            for host in merged["dead"]
            if host not in names
        ),
        *(
            f"{host} was not asked: bring it back, run without --limit, or, when it is lost, name it in "
            "erlmcp_cluster_dead"
            for host in merged["unasked"]
        ),
        *(
            f"{host}: the node runs and does not answer its own host. Stop it there (systemctl stop), and run again"
            for host in merged["silent"]
        ),
        *(
            f"{host} is named in erlmcp_cluster_dead, and its node runs and is reached: take it off the list"
            for host in merged["undead"]
        ),
    ]


def _losers(merged, names, winners, forced):
    losing = {host for island in merged["islands"] if island is not winners for host in island["hosts"]}
    losing |= set(_members_down(merged, names, [winners] if winners else merged["islands"]))
    return [*forced, *(host for host in names if host in losing - set(forced))]


def _members_down(merged, names, islands):
    """Hosts whose node does not run, less those that are new and no member of anything yet."""
    known = {name for island in islands for name in island["schema"]}
    return [host for host in [*merged["down"], *merged["stopped"]] if names[host] in known or not islands]


def _still_cut(merged, hosts):
    cut = [f"{one} does not reach {other}" for one, other in merged["cut"] if one in hosts and other in hosts]
    if not cut:
        return []
    return [
        f"The network is still cut: {', '.join(cut)}. Let them reach each other's ports of epmd and distribution, "
        "and run again. Nothing was changed"
    ]


def _not_repairable(merged, winners, losers):
    refusals = _still_cut(merged, {*winners["hosts"], *losers})
    if winners["not_loaded"]:
        refusals.append(
            f"{', '.join(winners['hosts'])} cannot read {', '.join(winners['not_loaded'])}, so these rows cannot be "
            "kept: start the node that it waits for, or choose another side"
        )
    in_ram = [host for host in merged["in_ram"] if host in losers]
    if in_ram:
        several = f"leave_cluster with -e erlmcp_cluster_leaving={','.join(in_ram)} -e erlmcp_cluster_leaving_dead=true"
        refusals.append(
            f"{', '.join(in_ram)} has its schema in RAM, so it forgets the cluster when it is stopped. Run "
            f"{several + ', then ' if len(in_ram) > 1 else ''}replace_node with -e erlmcp_cluster_replaced=HOST, for "
            f"HOST {' and '.join(in_ram)}: its data is set aside, its rows in RAM are lost, and it joins anew"
        )
    for island in merged["islands"]:
        strangers = sorted(set(winners["nodes"]) - set(island["schema"]))
        strangers += sorted(set(island["nodes"]) - set(winners["schema"]))
        if strangers:
            refusals.append(
                f"{', '.join(island['hosts'])} and {', '.join(winners['hosts'])} do not have each other in their "
                f"schemas ({', '.join(strangers)} is missing): that is no partition. Let one side leave "
                "(leave_cluster) and join (join_cluster)"
            )
    return refusals


def _undecided(merged, names):
    if merged["partitioned"]:
        return [f"The cluster is partitioned: {_CHOOSE.format(hosts=_listed(merged))}"]
    down = _members_down(merged, names, merged["islands"])
    if down:
        return [
            f"{', '.join(down)} does not run. If a repair was interrupted, run it again with the "
            "erlmcp_cluster_survivor that it had; if not, that is no partition: start it with the playbook roll"
        ]
    return []


def _listed(merged):
    return " | ".join(", ".join(island["hosts"]) for island in merged["islands"]) or "none, for no nodes share tables"


def _text(winners, losers, forced, keepers, leftover, masters):
    lines = [f"The rows of {', '.join(winners['hosts'])} are kept, and served on."] if winners and losers else []
    for host in losers:
        if host in forced:
            lines.append(f"{host}: stop, back up, start with the rows that it has, whatever others may have.")
        elif forced:
            lines.append(f"{host}: stop, back up, start with the rows of {', '.join(masters)}.")
        else:
            lines.append(f"{host}: back up, stop, back up again, start with the rows of {', '.join(masters)}.")
    lines += [f"{host}: clear the master nodes that an earlier repair has left." for host in leftover]
    for host in keepers:
        lines.append(
            f"{host} stays its own master node until the others are back, so that it never waits for them again. When "
            "they come back they take over its rows, so start them while it runs. What only they had is gone then, "
            "unless it is in an archive of theirs. To keep it, run leave_cluster with -e erlmcp_cluster_leaving=HOST "
            "-e erlmcp_cluster_leaving_dead=true before they boot, and later replace_node with "
            "-e erlmcp_cluster_replaced=HOST, which sets aside what they had. When all are back or have left, run "
            "repair_partition once more."
        )
    return lines or ["Nothing is to be repaired."]
