# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a node has on disk of tables that it has not loaded, since it waits for others that may have newer rows.

Mnesia does not tell. Its files do: a table is in its ``DCD``, and what was written later in its ``DCL``, to which the
node has added what was in the log when it started. Nobody writes to them as long as the table is not loaded.
"""

from __future__ import annotations

from .._erlang.terms import Atom, format_term

_LONGEST_SECONDS = 600

# For the time of the question the rows are in memory, as they will be once the table is loaded.
_COUNT = """
File = fun(T, Kind) -> filename:join(mnesia:system_info(directory), atom_to_list(T) ++ Kind) end,
Fold = fun Fold(Log, At, Take) ->
    case disk_log:chunk(Log, At) of
        eof -> ok;
        {Next, Found} -> lists:foreach(Take, Found), Fold(Log, Next, Take)
    end
end,
Read = fun(Name, Take) ->
    case disk_log:open([{name, make_ref()}, {file, Name}, {repair, false}, {mode, read_only}]) of
        {ok, Log} -> Fold(Log, start, Take), ok = disk_log:close(Log);
        {error, {file_error, _, enoent}} -> ok
    end
end,
Logged = fun(T) ->
    Rows = ets:new(rows, [mnesia:table_info(T, type), {keypos, 2}]),
    Read(File(T, ".DCD"), fun(Row) -> element(1, Row) =:= log_header orelse ets:insert(Rows, Row) end),
    Read(File(T, ".DCL"), fun
        ({{_, _}, Row, write}) -> ets:insert(Rows, Row);
        ({{_, Key}, _, delete}) -> ets:delete(Rows, Key);
        ({{_, _}, Row, delete_object}) -> ets:delete_object(Rows, Row);
        ({{_, _}, Row, update_counter}) -> ets:insert_new(Rows, Row);
        ({{_, _}, _, clear_table}) -> ets:delete_all_objects(Rows);
        (_) -> ok
    end),
    Count = ets:info(Rows, size),
    ets:delete(Rows),
    Count
end,
Closed = fun(T) ->
    Table = make_ref(),
    {ok, _} = dets:open_file(Table, [{file, File(T, ".DAT")}, {type, mnesia:table_info(T, type)}, {keypos, 2},
        {access, read}, {repair, false}]),
    Count = dets:info(Table, size),
    ok = dets:close(Table),
    Count
end,
[{T, try case mnesia:table_info(T, storage_type) of disc_only_copies -> Closed(T); _ -> Logged(T) end
    catch _:_ -> unknown end} || T <- Tables]
"""


def rows_on_disk(node, tables):
    """Count the rows of the node's own copies.

    :param node: a :class:`.._erlang.node.Node`.
    :param tables: names of tables that it has a copy of and has not loaded.
    :return: table to number, ``None`` where its files cannot be read.
    """
    if not tables:
        return {}
    listed = format_term([Atom(table) for table in tables])
    answers = node.evaluate(f"Tables = {listed}, {_COUNT}", timeout=_LONGEST_SECONDS)
    return {str(table): None if rows == "unknown" else rows for table, rows in answers}
