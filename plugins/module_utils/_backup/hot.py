# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tables of a running node: which there are, and copies of them that agree with each other.

A process on the node does the work and is asked how far it is, for ``erl_call`` answers only at the end and may be
killed. When nobody has asked for a while, it ends and takes with it what it made.
"""

from __future__ import annotations

import contextlib
import time

from .._core import trees
from .._core.errors import OpsError
from .._erlang.told import at_most_a_line
from .erlang_text import BACKUP, COMMON, binary, mnesia_table, text

_QUESTION_SECONDS = 30
_ORPHANED_SECONDS = 60
_LONGEST_PAUSE_SECONDS = 1.0
# A node that copies writes all the time. One that waits for a lock, or for another node that hangs, may wait for ever.
_STALLED_SECONDS = 300

# Mnesia opens its own *.DAT and *.TMP files with DETS; what is in them is in its backup. Of a table
# that is on other nodes only it says that its size is 0.
_LOOK = (
    COMMON
    + r"""
Running = case erlang:module_loaded(mnesia) of true -> mnesia:system_info(is_running); false -> no end,
Directory = case Running of yes -> Path(mnesia:system_info(directory)); _ -> none end,
Rows = fun(Table) ->
    case mnesia:table_info(Table, where_to_read) =:= node() of
        true -> mnesia:table_info(Table, size);
        false -> undefined
    end
end,
Mnesia = case Running =:= yes andalso mnesia:system_info(use_dir) of
    true ->
        {Directory, [Text(Node) || Node <- lists:sort(mnesia:system_info(db_nodes))],
            [Describe(Table, fun(Key) -> mnesia:table_info(Table, Key) end, Rows(Table))
                || Table <- lists:sort(mnesia:system_info(tables)), Table =/= schema]};
    false -> Running
end,
Own = fun
    ({erlmcp_ops_backup, _}, _) -> true;
    (_, At) -> filename:dirname(At) =:= Directory andalso lists:member(filename:extension(At), [<<".DAT">>, <<".TMP">>])
end,
Dets = [{Text(Name), At, dets:info(Name, type), dets:info(Name, size)}
    || Name <- dets:all(), Opened <- [dets:info(Name, filename)], Opened =/= undefined, At <- [Path(Opened)],
       not Own(Name, At)],
{Mnesia, lists:keysort(2, Dets)}
"""
)

# Copy(Source, To, Worker): bchunk under safe_fixtable is how Mnesia copies an open DETS table to another node.
_COPY = r"""
Copy = fun(Source, To, Worker) ->
    Name = case [Open || Open <- dets:all(), Opened <- [dets:info(Open, filename)], Opened =/= undefined,
                         Path(Opened) =:= Source] of
        [Found | _] -> Found;
        [] -> exit({closed_meanwhile, Source})
    end,
    New = {erlmcp_ops_backup, make_ref()},
    {ok, New} = dets:open_file(New, [{file, To}, {type, dets:info(Name, type)},
        {keypos, dets:info(Name, keypos)}, {repair, false}]),
    ok = dets:safe_fixtable(Name, true),
    Chunks = fun Chunks(At) -> fun
        (read) ->
            is_process_alive(Worker) orelse exit(stopped),
            case dets:bchunk(Name, At) of
                '$end_of_table' -> end_of_input;
                {error, Why} -> exit(Why);
                {Next, Data} -> {Data, Chunks(Next)}
            end;
        (close) -> ok
    end end,
    Filled = dets:init_table(New, Chunks(start), [{format, bchunk}]),
    dets:safe_fixtable(Name, false),
    Closed = dets:close(New),
    case {Filled, Closed} of {ok, ok} -> ok; _ -> exit({Source, Filled, Closed}) end
end,
"""

_DISMISS = r"""
Dismiss = fun(Keep) ->
    case whereis(erlmcp_ops_backup) of
        undefined -> ok;
        Old ->
            Watch = monitor(process, Old),
            Old ! {stop, Keep},
            receive {'DOWN', Watch, process, _, _} -> ok end
    end
end,
"""

# The process belongs to no application and must not print through erl_call, which has gone.
_EXPORT = r"""
Dismiss(false),
Spool = File(SPOOL),
Files = [filename:join([Spool, "dets", integer_to_list(Number)]) || {Number, _} <- TABLES],
Parts = [filename:join(Spool, "mnesia.backup"), filename:join(Spool, "mnesia.backup.BUPTMP") | Files],
Work = fun() ->
    MNESIA andalso Backup(filename:join(Spool, "mnesia.backup")),
    Files =:= [] orelse (ok = file:make_dir(filename:join(Spool, "dets"))),
    [Copy(Source, To, self()) || {{_, Source}, To} <- lists:zip(TABLES, Files)],
    exit(done)
end,
Finish = fun(Keep) ->
    MNESIA andalso mnesia:deactivate_checkpoint(erlmcp_ops_backup),
    Keep orelse [file:delete(Part) || Part <- Parts]
