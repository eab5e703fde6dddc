# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From what every member says to who joins whom, what moves where, and what must not be done; no input, no output."""

from __future__ import annotations

from dataclasses import dataclass, field

from .._core.errors import OpsError
from .view import ABSENT, RUNNING, STOPPED

# A table that has copies of several kinds is copied as the most durable of them.
_KINDS = ("disc_copies", "disc_only_copies", "ram_copies")


@dataclass(frozen=True)
class Join:
    """How a node becomes a member.

    :param node: its name.
    :param peer: the member through which it joins.
    :param members: the members before, the peer included, the node not.
    :param forget: whether they still have a node of this name, which was lost and built anew.
    :param keep: members whose schema is in RAM, and goes to disk first: they would forget the cluster at a restart.
    :param discard: whether it holds rows on disk, which are set aside.
    :param drop: its tables that hold rows in RAM only, which cannot be set aside.
    :param tables: the members' tables, to the kind of copy the node gets; ``None`` for a table with copies enough.
    :param rows: table to number of rows, as the peer has them.
    """

    node: str
    peer: str
    members: tuple
    forget: bool = False
    keep: tuple = ()
    discard: bool = False
    drop: tuple = ()
    tables: dict = field(default_factory=dict)
    rows: dict = field(default_factory=dict)

    @property
    def steps(self):
        forget = [f"{', '.join(self.members)}: forget the {self.node} that was lost"] if self.forget else []
        discard = [f"{self.node}: set its own rows aside"] if self.discard else []
        drop = [f"{self.node}: drop its own rows in {', '.join(self.drop)}, which are in RAM only"] if self.drop else []
        return [
            *forget,
            *_keep_steps(self.keep),
            *discard,
            *drop,
            f"{self.node}: join {', '.join(self.members)} through {self.peer}",
            *(
                f"{self.node}: {f'get {kind} of' if kind else 'read from the others'} table {name} "
                f"({self.rows[name]} rows)"
                for name, kind in self.tables.items()
            ),
        ]


@dataclass(frozen=True)
class Keep:
    """How a member that has its schema in RAM stays one when it restarts.

    :param node: its name.
    :param members: all members, the node included.
    """

    node: str
    members: tuple

    @property
    def steps(self):
        return _keep_steps([self.node])


@dataclass(frozen=True)
class Leave:
    """How a member ceases to be one.

    :param keep: survivors whose schema is in RAM, and goes to disk first, since they get a table on disk.
    :param moves: (table, node, kind) of the copies that others get first.
    :param copies: table to the nodes that have it afterwards.
    """

    node: str
    members: tuple
    moves: tuple = ()
    copies: dict = field(default_factory=dict)
    keep: tuple = ()

    @property
    def steps(self):
        return [
            *_keep_steps(self.keep),
            *(f"{node}: get {kind} of table {table}" for table, node, kind in self.moves),
            f"{self.node}: drain, stop, set its data and its cookie aside, mask its unit",
        ]


def plan_join(own, others, expected, seed=None, copies=0, discard=False):
    """Return the :class:`Join` of a node, the :class:`Keep` of a member, or ``None`` when there is nothing to do.

    :param own: its :class:`.view.View`.
    :param others: node name to :class:`.view.View` of the other expected members that answer.
    :param expected: names of all nodes that the cluster is to have, in the order of the inventory.
    :param seed: the node that the others join when there is no cluster yet.
    :param copies: how many nodes have a copy of each table, 0 for all.
    :param discard: whether rows of the node's own may be set aside.
    :raises OpsError: when joining would lose rows, merge clusters or cannot work.
    """
    if own.store.state == ABSENT or len(expected) < 2:
        return None
    _check_own(own, expected)
    if len(own.store.members) > 1:
        if not forgets(own.node, own.store.summary()):
            return None
        _check_whole(own.store.members, {own.node: own, **others})
        return Keep(own.node, own.store.members)
    peer = _peer(own, _running(others), expected, seed, discard)
    if peer is None:
        return None
    store = peer.store
    members = tuple(name for name in store.members if name != own.node)
    _check_whole(members, others, [own.node])
    _check_fit(own, peer)
    _check_rows(own, discard)
    _check_disk([own, *(others[name] for name in members)])
    if own.node in store.members:
        _check_last([own.node], store.tables)
    wanted = copies or len(expected)
    tables = {
        name: kind_of(table) if len([node for node in table.copies if node != own.node]) < wanted else None
        for name, table in store.tables.items()
    }
    return Join(
        own.node,
        peer.node,
        members,
        forget=own.node in store.members,
        keep=tuple(name for name in members if name in store.in_ram()),
        discard=any(table.rows and not _in_ram(table, own.node) for table in own.store.tables.values()),
        drop=_dropped(own),
        tables=tables,
        rows={name: table.rows for name, table in store.tables.items()},
    )


