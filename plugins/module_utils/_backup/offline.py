# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tables of a node that does not run: read, built and exported by a virtual machine that lives for one answer.

It runs in the sandbox of the node, and ends with whoever waits for the answer, killed or not. It may bear the name of a
cluster's node, so it must not meet that cluster: it listens nowhere, connects to nobody, and its cookie is its own.
"""

from __future__ import annotations

import glob
import os
import re
import secrets
import stat

from .._core.errors import OpsError
from .._erlang.release import find_release, system_release
from .._erlang.sandbox import sandboxed
from .._erlang.terms import TermError, parse
from .erlang_text import BACKUP, COMMON, binary, mnesia_table, text

_DETS_COOKIE = b"\x00\xab\xcd\xef"
_ANSWER = re.compile(r"^(answer|failed):(.*)$", re.MULTILINE)

_ENDS_WITH_ITS_INPUT = "spawn(fun() -> open_port({fd, 0, 0}, [in, eof]), receive {_, eof} -> halt(1) end end),"

# Each(File, Fun, Acc) folds over the chunks of a Mnesia backup. disk_log says where bytes cannot be read;
# mnesia_backup:read/1 would skip them in silence.
_CHUNKS = r"""
Each = fun(Name, Fun, Start) ->
    Log = case disk_log:open([{name, make_ref()}, {file, Name}, {repair, false}, {mode, read_only}]) of
        {ok, Opened} -> Opened;
        {error, NotOpened} -> throw({cannot_open, NotOpened})
    end,
    Fold = fun Fold(At, Acc) ->
        case disk_log:chunk(Log, At) of
            eof -> Acc;
            {error, NotRead} -> throw({damaged, NotRead});
            {_, _, Bytes} -> throw({damaged, {unreadable_bytes, Bytes}});
            {Next, [Header | Items]} when At =:= start ->
                (catch {element(1, Header), element(2, Header)}) =:= {log_header, backup_log}
                    orelse throw({damaged, no_mnesia_backup}),
                Fold(Next, Fun(Items, Acc));
            {Next, Items} -> Fold(Next, Fun(Items, Acc))
        end
    end,
    End = Fold(start, Start),
    ok = disk_log:close(Log),
    End
