# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Copies away, with the real rsync and the real rclone."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._backup import copy
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.copy import Copy, backup_copy, below
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Completed, Runner

PACKAGE = copy.__name__.rpartition(".")[0]
NAME = "erlmcp-n1-20261124T023000Z.tar.zst"
CONTENT = os.urandom(256 * 1024)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(name="tool", params=["rsync", "rclone"])
def _tool(request):
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return request.param


@pytest.fixture(name="rclone")
def _rclone():
    if shutil.which("rclone") is None:
        pytest.skip("rclone is not installed")


@pytest.fixture(name="archive")
def _archive(tmp_path):
    path = tmp_path / "store" / NAME
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    Path(f"{path}.json").write_text('{"archive": {}}')
    return path


@pytest.fixture(name="away")
def _away(tmp_path):
    path = tmp_path / "away"
    path.mkdir()
    return path


class Watched(Runner):
    """The real Runner, which notes what it ran and can do something before that."""

    def __init__(self, before=lambda argv: None):
        self.ran = []
        self.before = before

    def run(self, argv, **options):
        self.before(argv)
        self.ran.append(argv)
        return super().run(argv, **options)

    def transfers(self):
        """Names of the files that were sent; a comparison sends none."""
        paths = [argv[argv.index("--") + 1] for argv in self.ran if not {"check", "--dry-run"} & set(argv)]
        return [os.path.basename(path) for path in paths]


def bring(tool, archive, destination, options=(), runner=None):
    runner = runner or Watched()
    given = {"tool": tool, "destination": str(destination), "tool_options": list(options)}
    Copy(given, runner).bring(str(archive), SHA256)
    return runner


def assert_there(away):
    assert (away / NAME).read_bytes() == CONTENT
    assert (away / f"{NAME}.json").read_text() == '{"archive": {}}'


def test_archive_and_file_beside_it_arrive_in_this_order_and_nothing_else(tool, archive, away):
    (archive.parent / "other").write_text("x")
    runner = bring(tool, archive, away)
    assert_there(away)
    assert sorted(os.listdir(away)) == [NAME, f"{NAME}.json"]
    assert runner.transfers() == [NAME, f"{NAME}.json"]
    assert {path.stat().st_mode & 0o777 for path in away.iterdir()} == {0o600}


def test_the_directory_over_there_is_made(tool, archive, tmp_path):
    bring(tool, archive, tmp_path / "new")
    assert_there(tmp_path / "new")


def test_a_copy_with_other_bytes_of_the_same_size_and_time_is_replaced(tool, archive, away):
    bring(tool, archive, away)
    damaged = bytearray(CONTENT)
    damaged[1000] ^= 1
    (away / NAME).write_bytes(damaged)
    shutil.copystat(archive, away / NAME)
    bring(tool, archive, away)
    assert_there(away)


def test_what_changes_on_the_way_is_not_counted(tool, archive, away):
    def damage(argv):
        if "check" in argv or "--dry-run" in argv:
            (away / NAME).exists() and (away / NAME).write_bytes(b"x" * len(CONTENT))

    with pytest.raises(OpsError, match=f"{NAME} is not proven to be at .*not counted as a copy; run again, it resumes"):
        bring(tool, archive, away, runner=Watched(damage))
    assert not (away / f"{NAME}.json").exists()


def test_a_place_that_cannot_be_written_is_told_with_its_cause(tool, archive, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OpsError, match="not counted as a copy") as refused:
        bring(tool, archive, tmp_path / "file" / "below")
    assert refused.value.kind == "copy"
    assert "ot a directory" in str(refused.value)


def test_an_archive_that_rotted_is_not_sent(tool, archive, away):
    # Random, so that it may begin with any byte.
    archive.write_bytes(bytes([CONTENT[0] ^ 1]) + CONTENT[1:])
    with pytest.raises(OpsError, match="it is damaged and was not copied"):
        bring(tool, archive, away)
    assert os.listdir(away) == []


def test_options_of_the_user_reach_the_tool(tool, archive, away):
    runner = bring(tool, archive, away, ["--bwlimit=100M"])
    assert all("--bwlimit=100M" in argv for argv in runner.ran)


