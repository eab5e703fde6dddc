# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a cluster that is split becomes one again: whose rows are kept, and who loads them anew. Pure."""

from __future__ import annotations

_CHOOSE = (
    "name a host of the island whose rows are kept: -e erlmcp_cluster_survivor=HOST, one of {hosts}. Every node of "
    "the other islands is backed up, stopped, backed up again, and started with the rows of that island. Nothing was "
    "changed"
)


def plan_repair(merged, names, survivor=""):
    """Decide what is to be done on which host.

    Every member outside of the surviving island loses, one that does not run included: that is how a repair which was
    killed between stop and start is finished. It has no other memory than what the nodes say.

    :param merged: what :func:`.islands.merge` says.
    :param names: host to node name, for the whole cluster.
    :param survivor: a host of the island whose rows are kept; empty where none was chosen.
    :return: ``winners``, ``losers`` and ``leftover`` (hosts), ``masters`` (node names), ``refusals`` and ``text``.
        ``leftover`` are hosts that have master nodes set and must not.
    """
    winners = next((island for island in merged["islands"] if survivor in island["hosts"]), None)
    losers = _losers(merged, names, winners) if winners else []
    refusals = _blind(merged) or _refusals(merged, names, survivor, winners, losers)
    if refusals:
        return {"winners": [], "losers": [], "masters": [], "leftover": [], "refusals": refusals, "text": []}
    leftover = [host for host in merged["masters"] if host not in losers]
    masters = winners["nodes"] if losers else []
    return {
        "winners": winners["hosts"] if losers else [],
        "losers": losers,
        "masters": masters,
        "leftover": leftover,
        "refusals": [],
        "text": _text(winners, losers, leftover, masters),
    }


def _refusals(merged, names, survivor, winners, losers):
    if losers:
        return _not_repairable(merged, winners, losers)
    if survivor and not winners:
        what = "on no island" if survivor in names else "no host of the cluster"
        return [f"erlmcp_cluster_survivor is {survivor}, which is {what}: name one of {_listed(merged)}"]
    return [] if survivor else _undecided(merged, names)


def _blind(merged):
    """Whose rows would be lost must be known of every node."""
    return [
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


def _losers(merged, names, winners):
    losing = {host for island in merged["islands"] if island is not winners for host in island["hosts"]}
    losing |= set(_members_down(merged, names, [winners]))
    return [host for host in names if host in losing]


def _members_down(merged, names, islands):
    """Hosts whose node does not run, less those that are new and no member of anything yet."""
    known = {name for island in islands for name in island["schema"]}
    return [host for host in [*merged["down"], *merged["stopped"]] if names[host] in known or not islands]


def _not_repairable(merged, winners, losers):
    hosts = {*winners["hosts"], *losers}
    cut = [f"{one} does not reach {other}" for one, other in merged["cut"] if one in hosts and other in hosts]
    refusals = []
    if cut:
        refusals.append(
            f"The network is still cut: {', '.join(cut)}. Let them reach each other's ports of epmd and distribution, "
            "and run again. Nothing was changed"
        )
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


def _text(winners, losers, leftover, masters):
    if not losers and not leftover:
        return ["Nothing is to be repaired."]
    lines = [f"The rows of {', '.join(winners['hosts'])} are kept, and served on."] if losers else []
    for host in losers:
        lines.append(f"{host}: back up, stop, back up again, start with the rows of {', '.join(masters)}.")
    return lines + [f"{host}: clear the master nodes that an earlier repair has left." for host in leftover]
