# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The store, on real files: an archive with a final name always has its file beside it, wherever a run is cut off."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._backup import store as store_module
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.manifest import parse_name
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.store import Store
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.tests.unit.plugins.module_utils._backup.stored_archives import (
    beside,
    name_of,
    publish,
    verify,
)


@pytest.fixture(name="store")
def _store(tmp_path):
    store = Store(str(tmp_path / "backups"))
    store.prepare()
    return store


def files(store):
    return sorted(os.listdir(store.root))


def half_made(store):
    """Archives with a final name and no file beside them."""
    return [name for name in files(store) if parse_name(name) and f"{name}.json" not in files(store)]


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it, and what would be cleaned up afterwards is not."""


def dying(real, left):
    """Let ``real`` be called ``left[0]`` times; a process that is dead then changes nothing any more."""

    def call(*arguments, **options):
        if left[0] <= 0:
            raise Killed
        left[0] -= 1
        return real(*arguments, **options)

    return call


def cut_off_at_each_step(monkeypatch, make, action):
    """Run ``action`` on what ``make`` returns, killed before its first, second, … call that changes a name.

    Yield what was made, after each kill.
    """
    for step in range(100):
        subject = make(step)
        left = [step]
        with monkeypatch.context() as patch:
            for name in ("rename", "replace", "unlink", "rmdir"):
                patch.setattr(os, name, dying(getattr(os, name), left))
            try:
                action(subject)
            except Killed:
                pass
            else:
                return
        yield subject


def test_a_store_that_does_not_exist_is_empty(tmp_path):
    store = Store(str(tmp_path / "none" / "yet"))
    assert store.backups() == []
    assert store.leftovers() == []
    assert store.foreign() == []
    assert store.free_bytes() > 0
    with pytest.raises(OpsError, match="holds none"):
        store.find("latest")
    assert not (tmp_path / "none").exists()


def test_it_is_made_for_its_owner_alone(tmp_path):
    Store(str(tmp_path / "deep" / "store")).prepare()
    assert (tmp_path / "deep" / "store").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda path: path.chmod(0o770), "can be written by others"),
        (lambda path: path.chmod(0o702), "can be written by others"),
        (lambda path: (path.rename(f"{path}-real"), path.symlink_to(f"{path}-real")), "is a link"),
        (lambda path: (path.rmdir(), path.write_text("")), "is not a directory"),
    ],
)
def test_an_unsafe_store_is_refused(store, damage, told):
    damage(Path(store.root))
    with pytest.raises(OpsError, match=told):
        store.prepare()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_store_of_another_account_is_refused(store):
    os.chown(store.root, 12345, -1)
    with pytest.raises(OpsError, match="12345"):
        store.prepare()


def test_a_published_archive_is_found(store):
    name = publish(store)
    [backup] = store.backups()
    assert (backup.name, backup.host, backup.size) == (name, "n1.example.org", len(b"archive"))
    assert backup.beside == beside(name)
    assert backup.problem is backup.verified is backup.copied is backup.drilled is None
    assert not backup.encrypted
    assert files(store) == [name, f"{name}.json"]
    assert (Path(store.root) / f"{name}.json").stat().st_mode & 0o777 == 0o600


def test_they_come_oldest_first_of_all_hosts(store):
    times = ["20260203T000000Z", "20260101T000000Z", "20260202T000000Z"]
    for time, host in zip(times, "cab"):
        publish(store, time, host)
    assert [f"{each.time:%Y%m%dT%H%M%SZ}" for each in store.backups()] == sorted(times)


def test_a_publish_cut_off_at_any_step_leaves_nothing_half_made(tmp_path, monkeypatch):
    def make(step):
        store = Store(str(tmp_path / str(step)))
        store.prepare()
        return store

    killed = 0
    for store in cut_off_at_each_step(monkeypatch, make, publish):
        killed += 1
        assert half_made(store) == []
        complete = [backup.name for backup in store.backups()]
        store.clear_leftovers()
        assert [backup.name for backup in store.backups()] == complete
        assert files(store) == sorted(name for each in complete for name in (each, f"{each}.json"))
    assert killed >= 2


def test_a_removal_cut_off_at_any_step_is_finished_by_the_next_run(tmp_path, monkeypatch):
    def make(step):
        store = Store(str(tmp_path / str(step)))
        store.prepare()
        verify(store, publish(store))
        return store

    killed = 0
    for store in cut_off_at_each_step(monkeypatch, make, lambda store: store.remove(store.backups()[0])):
        killed += 1
        assert half_made(store) == []
        if store.backups():
            assert store.backups()[0].verified
        store.clear_leftovers()
        assert files(store) == [] or store.backups()[0].verified
    assert killed >= 4


def test_a_removed_archive_leaves_nothing(store):
    kept = publish(store, "20260101T000000Z")
    name = publish(store)
    verify(store, name)
    store.mark(name, "copied", {"destination": "away"})
    store.remove(store.find(name))
    assert files(store) == [kept, f"{kept}.json"]


def test_a_full_disk_leaves_no_part(store, monkeypatch):
    def full(*_arguments, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store_module, "write_atomically", full)
    with pytest.raises(OpsError, match="No space left on device"):
        publish(store)
    assert files(store) == []


def test_an_archive_is_never_replaced(store):
    name = publish(store)
    with pytest.raises(OpsError, match="already"):
        store.part_path(name)
    Path(store.root, f".{name}.part").write_bytes(b"other")
    with pytest.raises(OpsError, match="already"):
        store.publish(name, beside(name, b"other"))
    assert Path(store.root, name).read_bytes() == b"archive"


def test_leftovers_are_what_killed_runs_write_and_nothing_else(store):
    kept = publish(store)
    verify(store, kept)
    gone = name_of("20260101T000000Z")
    orphan = name_of("20250101T000000Z")
    left = [f".{gone}.part", f"{gone}.json", f"{gone}.verified.json", f"{kept}.copied.json.tmp"]
    foreign = [".part", "notes.json", "notes.tar.zst", "other.tmp", ".erlmcp-notes", "erlmcp-n1-today.tar.zst"]
    for name in [*left, *foreign, f"{orphan}.json"]:
        Path(store.root, name).write_text("")
    os.mkdir(os.path.join(store.root, ".erlmcp-work.part"))
    assert store.leftovers() == sorted([*left, ".erlmcp-work.part"])
    assert store.foreign() == sorted(foreign)
    store.clear_leftovers()
    assert files(store) == sorted([kept, f"{kept}.json", f"{kept}.verified.json", *foreign, f"{orphan}.json"])


def test_a_file_whose_archive_did_not_come_in_a_day_goes(store, monkeypatch):
    Path(store.root, f"{name_of()}.json").write_text("")
    assert store.leftovers() == []
    now = store_module.time.time()
    monkeypatch.setattr(store_module.time, "time", lambda: now + 86401)
    assert store.leftovers() == [f"{name_of()}.json"]


def test_problems_are_told(store):
    names = [publish(store, f"2026010{day}T000000Z") for day in range(1, 6)]
    root = Path(store.root)
    (root / f"{names[0]}.json").unlink()
    (root / f"{names[1]}.json").write_text("{")
    (root / f"{names[2]}.json").write_text(json.dumps({"archive": {}}))
    (root / names[3]).write_bytes(b"")
    (root / names[4]).rename(root / "elsewhere")
    (root / names[4]).symlink_to(root / "elsewhere")
    problems = [backup.problem for backup in store.backups()]
    told = ["no .* beside it", "cannot be read", names[2], "0 bytes, and had 7", "not a regular file"]
    for problem, pattern in zip(problems, told):
        with pytest.raises(AssertionError, match=pattern):
            raise AssertionError(problem)
    assert [backup.beside is None for backup in store.backups()] == [True, True, True, False, False]


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_what_stands_beside_and_is_no_file_does_not_lead_astray(store, make):
    name = publish(store)
    for suffix in (".json", ".verified.json"):
        path = os.path.join(store.root, f"{name}{suffix}")
        if os.path.exists(path):
            os.unlink(path)
        make(path)
    [backup] = store.backups()
    assert backup.problem
    assert backup.verified is None


def test_a_link_beside_it_is_not_followed(store):
    name = publish(store)
    path = Path(store.root, f"{name}.json")
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")
    assert store.find(name).beside is None


def test_a_deeply_nested_file_beside_it_is_a_problem_and_no_crash(store):
    name = publish(store)
    Path(store.root, f"{name}.json").write_text("[" * 500000)
    assert "nested" in store.backups()[0].problem


def test_a_mark_is_of_these_bytes_or_none(store):
    name = publish(store)
    verify(store, name)
    store.mark(name, "drilled", {"time": 1, "seconds": 2.5})
    assert store.find(name).verified["level"] == "tables"
    assert store.find(name).drilled == {"time": 1, "seconds": 2.5}
    store.mark(name, "verified", {"level": "tables", "sha256": "0" * 64})
    assert store.find(name).verified is None
    assert store.unmark(name, "verified")
    assert not store.unmark(name, "verified")
    Path(store.root, f"{name}.drilled.json").write_text("[]")
    assert store.find(name).drilled is None


def test_what_is_not_there_cannot_be_marked(store):
    with pytest.raises(OpsError, match="no archive"):
        store.mark(name_of(), "verified", {})
    assert files(store) == []


def test_an_archive_elsewhere_is_marked_where_it_is(store, tmp_path):
    name = publish(store)
    other = tmp_path / "other"
    other.mkdir()
    (other / name).write_bytes(b"archive")
    (other / f"{name}.json").write_text(json.dumps(beside(name)))
    backup = store.find(str(other / name))
    assert backup.path == str(other / name)
    assert backup.beside == beside(name)
    store.mark(backup.path, "verified", {"level": "bytes"})
    assert store.find(str(other / name)).verified
    assert not store.find(name).verified


def test_latest_is_of_one_host(store):
    publish(store, "20260101T000000Z", "a")
    newest = publish(store, "20260102T000000Z", "a")
    assert store.find("latest").name == newest
    publish(store, "20260103T000000Z", "b")
    assert store.find("latest", "a").name == newest
    with pytest.raises(OpsError, match="archives of a, b"):
        store.find("latest")
    with pytest.raises(OpsError, match=f"no archive of c .*holds .*{newest}"):
        store.find("latest", "c")


def test_what_is_from_the_future_is_not_the_latest(store):
    publish(store, "20990101T000000Z", "b")
    newest, later = publish(store, "20260102T000000Z", "a"), publish(store, "20990101T000000Z", "a")
    assert store.find("latest", "a").name == newest
    assert store.from_the_future("a") == [later]
    assert store.find(later).name == later
    with pytest.raises(OpsError, match="is from the future: the clock of host .* Correct the clock, or name"):
        store.find("latest", "b")


def test_the_latest_is_not_passed_over_for_its_problem(store):
    publish(store, "20260101T000000Z")
    newest = publish(store, "20260102T000000Z")
    os.unlink(os.path.join(store.root, f"{newest}.json"))
    assert store.find("latest").name == newest
    assert store.find("latest").problem


@pytest.mark.parametrize("archive", ["../x", "", "notes.tar.zst", "/etc/passwd", "a/erlmcp-a-20260101T000000Z.tar.zst"])
def test_what_cannot_be_an_archive_is_refused(store, archive):
    with pytest.raises(OpsError, match="archive: "):
        store.find(archive)


def test_a_missing_archive_names_those_that_are_there(store):
    for day in range(10, 31):
        publish(store, f"202601{day}T000000Z")
    with pytest.raises(OpsError, match="20260130.* and 1 older") as refused:
        store.find(name_of("20250101T000000Z"))
    assert "20260110" not in str(refused.value)
