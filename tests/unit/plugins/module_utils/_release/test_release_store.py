# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import signal
from functools import partial
from pathlib import Path

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Completed
from ansible_collections.erlmcp.ops.plugins.module_utils._release import store as store_module
from ansible_collections.erlmcp.ops.plugins.module_utils._release.actions import read_archive
from ansible_collections.erlmcp.ops.plugins.module_utils._release.plan import plan_absent, plan_present
from ansible_collections.erlmcp.ops.plugins.module_utils._release.proof import RECORD, note_proven
from ansible_collections.erlmcp.ops.plugins.module_utils._release.store import Store
from ansible_collections.erlmcp.ops.plugins.module_utils._release.whole import damaged_files
from ansible_collections.erlmcp.ops.tests.unit.plugins.module_utils._core.killed import killed_everywhere
from ansible_collections.erlmcp.ops.tests.unit.plugins.module_utils._release.release_archives import (
    entry,
    hooked_entries,
    link,
    pack,
    rebar3_entries,
    release_entries,
)


class FakeErl:
    def __init__(self, err):
        self._err = err

    def run(self, argv):
        assert argv == ["erl", "+V"]
        return Completed(0, "", self._err)


class NoErl:
    def run(self, argv):
        raise OpsError(f"command not found: {argv[0]}")


@pytest.fixture
def install_dir(tmp_path):
    return tmp_path / "opt"


@pytest.fixture
def store(install_dir):
    return Store(str(install_dir))


@pytest.fixture
def install(store, tmp_path):
    def install(version="1.0.0", extra=(), note="", **options):
        path = tmp_path / f"erlmcp-{version}.tar.gz"
        read = partial(read_archive, str(path), pack(path, [*release_entries(version, note=note), *extra]), "erlmcp")
        plan = plan_present(store.observe(), read(), **{"stage": True, "keep": 3, **options})
        store.apply(plan, read)
        return plan

    return install


def modes(root):
    return {str(path.relative_to(root)): oct(path.lstat().st_mode & 0o7777) for path in root.rglob("*")}


def test_nothing_there(store, install_dir):
    there = store.observe()
    assert (there.versions, there.foreign, there.leftovers) == ([], (), ())
    assert not install_dir.exists()


def test_install(store, install, install_dir):
    links = [link("bin/start", "erlmcp"), link("bin/hard", "bin/erlmcp", b"1")]
    before = os.umask(0o077)
    try:
        plan = install(extra=links)
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(before)
    root = install_dir / "releases" / "1.0.0"
    found = modes(root)
    assert (found["bin"], found["bin/erlmcp"], found["bin/hard"]) == ("0o755", "0o755", "0o755")
    assert (found["releases/start_erl.data"], found[RECORD]) == ("0o644", "0o644")
    assert oct(root.stat().st_mode & 0o7777) == oct(install_dir.stat().st_mode & 0o7777) == "0o755"
    assert (root / "releases/1.0.0/sys.config").read_bytes() == b"[].\n"
    assert os.readlink(root / "bin/start") == "erlmcp"
    assert os.readlink(install_dir / "next") == "releases/1.0.0"
    record = json.loads((root / RECORD).read_text())
    assert (record["archive"], record["architecture"]) == ("erlmcp-1.0.0.tar.gz", "x86_64")
    assert record["installed_at"].endswith("+00:00")
    there = store.observe()
    assert there.summary() == plan.after.summary()


def test_the_last_one_of_a_name_is_laid_down(install, install_dir):
    again = [
        entry("etc/vm.args", b"first", 0o755),
        link("etc/hard", "etc/vm.args", b"1"),
        entry("etc/vm.args", b"last"),
        link("etc/linked", "vm.args"),
        entry("etc/linked", b"a file", 0o755),
        entry("etc/now-a-link", b"a file"),
        link("etc/now-a-link", "vm.args"),
        link("etc/now-a-link", "hard"),
    ]
    install(extra=again)
    etc = install_dir / "releases" / "1.0.0" / "etc"
    assert {path.name: path.read_bytes() for path in etc.iterdir()} == {
        "vm.args": b"last",
        "hard": b"first",
        "linked": b"a file",
        "now-a-link": b"first",
    }
    assert os.readlink(etc / "now-a-link") == "hard"
    assert (modes(etc)["vm.args"], modes(etc)["hard"], modes(etc)["linked"]) == ("0o644", "0o755", "0o755")


def test_the_start_script_is_laid_down_whole(store, install, install_dir):
    entries = hooked_entries("hooks/mine")
    install(extra=entries)
    assert (install_dir / "next/bin/erlmcp").read_bytes() == entries[-1][1]
    assert store.observe().find(version="1.0.0").missing_hooks == ("bin/hooks/mine",)


def test_what_rebar3_packs_twice_is_laid_down(install, install_dir):
    install(extra=rebar3_entries())
    assert sorted(os.listdir(install_dir / "next" / "etc")) == ["sys.config", "vm.args"]