def forgets(name, store):
    """Whether a node would forget at a restart that it is a member, and can be kept from it.

    :param store: what :meth:`.view.Store.summary` says.
    """
    return name in store.get("in_ram", [])


def nodes_to_join(stores, expected, seed=""):
    """Return the names of the nodes that have to join others, or to keep what they joined, as far as can be told.

    :param stores: node name to its ``store``, as module ``node_info`` returns it; ``None`` for a node without Mnesia.
    :param expected: names of all nodes that the cluster is to have, in the order of the inventory.
    :param seed: the node that the others join when there is no cluster yet, if the operator has named one.
    """
    stores = {name: store for name, store in stores.items() if store and store["state"] != ABSENT}
    known = [name for name in expected if name in stores] if len(expected) > 1 else []
    alone = [name for name in known if len(stores[name]["members"]) < 2]
    if len(alone) < len(expected):
        return [name for name in known if name in alone or forgets(name, stores[name])]
    # What is not loaded yet may have rows.
    if any(None in stores[name].get("rows", {}).values() for name in alone):
        return alone
    # There is no cluster yet, and every node is known: the one that the others join has nothing to do.
    holding = [name for name in alone if any(stores[name].get("rows", {}).values())]
    if seed or len(holding) < 2:
        alone.remove(seed or (holding or alone)[0])
    return alone


def plan_leave(leaver, leaving, views, copies=0):
    """Return the :class:`Leave` of a member that runs.

    :param leaver: its name.
    :param leaving: names of all nodes that leave, the leaver included; some may have done so already.
    :param views: node name to :class:`.view.View` of every member that answers, the leaver's included.
    :param copies: how many nodes have a copy of each table, 0 for all.
    :raises OpsError: when nobody would be left, or a member does not run.
    """
    store = views[leaver].store
    if store.state == ABSENT:
        return Leave(leaver, ())
    if store.state == STOPPED:
        raise _refusal(
            f"Mnesia of {leaver} does not run, so it cannot hand over what it has: restart it, or let the "
            "others forget it (leave_cluster with -e erlmcp_cluster_leaving_dead=true)"
        )
    survivors = tuple(name for name in store.members if name not in leaving)
    if not survivors:
        raise _refusal(
            f"{leaver} is the last node that holds the tables: nobody would have them. Add another node first, or "
            "back it up and stop it"
        )
    _check_whole(survivors, views, leaving)
    moves, after = [], {}
    for name, table in store.tables.items():
        have = [node for node in table.copies if node in survivors]
        wanted = min(copies or len(survivors), len(survivors))
        free = sorted(
            (node for node in survivors if node not in have),
            key=lambda node: sum(node in nodes for nodes in after.values()),
        )
        gets = free[: max(wanted - len(have), 0)]
        moves += [(name, node, kind_of(table)) for node in gets]
        after[name] = sorted(have + gets)
    on_disk = {node for _table, node, kind in moves if kind != "ram_copies"}
    keep = tuple(node for node in survivors if node in on_disk and node in store.in_ram())
    _check_disk([views[name] for name in keep])
    return Leave(leaver, survivors, tuple(moves), after, keep)