end,
Answer = fun Answer(Worker, State) ->
    receive
        {ask, From, Tag} -> From ! {Tag, State}, Answer(Worker, State);
        {'EXIT', Worker, done} -> Answer(Worker, done);
        {'EXIT', Worker, Why} -> Answer(Worker, {failed, Text(Why)});
        {stop, Keep} when State =/= running -> Finish(Keep andalso State =:= done);
        {stop, _} -> exit(Worker, kill), receive {'EXIT', Worker, _} -> Finish(false) end
    after ORPHANED -> self() ! {stop, false}, Answer(Worker, State)
    end
end,
true = register(erlmcp_ops_backup, spawn(fun() ->
    group_leader(whereis(init), self()),
    process_flag(trap_exit, true),
    Answer(spawn_link(Work), running)
end)),
ok
"""

_ASK = r"""
case whereis(erlmcp_ops_backup) of
    undefined -> gone;
    Exporter ->
        Tag = monitor(process, Exporter),
        Exporter ! {ask, self(), Tag},
        receive
            {Tag, State} -> demonitor(Tag, [flush]), State;
            {'DOWN', Tag, process, _, _} -> gone
        end
end
"""


def look(node):
    """Return the tables of a running node.

    :param node: a ``Node``.
    :returns: ``state`` of Mnesia (``yes``, ``no``, ``starting``, ``stopping``); ``mnesia``, a dict of ``directory``,
        ``db_nodes`` and ``tables`` (``name``, ``type``, ``storage``, ``nodes``, ``rows``; rows are ``None`` where this
        node has no copy, or has not loaded it), or ``None`` when Mnesia does not run or keeps nothing on disc; and
        ``dets``, the open DETS tables (``name``, ``file``, ``type``, ``rows``).
    """
    mnesia, dets = node.evaluate(_LOOK, timeout=_QUESTION_SECONDS)
    state = "yes" if isinstance(mnesia, tuple) else str(mnesia)
    if isinstance(mnesia, tuple):
        directory, db_nodes, tables = mnesia
        mnesia = {
            "directory": text(directory),
            "db_nodes": [text(each) for each in db_nodes],
            "tables": [mnesia_table(table) for table in tables],
        }
    else:
        mnesia = None
    return {
        "state": state,
        "mnesia": mnesia,
        "dets": [
            {"kind": "dets", "name": text(name), "file": text(file), "type": str(kind), "rows": rows}
            for name, file, kind, rows in dets
        ],
    }


def export_hot(node, spool_dir, seen, timeout):
    """Let the node write copies of its tables; nothing is left of it when that fails.

    Mnesia's go to ``mnesia.backup``, consistent with each other; the DETS table at index n of ``seen["dets"]`` goes
    to ``dets/<n>``, a closed DETS file with at least the rows it had when the export began.

    :param node: a ``Node``.
    :param spool_dir: an empty directory that the account may write to.
    :param seen: what :func:`look` returned.
    :param timeout: seconds for all of it.
    :raises OpsError: when a table cannot be copied, it takes too long, or nothing is written for five minutes.
    """
    tables = ",".join(f"{{{number},{binary(table['file'])}}}" for number, table in enumerate(seen["dets"]))
    export = (
        _EXPORT.replace("SPOOL", binary(spool_dir))
        .replace("TABLES", f"[{tables}]")
        .replace("MNESIA", "true" if seen["mnesia"] else "false")
        .replace("ORPHANED", str(_ORPHANED_SECONDS * 1000))
    )
    try:
        node.evaluate(COMMON + BACKUP + _COPY + _DISMISS + export, timeout=_QUESTION_SECONDS)
        _wait(node, spool_dir, timeout)
    except BaseException:
        with contextlib.suppress(OpsError):
            node.evaluate(f"{_DISMISS} Dismiss(false)", timeout=_QUESTION_SECONDS)
        raise
    node.evaluate(f"{_DISMISS} Dismiss(true)", timeout=_QUESTION_SECONDS)


def _wait(node, spool_dir, timeout):
    written, progressed = 0, time.monotonic()
    end = progressed + timeout
    pause = 0.05
    while True:
        state = node.evaluate(_ASK, timeout=_QUESTION_SECONDS)
        if state == "done":
            return
        if state == "gone":
            raise OpsError(f"the export on {node.name} was ended by someone else: try again", kind="tables")
        if state != "running":
            raise OpsError(f"{node.name} could not copy its tables: {at_most_a_line(text(state[1]))}", kind="tables")
        now, size = time.monotonic(), trees.size(spool_dir)
        if size != written:
            written, progressed = size, now
        if now - progressed > _STALLED_SECONDS:
            raise OpsError(
                f"{node.name} has written nothing of its tables for {_STALLED_SECONDS} s: it hangs, or another node "
                "with copies of them does. The playbook check_health tells which one; restart it, and back up again",
                kind="tables",
            )
        if now > end:
            raise OpsError(f"{node.name} did not copy its tables in {timeout} s: allow more time", kind="tables")
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