def test_the_order_is_that_of_installation(store, install):
    for version in ("2.0.0", "1.0.0", "3.0.0"):
        install(version, stage=False)
    assert store.observe().versions == ["2.0.0", "1.0.0", "3.0.0"]


def test_prune(store, install, install_dir):
    for version in ("1", "2", "3", "4"):
        install(version, stage=False, keep=0)
    plan = install("5", keep=2)
    assert plan.removed == ["1", "2"]
    assert sorted(os.listdir(install_dir / "releases")) == ["3", "4", "5"]


def test_stage_again_and_back(store, install, install_dir):
    install("1")
    store.slots.activate()
    install("2")
    assert store.slots.state().next == "2"
    store.apply(plan_present(store.observe(), store.observe().find(version="1"), stage=True, keep=3))
    assert (store.slots.state().current, store.slots.state().next) == ("1", None)


def test_absent(store, install, install_dir):
    for version in ("1", "2"):
        install(version)
        store.slots.activate()
    assert store.slots.state().previous == "1"
    store.apply(plan_absent(store.observe(), "1"))
    assert os.listdir(install_dir / "releases") == ["2"]
    assert not (install_dir / "previous").is_symlink()


def test_an_unknown_directory_is_foreign_and_can_be_removed(store, install, install_dir, tmp_path):
    install("1")
    shutil.copytree(install_dir / "releases/1", install_dir / "releases/copied")
    (install_dir / "releases/file").touch()
    (install_dir / "releases/linked").symlink_to(tmp_path)
    assert store.observe().foreign == ("copied", "file", "linked")
    for name in ("copied", "file", "linked"):
        store.apply(plan_absent(store.observe(), name))
    assert os.listdir(install_dir / "releases") == ["1"]
    assert tmp_path.exists()


@pytest.mark.parametrize("record", ["", "[]", "{}", '{"version": "1"}', "null"])
def test_a_damaged_record_is_no_release(store, install, install_dir, record):
    install("1")
    (install_dir / "releases/1" / RECORD).write_text(record)
    assert store.observe().foreign == ("1",)


@pytest.mark.parametrize("step", ["_sync_tree", "write_atomically"])
def test_killed_while_unpacking(store, install, install_dir, monkeypatch, step):
    child = os.fork()
    if child == 0:
        monkeypatch.setattr(store_module, step, lambda *arguments: os.kill(os.getpid(), signal.SIGKILL))
        install("1")
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    [leftover] = store.observe().leftovers
    assert leftover.startswith(".staging-")
    assert store.observe().versions == []
    install("1")
    assert os.listdir(install_dir / "releases") == ["1"]


def test_killed_while_removing(store, install, install_dir, monkeypatch):
    install("1", stage=False)
    install("2")
    child = os.fork()
    if child == 0:
        monkeypatch.setattr(store_module, "_delete", lambda path: os.kill(os.getpid(), signal.SIGKILL))
        store.apply(plan_absent(store.observe(), "1"))
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert store.observe().versions == ["2"]
    store.apply(plan_absent(store.observe(), "1"))
    assert os.listdir(install_dir / "releases") == ["2"]


