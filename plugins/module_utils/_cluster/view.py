# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The store as a node sees it, and as every member that it reaches sees it.

One node's view proves nothing about the others: whoever decides something asks all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .._erlang.terms import Atom, format_term

RUNNING = "running"
STOPPED = "stopped"
ABSENT = "absent"

# For whom a node waits with a table that nobody has loaded: for copies on disk of nodes that it has not seen going
# down, so that they may have newer rows, or for its masters (with itself among them from its next start on). Where
# these run and wait themselves, for all copies: then Mnesia takes that of the first node by name, be it the oldest.
_WAITS_FOR = """
[N || mnesia:table_info(T, where_to_read) =:= nowhere,
    mnesia:table_info(T, active_replicas) =:= [],
    lists:member(T, mnesia:system_info(local_tables)),
    Masters <- [mnesia:table_info(T, master_nodes)],
    Copies <- [(mnesia:table_info(T, disc_copies) ++ mnesia:table_info(T, disc_only_copies)) -- [node()]],
    Newer <- [case Masters =:= [] orelse lists:member(node(), Masters) of
        true -> Copies -- mnesia_recover:get_mnesia_downs();
        false -> Masters
    end],
    Newer =/= [],
    N <- case Newer -- mnesia:system_info(running_db_nodes) of
        [] -> Copies -- mnesia:system_info(running_db_nodes);
        Missing -> Missing
    end]
"""
# Local tables are each node's own: they are neither copied nor compared.
_STORE = """
[{state, case code:which(mnesia) of
     non_existing -> absent;
     _ -> case {mnesia:system_info(is_running), mnesia:system_info(use_dir)} of
              {yes, _} -> running;
              {_, true} -> stopped;
              _ -> absent
          end
 end},
 {members, case code:which(mnesia) of non_existing -> []; _ -> lists:sort(mnesia:system_info(db_nodes)) end},
 {running, case code:which(mnesia) of non_existing -> []; _ -> lists:sort(mnesia:system_info(running_db_nodes)) end},
 {directory, case code:which(mnesia) of non_existing -> none; _ -> {mnesia:system_info(directory)} end},
 {outlived, case code:which(mnesia) =/= non_existing andalso mnesia:system_info(is_running) of
     yes -> lists:sort(mnesia_recover:get_mnesia_downs());
     _ -> []
 end},
 {on_disk, case code:which(mnesia) =/= non_existing andalso mnesia:system_info(is_running) of
     yes -> lists:sort(mnesia:table_info(schema, disc_copies));
     _ -> []
 end},
 {location, case code:which(mnesia) of non_existing -> none; _ -> mnesia:system_info(schema_location) end},
 {tables, case code:which(mnesia) =/= non_existing andalso mnesia:system_info(is_running) of
     yes -> [{T,
         [{N, K} || K <- [disc_copies, ram_copies, disc_only_copies], N <- mnesia:table_info(T, K)],
         case mnesia:table_info(T, size) of Rows when is_integer(Rows) -> Rows; _ -> 0 end,
         mnesia:table_info(T, where_to_read) =/= nowhere,
         {mnesia:table_info(T, attributes)},
         mnesia:table_info(T, master_nodes),
         WAITS_FOR}
         || T <- lists:sort(mnesia:system_info(tables)), T =/= schema, not mnesia:table_info(T, local_content)];
     _ -> []
 end}]
"""
STORE_QUESTION = " ".join(_STORE.replace("WAITS_FOR", _WAITS_FOR).split())

_VIEW_QUESTION = (
    "[{node, node()}, {otp, erlang:system_info(otp_release)}, {connected, lists:sort(nodes())} | "
    f"{STORE_QUESTION}]"
)


@dataclass(frozen=True)
class Table:
    """A table as the node's schema has it.

    :param copies: node name to ``disc_copies``, ``ram_copies`` or ``disc_only_copies``.
    :param rows: number of rows; 0 as long as the table is not loaded anywhere.
    :param loaded: whether the node that was asked can read it.
    :param attributes: names of the record's fields.
    :param masters: nodes that it is loaded from, whatever the others hold; empty unless set by a repair.
    :param waits_for: nodes without which the node does not load its own copy, since they may have newer rows.
    """

    copies: dict
    rows: int = 0
    loaded: bool = True
    attributes: tuple = ()
    masters: tuple = ()
    waits_for: tuple = ()

    def runs_besides(self, name, store):
        """Whether a node other than ``name`` has a copy and runs, as the node that was asked sees it."""
        return any(node in store.running for node in self.copies if node != name)