def test_rsync_resumes_within_the_file(archive, away):
    (away / ".rsync-partial").mkdir()
    (away / ".rsync-partial" / NAME).write_bytes(CONTENT[: len(CONTENT) // 2])
    # Between two local paths rsync would send everything.
    bring("rsync", archive, away, ["--no-whole-file", f"--log-file={away}.log", "--log-file-format=%n %b"])
    assert_there(away)
    sent = next(line.split() for line in Path(f"{away}.log").read_text().splitlines() if f" {NAME} " in line)
    assert int(sent[-1]) < len(CONTENT) * 0.6
    assert sorted(os.listdir(away)) == [NAME, f"{NAME}.json"]


def test_rclone_sends_only_what_is_not_proven(rclone, archive, away):
    def cut_off(argv):
        if "copyto" in argv and f"{NAME}.json" in argv[-1]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bring("rclone", archive, away, runner=Watched(cut_off))
    assert os.listdir(away) == [NAME]
    assert bring("rclone", archive, away).transfers() == [f"{NAME}.json"]


def test_rclone_reads_everything_back_where_there_are_no_hashes(rclone, archive, away, tmp_path):
    hidden = subprocess.run(["rclone", "obscure", "secret"], capture_output=True, text=True, check=True).stdout.strip()
    config = tmp_path / "rclone.conf"
    config.write_text(f"[sealed]\ntype = crypt\nremote = {away}\npassword = {hidden}\nfilename_encryption = off\n")
    runner = bring("rclone", archive, "sealed:", [f"--config={config}"])
    assert any("--download" in argv for argv in runner.ran)
    assert not any(hidden in argument for argv in runner.ran for argument in argv)
    stored = away / f"{NAME}.bin"
    damaged = bytearray(stored.read_bytes())
    damaged[5000] ^= 1
    stored.write_bytes(damaged)
    assert bring("rclone", archive, "sealed:", [f"--config={config}"]).transfers() == [NAME]


def test_rclone_that_is_silent_about_hashes_is_not_believed(archive, away):
    class Silent:
        """Answers that all is equal, and not by what."""

        def __init__(self):
            self.ran = []

        def run(self, argv, **_options):
            self.ran.append(argv)
            name = os.path.basename(next((each for each in argv if each.startswith("--include=/")), ""))
            return Completed(0, f"= {name}\n" if (away / name).exists() else f"+ {name}\n", "")

    silent = Silent()
    for path in (archive, f"{archive}.json"):
        shutil.copy(path, away)
    bring("rclone", archive, away, runner=silent)
    assert any("--download" in argv for argv in silent.ran)


@pytest.mark.parametrize(
    ("destination", "expected"),
    [("/away", "/away/x"), ("/away/", "/away/x"), ("host:", "host:x"), ("host:dir", "host:dir/x"), ("/", "/x")],
)
def test_the_home_of_the_other_host_is_not_its_root(destination, expected):
    assert below(destination, "x") == expected


# The action, with a store that holds one archive


@pytest.fixture(name="world")
def _world(monkeypatch, archive):
    """What the action meets: one archive, its mark, a lock, and metrics."""
    backup = SimpleNamespace(
        name=NAME, path=str(archive), problem=None, copied=None, beside={"archive": {"sha256": SHA256}}
    )
    world = SimpleNamespace(backup=backup, locks=[], metrics=[])

    class OneArchive:
        def __init__(self, root):
            assert root == str(archive.parent)

        def find(self, name, host):
            return backup

        def mark(self, path, kind, data):
            assert (path, kind) == (str(archive), "copied")
            backup.copied = data

    class NotedLock:
        def __init__(self, run_dir, service, what):
            world.locks.append((run_dir, service, what))

        def __enter__(self):
            return self

        def __exit__(self, *_exception):
            return None

    def write_metrics(_directory, updates):
        world.metrics += updates

    monkeypatch.setitem(sys.modules, f"{PACKAGE}.store", SimpleNamespace(Store=OneArchive))
    monkeypatch.setitem(sys.modules, f"{PACKAGE}.lock", SimpleNamespace(Lock=NotedLock))
    monkeypatch.setitem(sys.modules, f"{PACKAGE}.metrics", SimpleNamespace(write_metrics=write_metrics))
    return world


def act(archive, destination, check=False, runner=None, **options):
    params = {
        "store_dir": str(archive.parent),
        "service": "erlmcp",
        "run_dir": "/run/x",
        "metrics_dir": "/metrics",
        "archive": "latest",
        "host": None,
        "tool": "rsync",
        "destination": str(destination),
        "tool_options": [],
        **options,
    }
    return backup_copy(SimpleNamespace(params=params, check_mode=check), runner or Watched())


def test_a_copy_is_marked_after_its_proof_and_not_made_again(world, archive, away):
    result = act(archive, away)
    assert (result["changed"], result["sha256"], result["destination"]) == (True, SHA256, str(away))
    assert (world.backup.copied["sha256"], world.backup.copied["destination"]) == (SHA256, str(away))
    assert world.metrics == ["erlmcp_backup_copy_last_success_timestamp_seconds"]
    assert world.locks == [("/run/x", "erlmcp-copy", "copy")]
    again = Watched()
    assert not act(archive, away, runner=again)["changed"]
    assert again.ran == []
    assert act(archive, f"{away}2")["changed"]


def test_a_mark_of_other_bytes_is_none(world, archive, away):
    world.backup.copied = {"sha256": "0" * 64, "destination": str(away)}
    assert act(archive, away)["changed"]


def test_what_is_not_proven_is_not_marked(world, archive, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OpsError, match="not counted"):
        act(archive, tmp_path / "file" / "below")
    assert (world.backup.copied, world.metrics) == (None, [])


def test_check_mode_sends_nothing(world, archive, away):
    runner = Watched()
    result = act(archive, away, check=True, runner=runner)
    assert result["changed"]
    assert str(away) in result["diff"]["after"]
    assert (runner.ran, world.backup.copied, os.listdir(away)) == ([], None, [])


def test_an_archive_with_a_problem_is_refused(world, archive, away):
    world.backup.problem = "there is no file beside it"
    world.backup.beside = None
    with pytest.raises(OpsError, match="is not good: there is no file beside it"):
        act(archive, away)


@pytest.mark.parametrize("destination", ["", "--delete"])
def test_a_place_that_is_none_is_refused(world, archive, destination):
    with pytest.raises(OpsError, match="destination"):
        act(archive, destination)


def test_a_tool_that_is_not_there_is_named(world, archive, away, monkeypatch):
    monkeypatch.setattr(copy, "SEARCH_PATH", "/nowhere")
    with pytest.raises(OpsError, match="tool: rsync is not installed on host .*playbook site"):
        act(archive, away)
