# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the copies of a table have the same rows: a sum over the hashes of all rows, of each copy at one moment.

``phash2`` gives the same number on every machine and version, and a sum does not depend on the order. What one copy
lacks of another one no sum tells, so for that the hashes themselves are compared.
"""

from __future__ import annotations

import time

from .._erlang.terms import Atom, format_term

_LONGEST_SECONDS = 600
_ATTEMPTS = 5
_PAUSE_SECONDS = 0.5

# Evaluated on the node that has the copy. A release has no compiler: what is done for each row is left to built-in
# functions.
_SUM = """
Fold = fun
    Fold('$end_of_table', Rows, Sum) -> {Rows, Sum};
    Fold({Found, Next}, Rows, Sum) ->
        Hashed = lists:sum(lists:map(fun erlang:phash2/1, Found)),
        Fold(mnesia:select(Next), Rows + length(Found), (Sum + Hashed) band 16#FFFFFFFFFFFFFFFF)
end,
mnesia:async_dirty(fun() -> Fold(mnesia:select(T, [{'_', [], ['$_']}], 5000, read), 0, 0) end).
"""

# The lock is for writing, because that one is had on every node that has a copy, after what was committed has arrived
# there. An island that must not write, for its tables want a majority, gives no lock and needs none.
_TAKE = """
{ok, Words, _} = erl_scan:string(Text),
{ok, Question} = erl_parse:parse_exprs(Words),
Take = fun() ->
    Calls = [{N, rpc:async_call(N, erl_eval, exprs, [Question, [{'T', T}]])} || N <- Nodes],
    [{N, case rpc:nb_yield(Call, Timeout) of {value, {value, Summed, _}} -> Summed; _ -> none end}
        || {N, Call} <- Calls]
end,
case mnesia:transaction(fun() -> mnesia:write_lock_table(T), Take() end) of
    {atomic, Taken} -> Taken;
    {aborted, _} -> Take()
end
"""


# Two hashes of 27 bits each: with one, a row in a hundred thousand would be taken for another one.
_HASHES = """
Hash = fun(Row) -> {erlang:phash2(Row), erlang:phash2([Row])} end,
Fold = fun
    Fold('$end_of_table', Hashes) -> lists:usort(lists:append(Hashes));
    Fold({Found, Next}, Hashes) -> Fold(mnesia:select(Next), [lists:map(Hash, Found) | Hashes])
end,
mnesia:async_dirty(fun() -> Fold(mnesia:select(T, [{'_', [], ['$_']}], 5000, read), []) end).
"""

_LACKING = """
{ok, Words, _} = erl_scan:string(Text),
{ok, Question} = erl_parse:parse_exprs(Words),
Hashes = fun(N, T) ->
    case rpc:call(N, erl_eval, exprs, [Question, [{'T', T}]], Timeout) of {value, Found, _} -> Found; _ -> none end
end,
[{T, case {Hashes(Other, T), Hashes(node(), T)} of
    {Theirs, Own} when is_list(Theirs), is_list(Own) -> length(ordsets:subtract(Theirs, Own));
    _ -> none
end} || T <- Tables]
"""


def take_digests(node, copies):
    """Read every row of every copy, table by table. Writers of a table wait meanwhile.

    :param node: the :class:`.._erlang.node.Node` to ask through.
    :param copies: table to the names of the nodes whose copies are compared.
    :return: table to node to ``rows`` and ``digest``, 16 hexadecimal digits. The digests of a table are ``None`` when
        its rows change all the time outside of transactions. Copies that cannot be read are left out.
    """
    return {table: _settled(lambda table=table: _take(node, table, copies[table])) for table in copies}


def count_lacking(node, other, tables):
    """Count the rows that another node's copies have and this node's have not, changed ones among them.

    Both go on being written, so that is how it was a moment ago.

    :param node: the :class:`.._erlang.node.Node` to ask through.
    :param other: name of a node of another island.
    :param tables: names of tables that both have loaded.
    :return: table to number; a table that could not be compared is left out.
    """
    answers = _ask(node, _LACKING, _HASHES, {"Other": Atom(other), "Tables": [Atom(table) for table in tables]})
    return {str(table): count for table, count in answers if count != "none"}


def _settled(take):
    """Take digests until they tell something.

    What is written outside of transactions respects no lock. Copies that differ while they stay as they are, do differ.
    """
    before = None
    for _attempt in range(_ATTEMPTS):
        taken = take()
        if len(set(taken.values())) <= 1 or taken == before:
            return {name: {"rows": rows, "digest": f"{total:016x}"} for name, (rows, total) in taken.items()}
        before = taken
        time.sleep(_PAUSE_SECONDS)
    return {name: {"rows": rows, "digest": None} for name, (rows, _total) in taken.items()}


def _take(node, table, names):
    answers = _ask(node, _TAKE, _SUM, {"T": Atom(table), "Nodes": [Atom(name) for name in names]})
    return {str(name): tuple(summed) for name, summed in answers if summed != "none"}


def _ask(node, program, question, given):
    given = {**given, "Timeout": _LONGEST_SECONDS * 1000, "Text": " ".join(question.split())}
    bound = "".join(f"{name} = {format_term(value)}, " for name, value in given.items())
    return node.evaluate(bound + program, timeout=_LONGEST_SECONDS)
