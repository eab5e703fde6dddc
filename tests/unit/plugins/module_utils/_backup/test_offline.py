# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.erlang_text import binary
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.tables import Offline, is_dets
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Completed, Runner
from ansible_collections.erlmcp.ops.plugins.module_utils._erlang.release import Release
from ansible_collections.erlmcp.ops.tests.unit.plugins.module_utils._backup.erlang_nodes import (
    private_erlang,
    run_alone,
)

OLD, NEW, PEER = "old@127.0.0.1", "new@127.0.0.1", "peer@127.0.0.1"
ODD_NAME = "Ünï \"quoted\" 'name'"
SIZES = {"set table": 3000, "bag": 3000, ODD_NAME: 300, "ram": 40, "only": 500, "empty": 0}

TABLES = r"""
File = fun unicode:characters_to_list/1,
Node = [node()],
Odd = binary_to_atom(ODD_NAME, utf8),
ok = mnesia:create_schema(Node),
ok = mnesia:start(),
[{atomic, ok} = mnesia:create_table(Table, Options) || {Table, Options} <- [
    {'set table', [{disc_copies, Node}]},
    {bag, [{disc_copies, Node}, {type, bag}]},
    {Odd, [{disc_copies, Node}, {type, ordered_set}, {record_name, row}]},
    {ram, [{ram_copies, Node}]},
    {only, [{disc_only_copies, Node}, {record_name, row}]},
    {empty, [{disc_copies, Node}]}]],
[mnesia:dirty_write('set table', {'set table', {key, Key}, binary:copy(<<"v">>, 100)}) || Key <- lists:seq(1, 3000)],
[mnesia:dirty_write(bag, {bag, Key rem 30, Key}) || Key <- lists:seq(1, 3000)],
[mnesia:dirty_write(Odd, {row, Key, x}) || Key <- lists:seq(1, 300)],
[mnesia:dirty_write(ram, {ram, Key, x}) || Key <- lists:seq(1, 40)],
[mnesia:dirty_write(only, {row, Key, x}) || Key <- lists:seq(1, 500)]
"""

# While the checkpoint is active every row changes: the backup then holds new rows, markers, and the old rows.
BACKUP = r"""
{ok, all, _} = mnesia:activate_checkpoint([{name, all}, {max, mnesia:system_info(tables)}, {ram_overrides_dump, true}]),
CHANGE
ok = mnesia:backup_checkpoint(all, File(TARGET), mnesia_backup),
mnesia:stop()
"""

CHANGES = r"""
[mnesia:dirty_delete('set table', {key, Key}) || Key <- lists:seq(1, 3000, 3)],
[mnesia:dirty_write('set table', {'set table', {key, Key}, changed}) || Key <- lists:seq(2, 3000, 3)],
[mnesia:dirty_write('set table', {'set table', {added, Key}, changed}) || Key <- lists:seq(1, 100)],
[mnesia:dirty_write(bag, {bag, Key rem 30, {added, Key}}) || Key <- lists:seq(1, 60)],
[mnesia:dirty_delete_object({bag, Key rem 30, Key}) || Key <- lists:seq(1, 10)],
[mnesia:dirty_write(Odd, {row, Key * 1.0, changed}) || Key <- lists:seq(1, 10)],
[mnesia:dirty_delete(ram, Key) || Key <- lists:seq(1, 10)],
[mnesia:dirty_write(only, {row, Key, added}) || Key <- lists:seq(1, 600)],
"""


def write_backup(path, change=""):
    program = TABLES.replace("ODD_NAME", binary(ODD_NAME)) + "," + BACKUP.replace("TARGET", binary(path))
    run_alone(OLD, path.parent / "mnesia", program.replace("CHANGE", change))


def rows(tables):
    return {table["name"]: table["rows"] for table in tables}


def spec(name=OLD, install_dir="/nothing installed"):
    return {
        "name": name,
        "name_type": "long",
        "user": None,
        "release_name": "erlmcp",
        "home_dir": "/nonexistent",
        "install_dir": str(install_dir),
    }


@pytest.fixture(scope="module")
def backup(tmp_path_factory):
    path = tmp_path_factory.mktemp("backup Ünï") / "mnesia.backup"
    write_backup(path)
    return path


@pytest.fixture
def offline():
    return Offline(spec(), Runner(), "/nothing written")


def test_schema(offline, backup):
    schema = offline.schema(str(backup))
    assert schema["db_nodes"] == [OLD]
    assert {(t["name"], t["type"], t["storage"]) for t in schema["tables"]} == {
        ("set table", "set", "disc_copies"),
        ("bag", "bag", "disc_copies"),
        (ODD_NAME, "ordered_set", "disc_copies"),
        ("ram", "set", "ram_copies"),
        ("only", "set", "disc_only_copies"),
        ("empty", "set", "disc_copies"),
    }
    assert all(t["nodes"] == [OLD] for t in schema["tables"])