def test_killed_before_staging(store, install, monkeypatch):
    monkeypatch.setattr(store, "_link", lambda plan: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        install("1")
    monkeypatch.undo()
    there = store.observe()
    assert (there.versions, there.slots.next) == (["1"], None)
    plan = install("1")
    assert not plan.installs
    assert store.observe().slots.next == "1"


BEAM = "lib/stdlib-4.2/ebin/lists.beam"


def test_a_rebuild_takes_the_place_of_what_never_was_healthy(store, install, install_dir):
    install("1")
    plan = install("1", note="rebuilt")
    assert plan.replaced
    assert (install_dir / "next" / BEAM).read_bytes() == b"FOR1rebuilt"
    assert os.listdir(install_dir / "releases") == ["1"]
    assert store.observe().find(version="1").sha256 == plan.release.sha256
    assert not install("1", note="rebuilt").installs


def test_killed_while_replacing(tmp_path):
    archives = {note: tmp_path / f"{note}.tar.gz" for note in ("old", "new")}
    reads = {
        note: partial(read_archive, str(path), pack(path, release_entries("1", note=note)), "erlmcp")
        for note, path in archives.items()
    }

    def install(store, note):
        plan = plan_present(store.observe(), reads[note](), stage=True, keep=3)
        store.apply(plan, reads[note])

    def prepare(number):
        store = Store(str(tmp_path / f"opt-{number}"))
        install(store, "old")
        return store

    seen = set()
    for store in killed_everywhere(prepare, lambda store: install(store, "new")):
        found = (Path(store.slots.root) / "next" / BEAM).read_bytes()
        assert store.observe().versions == ["1"]
        seen.add(found)
        install(store, "new")
        assert (Path(store.slots.root) / "next" / BEAM).read_bytes() == b"FOR1new"
        assert os.listdir(store.slots.path("")) == ["1"]
    assert seen == {b"FOR1old", b"FOR1new"}


def test_a_damaged_release_is_repaired_below_a_node_that_works_in_it_whatever_kills_the_run(tmp_path):
    path = tmp_path / "one.tar.gz"
    read = partial(read_archive, str(path), pack(path, release_entries("1")), "erlmcp")

    def install(store):
        store.apply(plan_present(store.observe(), read(), stage=True, keep=3), read)

    def prepare(number):
        store = Store(str(tmp_path / f"opt-{number}"))
        install(store)
        store.slots.activate()
        release = Path(store.slots.path("1"))
        (release / BEAM).unlink()
        (release / "more").touch()
        return store

    for store in killed_everywhere(prepare, install):
        release = Path(store.slots.path("1"))
        before = release.stat().st_ino
        install(store)
        assert damaged_files(str(release)) == []
        assert (release / BEAM).read_bytes() == b"FOR1"
        assert not (release / "more").exists()
        assert release.stat().st_ino == before
        assert os.listdir(store.slots.path("")) == ["1"]
        assert store.observe().slots.current == "1"


def test_what_was_activated_meanwhile_is_not_replaced(store, install, install_dir, monkeypatch):
    install("1")
    sync_tree = store_module._sync_tree

    def activated_meanwhile(root):
        store.slots.activate()
        sync_tree(root)

    monkeypatch.setattr(store_module, "_sync_tree", activated_meanwhile)
    with pytest.raises(OpsError, match="release 1 was put to use .* run again"):
        install("1", note="rebuilt")
    assert (install_dir / "current" / BEAM).read_bytes() == b"FOR1"
    assert os.listdir(install_dir / "releases") == ["1"]


def test_where_directories_cannot_be_exchanged_it_is_told_what_to_do(store, install, install_dir, monkeypatch):
    def cannot(one, other):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), one)

    monkeypatch.setattr(store_module, "exchange", cannot)
    install("1")
    with pytest.raises(OpsError, match="remove release 1 with the playbook remove_release"):
        install("1", note="rebuilt")
    assert os.listdir(install_dir / "releases") == ["1"]


def test_that_a_node_was_healthy_is_noted_of_the_current_release(store, install, install_dir):
    note_proven(store.slots)
    install("1")
    note_proven(store.slots)
    assert not store.observe().find(version="1").proven
    store.slots.activate()
    install("2")
    note_proven(store.slots)
    assert [release.proven for release in store.observe().installed] == [True, False]
    noted = (install_dir / "current" / RECORD).stat().st_ino
    note_proven(store.slots)
    assert (install_dir / "current" / RECORD).stat().st_ino == noted


def test_a_release_of_before_this_was_noted_counts_as_proven(store, install, install_dir):
    install("1")
    record = json.loads((install_dir / "next" / RECORD).read_text())
    assert record.pop("proven") is False
    (install_dir / "next" / RECORD).write_text(json.dumps(record))
    assert store.observe().find(version="1").proven


@pytest.mark.parametrize("record", [None, "", "[]", "null"])
def test_where_nothing_can_be_noted_nothing_fails(store, install, install_dir, record):
    install("1")
    store.slots.activate()
    path = install_dir / "current" / RECORD
    path.unlink()
    if record is not None:
        path.write_text(record)
    note_proven(store.slots)
    assert (path.read_text() if path.exists() else None) == record


def test_a_full_disk(store, install, install_dir, monkeypatch):
    def full(source, target, length):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(store_module.shutil, "copyfileobj", full)
    with pytest.raises(OpsError, match=r"release 1: No space left.*free some space") as refused:
        install("1")
    assert refused.value.kind == "space"
    assert os.listdir(install_dir / "releases") == []


def test_an_archive_that_turns_bad_while_unpacking(store, install_dir, tmp_path):
    path = tmp_path / "erlmcp.tar.gz"
    digest = pack(path, release_entries())
    plan = plan_present(store.observe(), read_archive(str(path), digest, "erlmcp"), stage=True, keep=3)
    pack(path, [*release_entries(), entry("../evil")])
    with pytest.raises(OpsError, match="leads out"):
        store.apply(plan, partial(read_archive, str(path), digest, "erlmcp"))
    assert os.listdir(install_dir / "releases") == []
    assert not (install_dir / "next").is_symlink()


def test_two_runs_at_once(store, install, install_dir):
    (install_dir / "releases").mkdir(parents=True)
    descriptor = os.open(install_dir / "releases", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        with pytest.raises(OpsError, match="another run is at work"):
            install("1")
    finally:
        os.close(descriptor)


def test_the_machine(store):
    there = store.observe_machine(FakeErl("Erlang (SMP,ASYNC_THREADS) (BEAM) emulator version 13.1.5\n"))
    assert there.system_erts == "13.1.5"
    assert there.architecture == os.uname().machine
    assert there.free_bytes > 0


@pytest.mark.parametrize("runner", [FakeErl("erl: Exec format error"), NoErl()], ids=["broken", "missing"])
def test_a_machine_without_erlang(store, runner):
    assert store.observe_machine(runner).system_erts is None
