# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import socket
import threading
import time

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._backup import progress as progress_module
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.lock import Lock
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.progress import Progress, describe

MIB = 1024**2


@pytest.fixture(name="journal")
def _journal(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "journal"))
        server.setblocking(False)
        yield server


@pytest.fixture(name="make")
def _make(tmp_path, journal):
    def make(interval=0.0):
        return Progress("erlmcp-backup", str(tmp_path), "erlmcp", interval, journal=journal.getsockname())

    with Lock(str(tmp_path), "erlmcp", "backup"):
        yield make


def told(journal):
    lines = []
    while True:
        try:
            fields = dict(line.split("=", 1) for line in journal.recv(65536).decode().splitlines())
        except BlockingIOError:
            return lines
        assert fields["SYSLOG_IDENTIFIER"] == "erlmcp-backup"
        assert fields["PRIORITY"] == "6"
        lines.append(fields["MESSAGE"])


def shown(tmp_path):
    return (tmp_path / "erlmcp.progress").read_text()


def test_a_line_has_share_amount_and_speed():
    line = describe("writing the archive", 430 * MIB, 1000 * MIB, 430 / 120)
    assert line == "writing the archive: 43 % (430 of 1000 MiB, 120 MiB/s)"
    assert describe("copying", 240 * MIB, None, 2) == "copying: 240 MiB, 120 MiB/s"
    assert describe("copying", 0, None, 0) == "copying: 0 MiB, 0 MiB/s"


def test_journal_and_file_hear_the_same(make, journal, tmp_path):
    progress = make()
    progress.phase("writing the archive", 100 * MIB)
    assert shown(tmp_path) == "writing the archive\n"
    progress.tick(50 * MIB)
    progress.say("done")
    lines = told(journal)
    assert lines[0] == "writing the archive"
    assert lines[1].startswith("writing the archive: 50 % (50 of 100 MiB, ")
    assert lines[2] == "done"
    assert shown(tmp_path) == "done\n"


def test_a_tick_is_said_now_and_then(make, journal):
    progress = make(interval=3600)
    progress.phase("writing")
    for done in range(10000):
        progress.tick(done, 10000)
    assert told(journal) == ["writing"]


def test_a_line_stays_one_line(make, journal):
    make().say("one\nPRIORITY=0\ntwo")
    assert told(journal) == ["one PRIORITY=0 two"]


def test_without_a_lock_nothing_is_written(tmp_path):
    progress = Progress("erlmcp-backup", str(tmp_path), "erlmcp", 0.0, journal=str(tmp_path / "none"))
    progress.phase("verifying")
    progress.tick(1)
    assert os.listdir(tmp_path) == []


def test_a_journal_that_is_stuck_holds_nobody_up(make, journal):
    progress = make()
    for _line in range(600):
        progress.say("x" * 100)
    assert told(journal)


def test_a_file_that_cannot_be_written_fails_nothing(make, monkeypatch, journal):
    def full(*_arguments, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(progress_module, "write_atomically", full)
    make().say("done")
    assert told(journal) == ["done"]


def test_the_size_of_a_directory_is_watched(make, journal, tmp_path):
    progress = make()
    filled = tmp_path / "filled"
    filled.mkdir()
    progress.phase("the node writes its tables")
    with progress.watch(str(filled)):
        (filled / "file").write_bytes(b"x" * 3 * MIB)
        deadline = time.monotonic() + 10
        lines = told(journal)
        while not any(": 3 MiB" in line for line in lines) and time.monotonic() < deadline:
            lines += told(journal)
    assert any(line.startswith("the node writes its tables: 3 MiB, ") for line in lines)
    threads = threading.active_count()
    told(journal)
    assert told(journal) == []
    assert threading.active_count() == threads


def test_a_watch_ends_with_a_failure_inside(make, tmp_path):
    before = threading.active_count()
    with pytest.raises(ValueError, match="x"), make().watch(str(tmp_path / "never")):
        raise ValueError("x")
    assert threading.active_count() == before


def test_a_watch_in_the_same_moment_as_other_lines(make, tmp_path):
    progress = make()
    with progress.watch(str(tmp_path)):
        for number in range(300):
            progress.phase(str(number))
    assert shown(tmp_path).startswith("299")