def plan_forget(names, views, expected, still_run=False):
    """Return which nodes are forgotten, and the members that forget them; none when nobody knows them.

    :param names: nodes that were stopped for good, or lost.
    :param views: node name to :class:`.view.View` of the survivors that answer.
    :param expected: names of all nodes that were expected, to tell a mistyped name from one that has left.
    :param still_run: for check mode, in which a node that leaves was not stopped.
    :raises OpsError: when one still runs, has the last copy of a table, is unknown, or another member does not run.
    """
    stopped = [node for node, view in views.items() if view.store.state == STOPPED and node not in names]
    views = {node: view for node, view in _running(views).items() if node not in names}
    if stopped and not views:
        raise _refusal(
            f"Mnesia of {', '.join(stopped)} does not run, and nobody else can forget: restart it, and run again"
        )
    members = sorted({node for view in views.values() for node in view.store.members})
    unknown = [name for name in names if name not in members and name not in expected]
    if unknown:
        raise _refusal(
            f"{', '.join(unknown)} is unknown: neither the inventory nor the members ({', '.join(members)}) have it. "
            "Name one of them in erlmcp_cluster_leaving"
        )
    known = [name for name in names if name in members]
    if not known:
        return (), ()
    running = [name for name in known if any(name in view.store.running for view in views.values())]
    if running and not still_run:
        raise _refusal(
            f"{', '.join(running)} still runs: let it leave (leave_cluster without erlmcp_cluster_leaving_dead), or "
            "stop it on its host (systemctl stop)"
        )
    store = next(view.store for view in views.values() if set(known) & set(view.store.members))
    # In check mode a node that runs still has not moved its copies to others.
    _check_last(known, {table: each for table, each in store.tables.items() if not set(each.copies) & set(running)})
    survivors = tuple(node for node in store.members if node not in known)
    _check_whole(survivors, views, known)
    return tuple(known), survivors


def kind_of(table):
    """Return the kind of copy that another node gets of a table."""
    return next(kind for kind in _KINDS if kind in table.copies.values())


def _keep_steps(names):
    return [f"{', '.join(names)}: keep the schema on disk"] if names else []


def _in_ram(table, node):
    return table.copies.get(node) == "ram_copies"


def _dropped(own):
    return tuple(name for name, table in own.store.tables.items() if table.rows and _in_ram(table, own.node))


def _running(views):
    return {name: view for name, view in views.items() if view.store.state == RUNNING}


def _check_own(own, expected):
    strangers = sorted(set(own.store.members) - set(expected))
    if strangers and len(own.store.members) > 1:
        raise _refusal(
            f"{own.node} shares its tables with {', '.join(strangers)}, which the inventory does not have. If they "
            "are gone for good, let the others forget them (leave_cluster with -e erlmcp_cluster_leaving=NODE "
            "-e erlmcp_cluster_leaving_dead=true); if it is another cluster's, it must leave that one first"
        )


def _peer(own, others, expected, seed, discard):
    """The view of the member to join, or ``None`` for the node that the others join."""
    clusters = {
        frozenset(view.store.members) - {own.node}: view
        for view in reversed(list(others.values()))
        if len(view.store.members) > 1
    }
    if len(clusters) > 1:
        listed = "; ".join(sorted(", ".join(sorted(cluster)) for cluster in clusters))
        raise _refusal(
            f"{own.node} finds more than one cluster among the expected nodes: {listed}. Clusters are not merged. "
            "Choose whose rows are kept; of the others let all nodes but one leave (leave_cluster with "
            "-e erlmcp_hosts=PATTERN for the hosts of that cluster), set "
            "erlmcp_cluster_adopt: discard for the one that is left, and run again"
        )
    if clusters:
        # The first in the inventory, so that a run again takes the same.
        return next(view for view in others.values() if len(view.store.members) > 1)
    alone = {own.node: own, **others}
    ordered = [alone[name] for name in expected if name in alone]
    holding = [view for view in ordered if view.store.rows]
    if seed is not None:
        if seed not in alone:
            raise _refusal(
                f"{own.node} is to join {seed} (erlmcp_cluster_seed), and that does not answer, or its Mnesia does not "
                "run: start it, or name another host"
            )
        first = alone[seed]
    elif len(holding) > 1 and not discard:
        raise _refusal(
            f"more than one node holds rows of its own: {'; '.join(_holds(view) for view in holding)}. Name the one "
            "whose rows are kept in erlmcp_cluster_seed, and set erlmcp_cluster_adopt: discard for the others, whose "
            "rows are then set aside"
        )
    else:
        first = (holding or ordered)[0]
    return None if first is own else first