def test_count_is_exact(offline, backup):
    assert rows(offline.count(str(backup))) == SIZES


def test_count_applies_delete_markers(offline, tmp_path):
    write_backup(tmp_path / "mnesia.backup", CHANGES)
    assert rows(offline.count(str(tmp_path / "mnesia.backup"))) == SIZES
    assert rows(offline.build(str(tmp_path / "mnesia.backup"), str(tmp_path / "built"), OLD)) == SIZES


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.999])
def test_a_truncated_backup_does_not_count_right(offline, backup, tmp_path, share):
    content = backup.read_bytes()
    cut = tmp_path / "cut"
    cut.write_bytes(content[: int(len(content) * share)])
    assert outcome(offline, cut) != SIZES


@pytest.mark.parametrize("place", [3, 30, 5000, 0.3, 0.6, 0.9])
def test_a_backup_with_flipped_bits_does_not_count_right(offline, backup, tmp_path, place):
    content = bytearray(backup.read_bytes())
    at = place if isinstance(place, int) else int(len(content) * place)
    # Enough of them to hit the structure of a row: inside a value only checksums would tell.
    for offset in range(120):
        content[at + offset] ^= 0x40
    flipped = tmp_path / "flipped"
    flipped.write_bytes(content)
    assert outcome(offline, flipped) != SIZES


def outcome(offline, path):
    try:
        return rows(offline.count(str(path)))
    except OpsError as error:
        return str(error)