@dataclass(frozen=True)
class Store:
    """Mnesia of one node.

    :param state: ``running``, ``stopped`` or ``absent`` (the release has none, or does not use it).
    :param members: nodes in its schema, itself included.
    :param running: those of them that it takes to be running.
    :param directory: where it keeps its files, on the node's host.
    :param tables: name to :class:`Table`; empty unless it runs.
    :param on_disk: those of the members whose schema is on disk. One that has it in RAM, as Mnesia does until it is
        told otherwise, forgets the cluster when it restarts.
    :param can_keep: whether this node's schema may be on disk (``schema_location`` of Mnesia).
    :param outlived: members that it has seen going down, and not coming back yet.
    """

    state: str = ABSENT
    members: tuple = ()
    running: tuple = ()
    directory: str | None = None
    tables: dict = field(default_factory=dict)
    on_disk: tuple = ()
    can_keep: bool = True
    outlived: tuple = ()

    @property
    def rows(self):
        return sum(table.rows for table in self.tables.values())

    def in_ram(self):
        """Return the members whose schema is in RAM only, as this node sees it."""
        return sorted(set(self.members) - set(self.on_disk)) if self.state == RUNNING else []

    def forgetful(self):
        """Return those of them that forget the others at a restart, unless the release means them to."""
        return self.in_ram() if len(self.members) > 1 and self.can_keep else []

    def taken_for_down(self):
        """Return the members that do not run, as this node sees it."""
        return sorted(set(self.members) - set(self.running)) if self.state == RUNNING else []

    def waits(self):
        """Return for which nodes it waits, and with which tables."""
        return waits({name: table.waits_for for name, table in self.tables.items()})

    @property
    def is_loaded(self):
        """Whether this node shows all rows that it has, or has no Mnesia."""
        return self.state == ABSENT or (self.state == RUNNING and all(table.loaded for table in self.tables.values()))

    def summary(self):
        """Return what ``node_info`` reports."""
        waits_for, waiting = self.waits()
        return {
            "state": self.state,
            "members": list(self.members),
            "running": list(self.running),
            "in_ram": self.forgetful(),
            "waits_for": waits_for,
            "waiting": waiting,
            "rows": {name: table.rows if table.loaded else None for name, table in self.tables.items()},
        }


@dataclass(frozen=True)
class View:
    """One node as it sees itself and the others."""

    node: str
    otp: str
    connected: tuple
    store: Store


def waits(tables):
    """Return all nodes and all tables of those that wait, as sorted lists.

    :param tables: table to the nodes that it waits for.
    """
    return sorted({name for names in tables.values() for name in names}), sorted(
        table for table, names in tables.items() if names
    )


def why_waiting(waits_for, waiting):
    """Say what a node does that has not loaded its tables, and what to do.

    :param waits_for: names of nodes.
    :param waiting: names of tables.
    """
    return (
        f"waits for {', '.join(waits_for)} with its tables {', '.join(waiting)}: it does not know whose rows are the "
        "newest. How no row is lost tells the playbook repair_partition"
    )


def parse_store(answer):
    """Return the :class:`Store` from the answer to ``STORE_QUESTION``."""
    values = dict(answer)
    tables = {
        str(name): Table(
            {str(node): str(kind) for node, kind in copies},
            rows,
            loaded,
            tuple(str(each) for each in attributes[0]),
            tuple(str(each) for each in masters),
            tuple(sorted(str(each) for each in waits_for)),
        )
        for name, copies, rows, loaded, attributes, masters, waits_for in values["tables"]
    }
    directory = values["directory"]
    return Store(
        str(values["state"]),
        tuple(str(each) for each in values["members"]),
        tuple(str(each) for each in values["running"]),
        None if directory == "none" else directory[0],
        tables,
        tuple(str(each) for each in values["on_disk"]),
        str(values["location"]) != "ram",
        tuple(str(each) for each in values["outlived"]),
    )


def parse_view(answer):
    """Return the :class:`View` from a node's answer."""
    values = dict(answer)
    return View(
        str(values["node"]),
        values["otp"],
        tuple(str(each) for each in values["connected"]),
        parse_store(answer),
    )


def own_view(node):
    """Ask the node of this host.

    :param node: a :class:`.._erlang.node.Node`.
    :raises Unreachable: when it does not answer.
    """
    return parse_view(node.evaluate(_VIEW_QUESTION))


def views(node, names, timeout=10):
    """Ask nodes how they see the cluster, all at once, through the node of this host.

    :param names: node names; one that does not answer is left out.
    :param timeout: seconds.
    :return: node name to :class:`View`, in the order of ``names``.
    """
    answers = node.evaluate(
        f"{{ok, Words, _}} = erl_scan:string({format_term(_VIEW_QUESTION + '.')}), "
        "{ok, Question} = erl_parse:parse_exprs(Words), "
        "Calls = [{N, rpc:async_call(N, erl_eval, exprs, [Question, []])} "
        f"|| N <- {format_term([Atom(name) for name in names])}], "
        f"[{{N, case rpc:nb_yield(Call, {timeout * 1000}) of "
        "{value, {value, V, _}} -> {answer, V}; _ -> none end} || {N, Call} <- Calls]",
        timeout=timeout * max(len(names), 1) + 5,
    )
    return {str(name): parse_view(answer[1]) for name, answer in answers if answer != "none"}