end,
Whole = fun(Schema) -> is_map_key(schema, Schema) orelse throw({damaged, no_schema}), Schema end,
Nodes = fun(#{schema := Def}) ->
    [Text(Node) || Key <- [disc_copies, ram_copies], Node <- proplists:get_value(Key, Def, [])]
end,
Told = fun(Table, Def, Rows) -> Describe(Table, fun(Key) -> proplists:get_value(Key, Def) end, Rows) end,
Defined = fun
    ({schema, Table, Def}, Schema) when is_atom(Table), is_list(Def) -> Schema#{Table => Def};
    ({schema, Table}, Schema) -> maps:remove(Table, Schema);
    (_, Schema) -> Schema
end,
"""

_SCHEMA = r"""
Read = fun(Items, Schema) ->
    Found = lists:foldl(Defined, Schema, Items),
    case lists:all(fun(Item) -> is_tuple(Item) andalso element(1, Item) =:= schema end, Items) of
        true -> Found;
        false -> throw({schema, Found})
    end
end,
Schema = Whole(try Each(File(BACKUP), Read, #{}) catch throw:{schema, Found} -> Found end),
{Nodes(Schema), [Text(Node) || Node <- proplists:get_value(ram_copies, map_get(schema, Schema), [])],
    [Told(Table, Def, undefined) || {Table, Def} <- lists:sort(maps:to_list(Schema)), Table =/= schema]}
"""

# A row is {Table, Key, ...}, a delete marker {Table, Key}: what changed while the checkpoint was copied comes last, as
# a marker and the row of old. Match specifications turn a chunk into keys at the speed of built-in functions. Keys of
# a bag repeat, so its rows are told apart by digest; an ordered_set takes 1 and 1.0 for one key.
# Nearly every chunk holds rows of one table, that of the chunk before: then one pass gives all keys.
_COUNT = r"""
Kinds = ets:match_spec_compile([{'$1', [{'>', {size, '$1'}, 1}],
    [{{{element, 1, '$1'}, {'=:=', {size, '$1'}, 2}}}]}]),
Rows = fun(Table, Body) ->
    Spec = ets:match_spec_compile([{'$1', [{'=:=', {element, 1, '$1'}, {const, Table}}], [Body]}]),
    fun(Items) -> ets:match_spec_run(Items, Spec) end
end,
KeysOf = fun
    (Table, bag) ->
        Of = Rows(Table, '$1'),
        fun(Items) -> [{element(2, Row), erlang:md5(term_to_binary(Row))} || Row <- Of(Items)] end;
    (Table, _) -> Rows(Table, {{{element, 2, '$1'}}})
end,
Plain = fun
    (_Table, bag) -> none;
    (Table, _) -> ets:match_spec_compile([{'$1', [{'=:=', {element, 1, '$1'}, {const, Table}}, {'>', {size, '$1'}, 2}],
        [{{{element, 2, '$1'}}}]}])
end,
Open = fun
    ({schema, Table, Def}, Tables) when Table =/= schema ->
        Type = proplists:get_value(type, Def, set),
        Tables#{Table => {ets:new(keys, [Type, private]), KeysOf(Table, Type), Plain(Table, Type)}};
    (_, Tables) -> Tables
end,
Apply = fun
    ({Table, _}, _Items, Tables) when not is_map_key(Table, Tables) -> throw({damaged, rows_of_no_table});
    ({Table, false}, Items, Tables) ->
        {Keys, Of, _} = map_get(Table, Tables),
        ets:insert(Keys, Of(Items));
    ({Table, true}, Items, Tables) ->
        {Keys, Of, _} = map_get(Table, Tables),
        [case Item of {_, Key} -> ets:delete(Keys, Key); _ -> ets:insert(Keys, Of([Item])) end
            || Item <- Items, element(1, Item) =:= Table]
end,
Slowly = fun(Items, Schema0, Tables0) ->
    Found = ets:match_spec_run(Items, Kinds),
    length(Found) =:= length(Items) orelse throw({damaged, no_row}),
    Present = lists:usort(Found),
    {Schema, Tables} = case [Kind || {schema, _} = Kind <- Present] of
        [] -> {Schema0, Tables0};
        _ ->
            Of = [Item || Item <- Items, element(1, Item) =:= schema],
            {lists:foldl(Defined, Schema0, Of), lists:foldl(Open, Tables0, Of)}
    end,
    [Apply(Kind, Items, Tables) || {Table, Marked} = Kind <- Present, Table =/= schema,
        Marked orelse not lists:member({Table, true}, Present)],
    Last = case Present of
        [{Only, false}] when Only =/= schema -> map_get(Only, Tables);
        _ -> {none, none, none}
    end,
    {Schema, Tables, Last}
end,
Read = fun
    (Items, {Schema, Tables, {_, _, none}}) -> Slowly(Items, Schema, Tables);
    (Items, {Schema, Tables, {Keys, _, Spec} = Last}) ->
        New = ets:match_spec_run(Items, Spec),
        case length(New) =:= length(Items) of
            true -> ets:insert(Keys, New), {Schema, Tables, Last};
            false -> Slowly(Items, Schema, Tables)
        end
end,
Mnesia = fun(Name) ->
    {Schema, Tables, _} = Each(File(Name), Read, {#{}, #{}, {none, none, none}}),
    [Told(Table, Def, ets:info(element(1, map_get(Table, Tables)), size))
        || {Table, Def} <- lists:sort(maps:to_list(Whole(Schema))), Table =/= schema]
end,
"""

# The header of a DETS file holds its keypos at byte 28; a select of every row reads all of them.
_DETS = r"""
Damaged = fun(Why, Name) -> throw({damaged, Why, Name}) end,
KeyPosition = fun(Name) ->
    {ok, Stream} = file:open(Name, [read, raw, binary]),
    Header = file:pread(Stream, 28, 4),
    file:close(Stream),
    case Header of {ok, <<Position:32>>} when Position > 0 -> Position; _ -> Damaged(no_dets_file, Name) end
end,
OpenDets = fun OpenDets(Name, Position, [Type | Others]) ->
    Table = make_ref(),
    case dets:open_file(Table, [{file, Name}, {type, Type}, {keypos, Position}, {access, read}, {repair, false}]) of
        {ok, _} -> {Table, Type};
        {error, {type_mismatch, _}} when Others =/= [] -> OpenDets(Name, Position, Others);
        {error, {Why, _}} -> Damaged(Why, Name)
    end
end,
Length = fun
    Length('$end_of_table', Sum) -> Sum;
    Length({error, {Why, _}}, _) -> throw({damaged, Why});
    Length({Found, Next}, Sum) -> Length(dets:select(Next), Sum + length(Found))
end,
Dets = fun(Bytes) ->
    Name = File(Bytes),
    {Table, Type} = OpenDets(Name, KeyPosition(Name), [set, bag, duplicate_bag]),
    Sum = Length(dets:select(Table, [{'_', [], [true]}], 1000), 0),
    Sum =:= dets:info(Table, size) orelse Damaged(lost_rows, Name),
    ok = dets:close(Table),
    {Type, Sum}
end,
"""

# The conversion is change_node_name/5 of the Mnesia User's Guide, chapter "Mnesia System Information", section
# "Backup", for all nodes at once. Nothing can be installed on a node whose schema is in RAM, so it goes to disk.
_RENAME = r"""
Name = fun(Node) -> maps:get(Node, MAP, Node) end,
Keys = [ram_copies, disc_copies, disc_only_copies],
Renamed = fun
    ({frag_properties, Properties}) ->
        {frag_properties, [case Property of {node_pool, Pool} -> {node_pool, lists:map(Name, Pool)}; _ -> Property end
            || Property <- Properties]};
    ({Key, Value} = Property) ->
        case lists:member(Key, Keys) of true -> {Key, lists:map(Name, Value)}; false -> Property end
end,
OnDisk = fun(Def) ->
    [case Key of
        ram_copies -> {Key, []};
        disc_copies -> {Key, Nodes ++ proplists:get_value(ram_copies, Def, [])};
        _ -> {Key, Nodes}
    end || {Key, Nodes} <- Def]
end,
Convert = fun
    ({schema, schema, Def}, Acc) -> {[{schema, schema, lists:map(Renamed, OnDisk(Def))}], Acc};
    ({schema, db_nodes, Known}, Acc) -> {[{schema, db_nodes, lists:map(Name, Known)}], Acc};
    ({schema, Table, Def}, Acc) when is_list(Def) -> {[{schema, Table, lists:map(Renamed, Def)}], Acc};
    (Other, Acc) -> {[Other], Acc}
end,
Rename = fun(From, To) ->
    case mnesia:traverse_backup(From, mnesia_backup, To, mnesia_backup, Convert, ok) of
        {ok, ok} -> ok;
        {error, NotRenamed} -> throw({damaged, NotRenamed})
    end
end,
"""

# Load(): starts Mnesia and reads every table that has a copy here, also where the copies of other nodes may
# be newer: those nodes are not asked.
_LOAD = r"""
Load = fun() ->
    ok = mnesia:start(),
    Local = [Table || Table <- mnesia:system_info(local_tables), Table =/= schema],
    [case mnesia:force_load_table(Table) of
        yes -> ok;
        NotLoaded -> throw({not_loaded, Table, NotLoaded})
    end || Table <- Local],
    Local
end,
Stop = fun() -> stopped = mnesia:stop() end,
application:load(mnesia),
application:set_env(mnesia, dir, File(DIRECTORY)),
"""

_BUILD = r"""
Fallback = fun(From) ->
    case mnesia:install_fallback(From, [{scope, local}]) of
        ok -> ok;
        {error, NotInstalled} -> throw({damaged, NotInstalled})
    end
end,
ok = filelib:ensure_dir(filename:join(File(DIRECTORY), "schema.DAT")),
case CONVERTED of
    false -> Fallback(File(BACKUP));
    true ->
        Copy = filename:join(File(DIRECTORY), "renamed.backup"),
        Rename(File(BACKUP), Copy),
        Fallback(Copy),
        ok = file:delete(Copy)
end,
Local = Load(),
MASTER andalso [ok = mnesia:set_master_nodes(Table, [node()]) || Table <- [schema | Local]],
Built = [Describe(Table, fun(Key) -> mnesia:table_info(Table, Key) end,
    case lists:member(Table, Local) of true -> mnesia:table_info(Table, size); false -> undefined end)
    || Table <- lists:sort(mnesia:system_info(tables)), Table =/= schema],
Stop(),
Built
"""


class Offline:
    """Asks the Erlang of a release about tables that no node has open.

    Every method takes ``timeout`` in seconds and raises :class:`OpsError` (kind ``tables``) for what is damaged or
    cannot be read by the account. A damaged Mnesia backup may still read well: compare the rows.

    :param spec: the ``node`` option of a module.
    :param runner: a :class:`Runner`.
    :param writable: a directory that holds what is built or exported, and whose parents are root's: no other may be
        written.
    :param release: a :class:`Release`; the installed one, or else the host's own Erlang, when not given.
    """

    def __init__(self, spec, runner, writable, release=None):
        self.spec = spec
        self.runner = runner
        self.writable = writable
        self.release = release or find_release(spec) or system_release()
        if self.release is None:
            raise OpsError(
                f"no Erlang to read tables with: no release is installed under {spec['install_dir']}, and the host "
                "has no Erlang: run the playbook site, which lays down a release",
                kind="release",
            )

    def count(self, backup_file=None, dets_files=(), timeout=3600):
        """Return the rows of each table, delete markers applied, every row read.

        :param backup_file: a Mnesia backup.
        :param dets_files: paths of closed DETS files.
        :returns: dicts of ``kind`` (``mnesia``, ``dets``), ``name`` (of a DETS table: its path), ``type`` and
            ``rows``; for Mnesia also ``storage`` and ``nodes``.
        """
        backup = f"Mnesia({binary(backup_file)})" if backup_file else "[]"
        files = ",".join(map(binary, dets_files))
        program = COMMON + _CHUNKS + _COUNT + _DETS + f"{{{backup}, [Dets(Closed) || Closed <- [{files}]]}}"
        tables, dets = self._ask(program, timeout)
        return [mnesia_table(table) for table in tables] + [
            {"kind": "dets", "name": path, "type": str(kind), "rows": rows}
            for path, (kind, rows) in zip(dets_files, dets)
        ]

    def schema(self, backup_file, timeout=600):
        """Return what a Mnesia backup says of its schema.

        :returns: ``db_nodes``, ``in_ram`` (those whose schema was in RAM only), and ``tables`` (``name``, ``type``,
            ``storage``, ``nodes``).
        """
        program = COMMON + _CHUNKS + _SCHEMA.replace("BACKUP", binary(backup_file))
        nodes, in_ram, tables = self._ask(program, timeout)
        tables = [mnesia_table(table) for table in tables]
        for table in tables:
            del table["rows"]
        return {"db_nodes": sorted(map(text, nodes)), "in_ram": sorted(map(text, in_ram)), "tables": tables}

    def build(self, backup_file, mnesia_dir, node_name, node_map=None, master=False, timeout=3600, db_nodes=None):
        """Turn a Mnesia backup into a directory that ``node_name`` starts with.

        Copies on other nodes stay in the schema. It needs room for twice the backup, and as much memory as the node.

        :param mnesia_dir: path of an empty directory of the account; to be removed by the caller after a failure.
        :param node_map: new names by old ones.
        :param master: let the node load its tables without waiting for the others of the schema, always.
        :param db_nodes: whose the backup has to be, as somebody else says; another schema is refused.
        :returns: the tables like :meth:`count`; rows are ``None`` where this node has no copy.
        """
        node_map = {old: new for old, new in (node_map or {}).items() if old != new}
        schema = self.schema(backup_file)
        if db_nodes is not None and sorted(db_nodes) != schema["db_nodes"]:
            raise OpsError(
                f"the tables are of {', '.join(schema['db_nodes'])}, and the manifest says that they are of "
                f"{', '.join(db_nodes)}: one of them was changed, so take another archive",
                kind="archive",
            )
        _check_names(schema["db_nodes"], node_name, node_map)
        if os.path.isdir(mnesia_dir) and os.listdir(mnesia_dir):
            raise OpsError(f"{mnesia_dir} is not empty: a directory is built from nothing", kind="tables")
        names = ",".join(f"{_atom(old)} => {_atom(new)}" for old, new in node_map.items())
        program = (
            (COMMON + _RENAME + _LOAD + _BUILD)
            .replace("MAP", f"#{{{names}}}")
            .replace("CONVERTED", "true" if node_map or schema["in_ram"] else "false")
            .replace("BACKUP", binary(backup_file))
            .replace("DIRECTORY", binary(mnesia_dir))
            .replace("MASTER", "true" if master else "false")
        )
        return [mnesia_table(table) for table in self._ask(program, timeout, node_name)]

    def export(self, mnesia_dir, backup_file, node_name, timeout=3600):
        """Write a Mnesia backup of the tables in a directory, which is changed by it: give a copy.

        :param mnesia_dir: a copy of the directory of the stopped node ``node_name``.
        :param backup_file: path to write, by the account.
        """
        program = COMMON + BACKUP + _LOAD + f"Load(), Backup(File({binary(backup_file)})), Stop(), ok"
        self._ask(program.replace("DIRECTORY", binary(mnesia_dir)), timeout, node_name)

    def _ask(self, program, timeout, node_name=None):
        caught = (
            f'{_ENDS_WITH_ITS_INPUT} try begin {program} end of Answer -> io:format("~nanswer:~0p~n", [Answer]) '
            'catch _:Why -> io:format("~nfailed:~0p~n", '
            '[unicode:characters_to_binary(io_lib:format("~0tp", [Why]))]) end, halt(0).'
        )
        command = [*self._command(bool(node_name)), *(_hermit(node_name) if node_name else []), "-eval", caught]
        # No .erlang of the account is run, and its cookie is neither read nor made.
        environment = {"HOME": "/", **self.release.environment()}
        boxed = sandboxed(self.spec["release_name"], command, environment, timeout + 5, self.writable)
        done = self.runner.run(
            boxed or command,
            account=None if boxed else self.spec["user"],
            env={} if boxed else environment,
            timeout=timeout,
            tied=True,
        )
        if done.rc == 124:
            raise OpsError(f"the tables were not read in {timeout} s: allow more time", kind="tables")
        answer = _ANSWER.search(done.out)
        if not answer or not done.ok:
            raise OpsError(f"Erlang ended without an answer: {_telling(done)}", kind="tables")
        verdict, printed = answer.groups()
        try:
            term = parse(printed)
        except TermError as error:
            raise OpsError(f"Erlang gave an answer that cannot be read: {error}", kind="tables") from error
        if verdict == "failed":
            raise OpsError(f"the tables cannot be read: {term.decode('utf-8', 'replace')}", kind="tables")
        return term

    def _command(self, needs_mnesia):
        release = self.release
        paths = release.code_paths()
        if not _mnesia_in(paths):
            paths += sorted(glob.glob(os.path.join(release.system_lib, "mnesia-*", "ebin")))
        if needs_mnesia and not _mnesia_in(paths):
            raise OpsError(
                f"{release.root} comes without Mnesia, and so does the Erlang it runs on: tables of Mnesia need a "
                "release that includes it (on Debian the package erlang-mnesia)",
                kind="release",
            )
        return [
            *(os.path.join(release.erts_bin, "erlexec"), "-boot", release.boot),
            *("-boot_var", "SYSTEM_LIB_DIR", release.system_lib),
            *("-mode", "interactive", "-noshell", "-noinput", "+sbwt", "none"),
            *("-kernel", "logger_level", "error", "-pa", *paths),
        ]


def is_dets(path):
    """Return whether the file at ``path`` is a DETS table; a link is none.

    Told by the cookie ``16#abcdef`` in bytes 4 to 7, see "File layout" in ``lib/stdlib/src/dets_v9.erl`` of OTP.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        return stat.S_ISREG(os.fstat(descriptor).st_mode) and os.pread(descriptor, 4, 4) == _DETS_COOKIE
    finally:
        os.close(descriptor)


def _hermit(node_name):
    """The flags of a node that has a name, and neither port, epmd, nor peers."""
    host = node_name.partition("@")[2]
    return [
        *("-name" if "." in host else "-sname", node_name),
        *("-dist_listen", "false", "-start_epmd", "false", "-connect_all", "false"),
        *("-kernel", "dist_auto_connect", "never", "-setcookie", secrets.token_hex(16)),
    ]


def _mnesia_in(code_paths):
    return any(os.path.basename(os.path.dirname(path)).startswith("mnesia-") for path in code_paths)


def _check_names(known, node_name, node_map):
    unknown = sorted(set(node_map) - set(known))
    if unknown:
        raise OpsError(
            f"node_map names {', '.join(unknown)}, but the backup is of {', '.join(known)}: correct the map",
            kind="tables",
        )
    renamed = [node_map.get(name, name) for name in known]
    if len(set(renamed)) < len(renamed):
        raise OpsError(
            f"node_map gives two nodes of the backup one name ({', '.join(renamed)}): map each to its own",
            kind="tables",
        )
    if node_name not in renamed:
        raise OpsError(
            f"the backup is of {', '.join(known)}, not of {node_name}: map one of them to it with node_map",
            kind="tables",
        )


def _atom(name):
    return f"binary_to_atom({binary(name)},utf8)"


def _telling(done):
    lines = [line.strip() for line in f"{done.out}\n{done.err}".splitlines() if line.strip()]
    reasons = [line for line in lines if "rror" in line or "undef" in line or "terminating" in line]
    return " | ".join((reasons or lines)[:3]) or f"no output, status {done.rc}"
