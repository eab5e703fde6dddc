# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pruning, on real files."""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.lock import Lock
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.prune import backup_prune
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.store import Store
from ansible_collections.erlmcp.ops.plugins.module_utils._core import trees
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.tests.unit.plugins.module_utils._backup.stored_archives import (
    name_of,
    publish,
    verify,
)

NOW = datetime.now(timezone.utc)
NOTHING = {"keep_days": 0, "keep_daily": 0, "keep_weekly": 0, "keep_monthly": 0, "keep_last": 1}


def ago(days):
    return f"{NOW - timedelta(days=days):%Y%m%dT%H%M%SZ}"


@pytest.fixture(name="host")
def _host(tmp_path):
    """A store with five archives, the second newest verified."""
    store = Store(str(tmp_path / "store"))
    store.prepare()
    names = [publish(store, ago(days)) for days in (50, 40, 30, 20, 10)]
    verify(store, names[3])
    (tmp_path / "erlmcp").mkdir()
    return SimpleNamespace(path=tmp_path, store=store, names=names)


def prune(host, check=False, **options):
    params = {
        "store_dir": host.store.root,
        "service": "erlmcp",
        "run_dir": str(host.path / "run"),
        "metrics_dir": "",
        "data_dir": str(host.path / "erlmcp"),
        "safety_copy_days": 7,
        **NOTHING,
        **options,
    }
    return backup_prune(SimpleNamespace(params=params, check_mode=check), None)


def everything(host):
    return sorted(
        os.path.join(parent, name)
        for parent, directories, files in os.walk(host.path)
        for name in [*directories, *files]
    )


def safety_copy(host, kind, days):
    path = host.path / f"erlmcp.{kind}-{ago(days)}"
    (path / "mnesia").mkdir(parents=True)
    (path / "mnesia" / "table.DCD").write_bytes(b"x" * 100)
    (host.path / f"{path.name}.json").write_text("{}")
    return str(path)


def test_the_newest_and_the_last_verified_stay(host):
    result = prune(host)
    assert result["removed"] == host.names[:3]
    assert [each["name"] for each in result["kept"]] == host.names[3:]
    assert [backup.name for backup in host.store.backups()] == host.names[3:]
    assert host.store.backups()[0].verified
    assert result["freed_bytes"] == 3 * len(b"archive")
    assert result["changed"]


def test_check_mode_predicts_it_and_does_nothing(host):
    safety_copy(host, "before-restore", 30)
    safety_copy(host, "before-restore", 20)
    (host.path / "store" / f".{name_of('20200101T000000Z')}.part").write_text("")
    before = everything(host)
    predicted = prune(host, check=True)
    assert everything(host) == before
    assert prune(host) == predicted
    assert predicted["diff"]["before"].count("\n") == 5 + 2 + 1
    assert predicted["diff"]["after"].count("\n") == 2 + 1
    again = prune(host)
    assert not again["changed"]
    assert again["diff"]["before"] == again["diff"]["after"]


def test_without_a_verified_one_nothing_goes_and_it_is_said(host):
    host.store.unmark(host.names[3], "verified")
    result = prune(host)
    assert result["removed"] == []
    assert not result["changed"]
    assert any("verify_backups" in warning for warning in result["warnings"])


def test_what_is_not_ours_or_has_a_problem_stays_and_is_said(host):
    os.unlink(host.path / "store" / f"{host.names[0]}.json")
    (host.path / "store" / "notes-of-the-operator.tar.zst").write_text("")
    result = prune(host)
    assert result["removed"] == host.names[1:3]
    assert any(host.names[0] in warning for warning in result["warnings"])
    assert (host.path / "store" / "notes-of-the-operator.tar.zst").exists()


def test_it_waits_for_nobody_and_takes_nothing_from_a_backup_at_work(host):
    part = host.path / "store" / f".{name_of('20200101T000000Z')}.part"
    part.write_text("")
    with Lock(str(host.path / "run"), "erlmcp", "backup"):
        for check in (True, False):
            with pytest.raises(OpsError, match="a backup"):
                prune(host, check)
    assert part.exists()
    assert len(host.store.backups()) == 5


@pytest.mark.parametrize("name", [*NOTHING, "safety_copy_days"])
@pytest.mark.parametrize("value", [-1, 10**12])
def test_nonsense_is_refused(host, name, value):
    with pytest.raises(OpsError, match=name):
        prune(host, **{name: value})
    assert len(host.store.backups()) == 5


def test_on_a_fresh_host_there_is_nothing_to_do(tmp_path):
    host = SimpleNamespace(path=tmp_path, store=Store(str(tmp_path / "store")))
    assert not prune(host, check=True)["changed"]
    assert os.listdir(tmp_path) == []
    assert not prune(host)["changed"]
    assert not os.path.exists(host.store.root)


def test_old_safety_copies_go_but_for_the_only_way_back(host):
    going = [safety_copy(host, "before-restore", 40), safety_copy(host, "failed-restore", 20)]
    newest = safety_copy(host, "reverted", 30)
    assert prune(host)["removed_safety_copies"] == going
    left = sorted(name for name in os.listdir(host.path) if name.startswith(("erlmcp.", ".erlmcp")))
    assert left == sorted([os.path.basename(newest), f"{os.path.basename(newest)}.json"])


def test_young_safety_copies_stay(host):
    for kind, days in (("before-restore", 6), ("failed-restore", 1), ("reverted", 3)):
        safety_copy(host, kind, days)
    assert prune(host)["removed_safety_copies"] == []


def test_while_a_restore_is_half_done_no_safety_copy_goes(host):
    for days in (40, 30):
        safety_copy(host, "before-restore", days)
    (host.path / ".erlmcp.restore").mkdir()
    result = prune(host)
    assert result["removed_safety_copies"] == []
    assert any("cut off" in warning for warning in result["warnings"])


def test_only_what_a_restore_names_so_is_a_safety_copy(host):
    safety_copy(host, "before-restore", 10)
    for name in ("erlmcp.before-restore-mine", "erlmcp-other.before-restore-20200101T000000Z"):
        (host.path / name).mkdir()
    (host.path / "erlmcp.before-restore-20209999T000000Z").mkdir()
    (host.path / "erlmcp.before-restore-20200101T000000Z").symlink_to("store")
    (host.path / "erlmcp.before-restore-20200102T000000Z").write_text("")
    assert prune(host)["removed_safety_copies"] == []
    assert len(os.listdir(host.path / "store")) > 0


def test_a_removal_of_a_safety_copy_that_was_cut_off_is_finished(host, monkeypatch):
    copy = safety_copy(host, "before-restore", 40)
    safety_copy(host, "before-restore", 30)

    remove = trees.remove

    def killed_at_the_copy(path):
        if not path.endswith(".json"):
            raise KeyboardInterrupt
        remove(path)

    with monkeypatch.context() as patch:
        patch.setattr(trees, "remove", killed_at_the_copy)
        with pytest.raises(KeyboardInterrupt):
            prune(host)
    # It is no way back any more.
    assert not os.path.exists(copy)
    result = prune(host)
    assert [os.path.basename(path) for path in result["cleared"]] == [f".erlmcp.removing-{os.path.basename(copy)}"]
    assert not [name for name in os.listdir(host.path) if "removing" in name]


def test_a_note_whose_copy_is_gone_is_cleared(host):
    note = host.path / f"erlmcp.before-restore-{ago(3)}.json"
    note.write_text("{}")
    assert prune(host)["cleared"] == [str(note)]
    assert not note.exists()
