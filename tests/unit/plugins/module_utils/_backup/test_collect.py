# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._backup import collect
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError


@pytest.fixture
def tree(tmp_path):
    for name in ("a", "deep/er/b", "mnesia/t.DCD", ".erlmcp-backup-1/spool", "cache/x.tmp"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "link").symlink_to("/etc/shadow")
    (tmp_path / "linked").symlink_to("/etc")
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


def test_files_are_found_and_links_and_pipes_are_told(tree):
    found, skipped = collect.regular_files(tree, ["*.tmp"], ["mnesia"])
    assert found == ["a", "deep/er/b"]
    assert sorted(skipped) == ["link", "linked", "pipe"]


def test_a_file_next_to_a_left_out_directory_is_not_left_out(tmp_path):
    (tmp_path / "mnesia-notes").write_text("")
    assert collect.regular_files(tmp_path, without=["mnesia"]) == (["mnesia-notes"], [])


def test_recent_logs_only(tree):
    os.utime(tree / "a", (0, 0))
    assert "a" not in collect.recent_logs(tree, 7, (tree / "deep/er/b").stat().st_mtime)
    assert "deep/er/b" in collect.recent_logs(tree, 7, (tree / "deep/er/b").stat().st_mtime)


def test_crash_dumps_are_neither_logs_nor_data(tree):
    """They hold the cookie, whatever they are called."""
    for name, content in (("erl_crash.dump.1.gz", "packed"), ("dump", "=erl_crash_dump:0.5\n"), ("log", "=erl_crash")):
        (tree / name).write_text(content)
    for found in (collect.recent_logs(tree, 7, 0), collect.regular_files(tree)[0]):
        assert "log" in found
        assert not {"dump", "erl_crash.dump.1.gz"} & set(found)


def test_sizes_of_everything_and_of_places(tree):
    assert collect.size_below(tree, ["mnesia", "a"]) == len("mnesia/t.DCD") + len("a")
    assert collect.size_below(tree) > collect.size_below(tree, ["mnesia", "a"])


def test_the_schema_shows_where_mnesia_is(tmp_path):
    assert collect.mnesia_directory(tmp_path) is None
    (tmp_path / "db" / "mnesia").mkdir(parents=True)
    (tmp_path / "db" / "mnesia" / "schema.DAT").write_text("")
    assert collect.mnesia_directory(tmp_path) == "db/mnesia"


def test_what_a_process_writes_is_known(tmp_path):
    program = "import sys,time; w=open(sys.argv[1],'w'); r=open(sys.argv[2]); print('open',flush=True); time.sleep(60)"
    (tmp_path / "read").write_text("")
    writer = subprocess.Popen(
        [sys.executable, "-c", program, tmp_path / "written", tmp_path / "read"], stdout=subprocess.PIPE
    )
    try:
        writer.stdout.readline()
        assert collect.open_for_writing(writer.pid, str(tmp_path)) == {"written"}
    finally:
        writer.kill()
        writer.wait()
    with pytest.raises(OpsError, match=f"has ended while it was backed up .process {writer.pid}.: back it up again"):
        collect.open_for_writing(writer.pid, str(tmp_path))


def test_open_files_that_nobody_vouches_for_are_refused():
    collect.refuse_unaccounted({"mnesia/LATEST.LOG", "audit.dets", ".erlmcp-backup-1/x"}, ["mnesia", "audit.dets"], [])
    unknown = {"journal.bin", "deep/[1].bin"}
    with pytest.raises(OpsError, match="journal.bin") as refused:
        collect.refuse_unaccounted(unknown, ["mnesia"], [])
    collect.refuse_unaccounted(unknown, ["mnesia"], ["*.bin"])
    collect.refuse_unaccounted(unknown, ["mnesia"], patterns_named(refused))


def patterns_named(refused):
    """What a refusal says that is to be added to the patterns of what is left out."""
    return re.findall(r"add '(.+?)' to erlmcp_backup_exclude", str(refused.value))


def test_a_file_of_holes_is_refused(tmp_path):
    (tmp_path / "deep").mkdir()
    with open(tmp_path / "deep" / "[1]", "wb") as stream:
        stream.truncate(2 * 1024**4)
    with pytest.raises(OpsError, match=r"deep/.1. says that it has 2199023255552 bytes, and 0 are on disk") as refused:
        collect.regular_files(tmp_path)
    assert collect.regular_files(tmp_path, patterns_named(refused)) == ([], [])


def test_directories_without_end_are_refused(tmp_path):
    deep = tmp_path
    for _number in range(150):
        deep /= "d"
        deep.mkdir()
    with pytest.raises(OpsError, match="nested deeper than 100 directories"):
        collect.regular_files(tmp_path)
