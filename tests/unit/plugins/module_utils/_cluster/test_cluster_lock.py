# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lock of a cluster on one host. Runs that race for it on several are in ``tests/unit/roles``."""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
from dataclasses import asdict, replace
from types import SimpleNamespace

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._cluster.holder import Holder
from ansible_collections.erlmcp.ops.plugins.module_utils._cluster.lock import cluster_lock, plan_held
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError

ALICE = Holder("alice", "ops1", "boot-1", "pid:[1]", 4711, 100)
BOB = Holder("bob", "ops2", "boot-2", "pid:[1]", 4711, 100)
NOON = 1735732800


def request(**options):
    return {"what": "upgrade", "ttl_seconds": 3600, "take_over": None, "break_lock": False, **options}


@pytest.fixture(name="held")
def _held():
    return plan_held(None, ALICE, request(), NOON, "n1")[0]


def test_a_free_lock_names_its_holder_and_expires(held):
    assert held == {
        "holder": asdict(ALICE),
        "what": "upgrade",
        "since": "2025-01-01T12:00:00Z",
        "expires": "2025-01-01T13:00:00Z",
        "token": ALICE.token,
    }


def test_who_is_refused_learns_who_holds_it_and_what_to_do(held):
    with pytest.raises(OpsError) as refused:
        plan_held(held, BOB, request(), NOON + 60, "n1")
    message = str(refused.value)
    for part in (
        "alice@ops1 holds the lock of the cluster on host n1 for upgrade",
        "process 4711 on ops1",
        "since 2025-01-01T12:00:00Z, until 2025-01-01T13:00:00Z",
        "the next run on ops1 takes the lock over by itself",
        "-e erlmcp_cluster_lock_break=true",
    ):
        assert part in message
    assert refused.value.kind == "locked"
    assert refused.value.details["lock"] == held


def test_its_holder_renews_it(held):
    renewed, reason = plan_held(held, ALICE, request(what="restart"), NOON + 1800, "n1")
    assert renewed == {**held, "expires": "2025-01-01T13:30:00Z"}
    assert reason is None


def test_its_holder_renews_it_after_it_expired(held):
    renewed, reason = plan_held(held, ALICE, request(), NOON + 7200, "n1")
    assert (renewed["since"], renewed["expires"], reason) == ("2025-01-01T12:00:00Z", "2025-01-01T15:00:00Z", None)


@pytest.mark.parametrize(
    ("options", "now", "reason"),
    [
        ({}, NOON + 3600, "expired"),
        ({"take_over": ALICE.token}, NOON, "ended"),
        ({"break_lock": True}, NOON, "broken"),
    ],
)
def test_it_is_taken_from_another(held, options, now, reason):
    record, why = plan_held(held, BOB, request(**options), now, "n1")
    assert (record["holder"], record["token"], why) == (asdict(BOB), BOB.token, reason)


def test_it_is_not_taken_from_another_than_the_one_who_ended(held):
    with pytest.raises(OpsError, match="alice@ops1"):
        plan_held(held, BOB, request(take_over="another"), NOON, "n1")


@pytest.fixture(name="lock")
def _lock(tmp_path):
    def lock(state="held", holder=ALICE, check_mode=False, **options):
        params = {"service": "erlmcp", "run_dir": str(tmp_path / "run"), "state": state, "holder": asdict(holder)}
        return cluster_lock(SimpleNamespace(params={**params, **request(**options)}, check_mode=check_mode))

    return lock


@pytest.fixture(name="path")
def _path(tmp_path):
    return tmp_path / "run" / "erlmcp.cluster-lock"


def test_taken_renewed_released_and_never_a_change(lock, path):
    taken = lock()
    assert (taken["changed"], taken["taken_from"]) == (False, None)
    assert json.loads(path.read_text()) == taken["lock"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", taken["lock"]["since"])
    assert lock()["lock"]["since"] == taken["lock"]["since"]
    assert lock("released") == {"changed": False, "released": True}
    assert lock("released") == {"changed": False, "released": False}
    assert not path.exists()
    assert lock(holder=BOB)["lock"]["holder"] == asdict(BOB)


def test_another_is_refused_and_releases_nothing(lock, path):
    before = lock()["lock"]
    with pytest.raises(OpsError, match="alice@ops1"):
        lock(holder=BOB)
    assert not lock("released", holder=BOB)["released"]
    assert json.loads(path.read_text()) == before


def test_taken_over_with_a_note_of_whom_from(lock):
    before = lock()["lock"]
    assert lock(holder=BOB, take_over=ALICE.token)["taken_from"] == {**before, "reason": "ended", "resumed": True}
    with pytest.raises(OpsError, match="bob@ops2"):
        lock()


def test_services_have_a_lock_each(lock):
    lock()
    lock(holder=BOB, service="other")


def test_check_mode_only_looks(lock, path, tmp_path):
    assert lock(check_mode=True)["lock"]["holder"] == asdict(ALICE)
    assert not lock("released", check_mode=True)["released"]
    assert os.listdir(tmp_path) == []
    lock()
    before = path.read_text()
    with pytest.raises(OpsError, match="alice@ops1"):
        lock(holder=BOB, check_mode=True)
    assert lock("released", check_mode=True)["released"]
    assert lock(holder=BOB, check_mode=True, break_lock=True)["taken_from"]["reason"] == "broken"
    assert path.read_text() == before


def test_only_root_reads_it(lock, path):
    lock()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_what_a_killed_writer_left_is_no_lock_and_is_cleared(lock, path):
    lock("released")
    path.with_name(f"{path.name}.tmp").write_text('{"half')
    lock()
    assert sorted(os.listdir(path.parent)) == ["erlmcp.cluster-lock", "erlmcp.cluster-lock.lock"]


def test_a_link_is_not_followed(lock, path, tmp_path):
    lock("released")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OpsError, match=f"{path}"):
        lock()
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_that_is_no_lock_is_left_alone(lock, path):
    lock("released")
    path.write_text("note")
    with pytest.raises(OpsError, match="is not a lock of ours"):
        lock()
    assert path.read_text() == "note"


def test_a_lock_without_time_is_refused(lock, path):
    with pytest.raises(OpsError, match="ttl_seconds: 0"):
        lock(ttl_seconds=0)
    assert not path.exists()


def test_one_of_many_gets_it(lock):
    got = []

    def race(holder):
        with contextlib.suppress(OpsError):
            lock(holder=holder)
            got.append(holder)

    for _round in range(20):
        threads = [threading.Thread(target=race, args=[replace(ALICE, pid=pid)]) for pid in range(1, 9)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(got) == 1
        assert lock("released", holder=got.pop())["released"]