@pytest.mark.parametrize("content", [b"", b"no backup at all" * 100])
def test_what_is_no_backup_is_refused(offline, tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(OpsError, match=r"the tables cannot be read: \{cannot_open,"):
        offline.count(str(tmp_path / "file"))


def test_a_missing_backup_is_named(offline, tmp_path):
    with pytest.raises(OpsError, match=r"enoent|no_such"):
        offline.count(str(tmp_path / "nothing"))


def test_count_of_dets_files(offline, tmp_path):
    program = r"""
    [begin
        {ok, T} = dets:open_file(make_ref(), [{file, unicode:characters_to_list(P)}, {type, Type}, {keypos, Key}]),
        dets:insert(T, [{row, N rem Modulo, N} || N <- lists:seq(1, 5000)]),
        dets:close(T)
    end || {P, Type, Key, Modulo} <- [{SET, set, 2, 7000}, {BAG, bag, 2, 10}, {DUPLICATE, duplicate_bag, 1, 10}]]"""
    paths = [str(tmp_path / name) for name in ("Ünï set", "bag", "duplicate")]
    for word, path in zip(("SET", "BAG", "DUPLICATE"), paths):
        program = program.replace(word, binary(path))
    run_alone(OLD, tmp_path, program)
    assert all(is_dets(path) for path in paths)
    assert [(t["kind"], t["name"], t["type"], t["rows"]) for t in offline.count(dets_files=paths)] == [
        ("dets", paths[0], "set", 5000),
        ("dets", paths[1], "bag", 5000),
        ("dets", paths[2], "duplicate_bag", 5000),
    ]
    content = bytearray((tmp_path / "bag").read_bytes())
    content[8:12] = b"\0\0\0\0"
    (tmp_path / "open").write_bytes(content)
    with pytest.raises(OpsError, match=r"damaged,needs_repair,.*open"):
        offline.count(dets_files=[str(tmp_path / "open")])
    (tmp_path / "cut").write_bytes((tmp_path / "bag").read_bytes()[:20000])
    with pytest.raises(OpsError, match=r"damaged,.*cut"):
        offline.count(dets_files=[str(tmp_path / "cut")])


def test_is_dets(tmp_path):
    (tmp_path / "text").write_text("no table")
    (tmp_path / "link").symlink_to(tmp_path / "text")
    os.mkfifo(tmp_path / "pipe")
    assert not any(is_dets(tmp_path / name) for name in ("text", "link", "pipe", "missing"))
    assert not is_dets(tmp_path)


def test_build_under_another_name(offline, backup, tmp_path):
    built = tmp_path / "Ünï"
    assert rows(offline.build(str(backup), str(built), NEW, {OLD: NEW})) == SIZES
    assert "renamed.backup" not in os.listdir(built)
    shutil.copytree(built, tmp_path / "started")
    told = run_alone(
        NEW,
        tmp_path / "started",
        "ok = mnesia:start(), Tables = mnesia:system_info(tables), ok = mnesia:wait_for_tables(Tables, 10000),"
        'io:format("~p ~p", [mnesia:system_info(db_nodes), [mnesia:table_info(T, size) || T <- lists:sort(Tables)]])',
    )
    assert told == f"['{NEW}'] [3000,0,500,40,7,3000,300]"
    offline.export(str(built), str(tmp_path / "again"), NEW)
    assert rows(offline.count(str(tmp_path / "again"))) == SIZES
    assert offline.schema(str(tmp_path / "again"))["db_nodes"] == [NEW]


def test_export_of_the_directory_of_a_crashed_node(offline, tmp_path):
    program = TABLES.replace("ODD_NAME", binary(ODD_NAME))
    run_alone(OLD, tmp_path / "raw", f"{program}, mnesia:sync_log()")
    shutil.copytree(tmp_path / "raw", tmp_path / "copy")
    offline.export(str(tmp_path / "copy"), str(tmp_path / "mnesia.backup"), OLD)
    # What was in RAM alone went with the node.
    assert rows(offline.count(str(tmp_path / "mnesia.backup"))) == {**SIZES, "ram": 0}


@pytest.mark.parametrize(
    ("name", "node_map", "words"),
    [
        (NEW, {}, f"is of {OLD}, not of {NEW}: map"),
        (NEW, {PEER: NEW}, f"names {PEER}, but the backup is of {OLD}"),
    ],
)
def test_build_refuses_names_that_do_not_fit(offline, backup, tmp_path, name, node_map, words):
    with pytest.raises(OpsError, match=words):
        offline.build(str(backup), str(tmp_path / "built"), name, node_map)
    assert not (tmp_path / "built").exists()


def test_build_refuses_tables_of_others_than_the_manifest_says(offline, backup, tmp_path):
    """Whom a restore looks for among the running nodes comes from the manifest."""
    with pytest.raises(OpsError, match=f"the tables are of {OLD}, and the manifest says that they are of {NEW}"):
        offline.build(str(backup), str(tmp_path / "built"), OLD, db_nodes=[NEW])
    assert not (tmp_path / "built").exists()
    assert rows(offline.build(str(backup), str(tmp_path / "built"), OLD, db_nodes=[OLD])) == SIZES


def test_build_refuses_a_directory_with_content(offline, backup, tmp_path):
    (tmp_path / "LATEST.LOG").touch()
    with pytest.raises(OpsError, match="not empty"):
        offline.build(str(backup), str(tmp_path), OLD)


def test_build_of_a_damaged_backup_is_no_success(offline, backup, tmp_path):
    content = backup.read_bytes()
    (tmp_path / "cut").write_bytes(content[: len(content) // 2])
    try:
        built = rows(offline.build(str(tmp_path / "cut"), str(tmp_path / "built"), OLD))
    except OpsError:
        built = {}
    assert built != SIZES


@pytest.fixture(scope="module")
def erlang(tmp_path_factory):
    with private_erlang(tmp_path_factory.mktemp("home")) as started:
        yield started


@pytest.fixture
def pair(erlang, tmp_path):
    """A backup of two nodes with a table on both and one on the peer alone; the peer goes on running."""
    backup, log = tmp_path / "pair.backup", tmp_path / "peer.log"
    with erlang.node(PEER, tmp_path / "peer", log) as (peer, _process):
        with erlang.node(OLD, tmp_path / "old") as (old, _process2):
            nodes = f"['{OLD}', '{PEER}']"
            old.evaluate(
                f"pong = net_adm:ping('{PEER}'), ok = mnesia:create_schema({nodes}),"
                f"{{[ok, ok], []}} = rpc:multicall({nodes}, mnesia, start, []),"
                f"{{atomic, ok}} = mnesia:create_table(both, [{{disc_copies, {nodes}}}]),"
                f"{{atomic, ok}} = mnesia:create_table(theirs, [{{disc_copies, ['{PEER}']}}]),"
                "[mnesia:dirty_write({both, N, x}) || N <- lists:seq(1, 100)],"
                "[mnesia:dirty_write({theirs, N, x}) || N <- lists:seq(1, 9)],"
                f"ok = mnesia:backup(unicode:characters_to_list({binary(backup)}))",
                timeout=30,
            )
        yield backup, peer, log


def test_build_for_one_node_of_two_does_not_meet_the_other(erlang, pair, tmp_path):
    backup, peer, log = pair
    noise = log.read_bytes()
    offline = Offline(spec(), erlang.runner, str(tmp_path))
    assert offline.schema(str(backup))["db_nodes"] == [OLD, PEER]
    assert rows(offline.count(str(backup))) == {"both": 100, "theirs": 9}
    # The copies of a peer are rows that this node does not have.
    assert rows(offline.build(str(backup), str(tmp_path / "built"), OLD)) == {"both": 100, "theirs": None}
    offline.build(str(backup), str(tmp_path / "alone"), OLD, master=True)
    assert peer.evaluate("{nodes(), mnesia:system_info(running_db_nodes)}") == ([], [PEER])
    assert log.read_bytes() == noise
    start = (
        'ok = mnesia:start(), io:format("~p", [{mnesia:wait_for_tables([both], 1000), mnesia:system_info(db_nodes)}])'
    )
    waiting = run_alone(OLD, tmp_path / "built", start)
    assert "{timeout,[both]}" in waiting
    alone = run_alone(OLD, tmp_path / "alone", start)
    assert alone.startswith("{ok,")
    assert PEER in alone


def test_two_nodes_cannot_get_one_name(erlang, pair, tmp_path):
    with pytest.raises(OpsError, match="two nodes of the backup one name"):
        Offline(spec(), erlang.runner, str(tmp_path)).build(str(pair[0]), str(tmp_path / "built"), PEER, {OLD: PEER})


class Dying(Runner):
    """A fake whose virtual machine dies."""

    def run(self, argv, **_options):
        return Completed(1, "", '\n{"init terminating in do_boot",{undef,[{mnesia,start,[],[]}]}}\n')


WAITING = """
import sys
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.offline import Offline
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Runner
Offline(SPEC, Runner(), "/nothing written")._ask("MARK, timer:sleep(60000)", 60)
"""


def wait_until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def virtual_machines():
    """Return the process directories of those that this test has started."""
    mark = f"marked_{os.getpid()}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (process / "cmdline").read_bytes() and "beam" in (process / "exe").readlink().name:
                found.append(process)
    return found


def test_the_virtual_machine_ends_with_who_is_killed_waiting_for_it():
    program = WAITING.replace("SPEC", repr(spec())).replace("MARK", f"marked_{os.getpid()}")
    waiting = subprocess.Popen([sys.executable, "-c", program])
    try:
        wait_until(virtual_machines)
    finally:
        waiting.kill()
        waiting.wait()
    wait_until(lambda: not virtual_machines())


def test_a_virtual_machine_that_dies_is_told():
    with pytest.raises(OpsError, match="without an answer: .*init terminating in do_boot.*undef"):
        Offline(spec(), Dying(), "/nothing written", Release("/r", "/r/start_clean", "/r/erts-1/bin")).count("/x")


def test_a_release_without_mnesia_says_so(offline, backup, tmp_path):
    (tmp_path / "lib").mkdir()
    system = offline.release
    for library in ("kernel", "stdlib"):
        found = next(path for path in os.listdir(f"{system.root}/lib") if path.startswith(f"{library}-"))
        (tmp_path / "lib" / found).symlink_to(f"{system.root}/lib/{found}")
    (tmp_path / "erts-1").mkdir()
    (tmp_path / "erts-1" / "bin").symlink_to(system.erts_bin)
    poor = Release(str(tmp_path), system.boot, str(tmp_path / "erts-1" / "bin"))
    assert rows(Offline(spec(), Runner(), str(tmp_path), poor).count(str(backup))) == SIZES
    with pytest.raises(OpsError, match="comes without Mnesia"):
        Offline(spec(), Runner(), str(tmp_path), poor).build(str(backup), str(tmp_path / "built"), OLD)


@pytest.mark.parametrize(("name", "node_map"), [(OLD, {}), (NEW, {OLD: NEW})])
def test_a_node_whose_schema_was_in_ram_has_it_on_disk_after_a_restore(erlang, tmp_path, name, node_map):
    backup = tmp_path / "pair.backup"
    (tmp_path / "peer").mkdir()
    with erlang.node(OLD, tmp_path / "old"), erlang.node(PEER, tmp_path / "peer" / "mnesia") as (peer, _process):
        peer.evaluate(
            f"ok = rpc:call('{OLD}', mnesia, start, []), ok = mnesia:start(),"
            f"{{ok, [_]}} = mnesia:change_config(extra_db_nodes, ['{OLD}']),"
            "{atomic, ok} = mnesia:change_table_copy_type(schema, node(), disc_copies),"
            f"{{atomic, ok}} = mnesia:create_table(both, [{{ram_copies, ['{OLD}', node()]}}]),"
            "mnesia:dirty_write({both, 1, x}),"
            f"ok = mnesia:backup(unicode:characters_to_list({binary(backup)}))",
            timeout=30,
        )
    Offline(spec(), erlang.runner, str(tmp_path)).build(
        str(backup), str(tmp_path / "built"), name, node_map, master=True
    )
    told = run_alone(
        name,
        tmp_path / "built",
        'ok = mnesia:start(), io:format("~p", [lists:sort(mnesia:table_info(schema, disc_copies))])',
    )
    assert told == f"['{name}','{PEER}']"