def _check_whole(members, views, leaving=()):
    """Every member answers, runs, and takes every other for running: what is planned can be proven from each."""
    problems = [f"{name} does not answer" for name in members if name not in views]
    for name in members:
        view = views.get(name)
        if view is None:
            continue
        if view.store.state != RUNNING:
            problems.append(f"Mnesia of {name} does not run")
            continue
        missing = sorted(set(members) - set(view.store.running) - set(leaving))
        if missing:
            problems.append(f"{name} takes {', '.join(missing)} for down")
    if problems:
        raise _refusal(
            f"the cluster is degraded or partitioned: {'; '.join(problems)}. Start what is down, repair a partition "
            "(repair_partition), or let the others forget a node that is gone for good (leave_cluster)"
        )


def _check_disk(views):
    """A member that may not have its schema on disk forgets the cluster when it restarts."""
    names = [view.node for view in views if not view.store.can_keep]
    if names:
        raise _refusal(
            f"Mnesia of {', '.join(names)} may not keep its schema on disk, so it would forget the cluster when it "
            "restarts: take schema_location out of section mnesia of erlmcp_node_config and run site, or leave the "
            "tables to the release (erlmcp_cluster_shared_tables: false)"
        )


def _check_last(names, tables):
    """Mnesia deletes a table without a word when the node with its last copy is forgotten."""
    last = sorted(name for name, table in tables.items() if set(table.copies) <= set(names))
    if last:
        raise _refusal(
            f"{', '.join(names)} has the last copy of {', '.join(last)}: bring it back with its data, or restore all "
            "nodes together, that one included, from archives (the playbook restore)"
        )


def _check_fit(own, peer):
    if own.otp != peer.otp:
        raise _refusal(
            f"{own.node} runs Erlang/OTP {own.otp}, {peer.node} {peer.otp}: give them releases with the same one first"
        )
    for name, table in own.store.tables.items():
        theirs = peer.store.tables.get(name)
        if theirs is not None and theirs.attributes != table.attributes:
            raise _refusal(
                f"table {name} has the fields {', '.join(table.attributes)} on {own.node} and "
                f"{', '.join(theirs.attributes)} on {peer.node}: give them the same release first"
            )


def _check_rows(own, discard):
    # Mnesia that is stopped shows no tables, and one that loads a table shows it empty.
    unread = [name for name, table in own.store.tables.items() if not table.loaded]
    if own.store.state != RUNNING or unread:
        why = f"{own.node} has not loaded {', '.join(unread)}" if unread else f"Mnesia of {own.node} does not run"
        raise _refusal(
            f"{why}, so it cannot be told whether it holds rows, which joining would replace. Wait until it serves "
            "(check_health), or restart it, and run again"
        )
    if own.store.rows and not discard:
        dropped = ", ".join(_dropped(own))
        but = f" (those of {dropped} are in RAM only and are dropped)" if dropped else ""
        raise _refusal(
            f"{_holds(own)} of its own, which joining would replace: set erlmcp_cluster_adopt: discard for this host "
            f"to have them set aside{but}, or leave each node its own tables (erlmcp_cluster_shared_tables: false for "
            "all hosts)"
        )


def _holds(view):
    return f"{view.node} holds " + ", ".join(
        f"{table.rows} rows in {name}" for name, table in view.store.tables.items() if table.rows
    )


def _refusal(message):
    return OpsError(message, kind="membership")
