# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Erlang text that the running node and the throw-away virtual machine have in common, and how its answers are read.

A release has no compiler, so all of it is interpreted: loops over rows are left to built-in functions.

Names and paths travel as binaries of byte values, in both directions: that holds for any atom and any file name,
whatever the encoding of the virtual machine.
"""

from __future__ import annotations

import os

# Text(Term), Path(Name) and Describe(Table, Get, Rows), where Get gives a property of a Mnesia table.
COMMON = r"""
Text = fun
    (Atom) when is_atom(Atom) -> atom_to_binary(Atom, utf8);
    (Term) -> unicode:characters_to_binary(io_lib:format("~0tp", [Term]))
end,
Path = fun(Name) ->
    % Without asking for the working directory, which may be gone.
    Absolute = case filename:pathtype(Name) of absolute -> filename:join([Name]); _ -> filename:absname(Name) end,
    case Absolute of
        Raw when is_binary(Raw) -> Raw;
        Characters -> unicode:characters_to_binary(Characters, unicode, file:native_name_encoding())
    end
end,
File = fun(Bytes) -> unicode:characters_to_list(Bytes, file:native_name_encoding()) end,
Describe = fun(Table, Get, Rows) ->
    Copies = [{Storage, Nodes} || Storage <- [disc_copies, disc_only_copies, ram_copies],
        Nodes <- [Get(Storage)], is_list(Nodes), Nodes =/= []],
    Storage = case Copies of [{First, _} | _] -> First; [] -> external end,
    {Text(Table), Get(type), Storage, [Text(Node) || {_, Nodes} <- Copies, Node <- Nodes], Rows}
end,
"""

# Backup(File): of the schema and of every table that has a copy here, or a live one elsewhere. A table with copies
# on stopped nodes alone keeps its definition and loses no rows: they are in the backup of those nodes. Copies in RAM
# are taken as they are, not as they were dumped; other nodes retain nothing for it. The checkpoint has a fixed name, so
# that the next export finds what a killed one left.
BACKUP = r"""
Backup = fun(To) ->
    mnesia:deactivate_checkpoint(erlmcp_ops_backup),
    Tables = [Table || Table <- mnesia:system_info(tables),
        mnesia:table_info(Table, storage_type) =/= unknown orelse mnesia:table_info(Table, where_to_read) =/= nowhere],
    case mnesia:activate_checkpoint([{name, erlmcp_ops_backup}, {min, Tables}, {ram_overrides_dump, true}]) of
        {ok, _, _} -> ok;
        {error, NotActive} -> exit(NotActive)
    end,
    Written = mnesia:backup_checkpoint(erlmcp_ops_backup, To, mnesia_backup),
    mnesia:deactivate_checkpoint(erlmcp_ops_backup),
    case Written of ok -> ok; {error, NotWritten} -> exit(NotWritten) end
end,
"""


def binary(text):
    """Return Erlang text for the bytes of a name or path."""
    return f"<<{','.join(map(str, os.fsencode(text)))}>>"


def text(value):
    """Return the name or path that Erlang answered as a binary."""
    return os.fsdecode(value)


def mnesia_table(described):
    """Return a table as ``Describe`` tells it: name, type, storage, nodes, and rows (``None``: not counted)."""
    name, kind, storage, nodes, rows = described
    return {
        "kind": "mnesia",
        "name": text(name),
        "type": str(kind),
        "storage": str(storage),
        "nodes": sorted(map(text, nodes)),
        "rows": rows,
    }
