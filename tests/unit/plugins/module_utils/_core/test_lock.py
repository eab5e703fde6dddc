# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lock, between real processes."""

from __future__ import annotations

import fcntl
import os
import platform
import re
import signal
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.module_utils._core.lock import Lock


@contextmanager
def holder(run_dir, what="restore", seconds=60):
    """A child that holds the lock until it is killed, or so long; yields its process id."""
    receiving, sending = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            Lock(run_dir, "erlmcp", what).__enter__()
            os.write(sending, b"x")
            time.sleep(seconds)
        finally:
            os._exit(1)
    os.close(sending)
    assert os.read(receiving, 1) == b"x"
    os.close(receiving)
    try:
        yield child
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@pytest.fixture(name="run_dir")
def _run_dir(tmp_path):
    return str(tmp_path / "run")


def test_who_is_refused_learns_who_holds_it(run_dir):
    with holder(run_dir) as pid, pytest.raises(OpsError, match=rf"a restore \(process {pid}, since 20") as refused:
        Lock(run_dir, "erlmcp", "backup").__enter__()
    assert refused.value.kind == "locked"
    assert refused.value.details["holder"]["pid"] == pid
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", refused.value.details["holder"]["since"])


def test_a_killed_holder_holds_nothing(run_dir):
    for _round in range(5):
        with holder(run_dir):
            pass
        Lock.wait_until_free(run_dir, "erlmcp")
        with Lock(run_dir, "erlmcp", "backup"):
            pass


def test_what_was_said_by_a_killed_holder_is_not_attributed_to_the_next(run_dir):
    with holder(run_dir, "restore"):
        pass
    with Lock(run_dir, "erlmcp", "backup"), pytest.raises(OpsError, match=rf"a backup \(process {os.getpid()},"):
        Lock(run_dir, "erlmcp", "prune").__enter__()


def test_a_refused_one_leaves_the_holder_alone(run_dir):
    with Lock(run_dir, "erlmcp", "backup"):
        for _attempt in range(2):
            with pytest.raises(OpsError, match="a backup"):
                Lock(run_dir, "erlmcp", "prune").__enter__()
        with pytest.raises(OpsError, match="a backup"):
            Lock.wait_until_free(run_dir, "erlmcp")


def test_a_look_tells_the_holder(run_dir):
    with holder(run_dir), pytest.raises(OpsError, match="a restore"):
        Lock.wait_until_free(run_dir, "erlmcp")


def test_a_look_makes_nothing(run_dir):
    Lock.wait_until_free(run_dir, "erlmcp")
    assert not os.path.exists(run_dir)


def test_a_look_refuses_nobody(run_dir):
    with Lock(run_dir, "erlmcp", "backup"):
        pass
    looking = os.open(f"{run_dir}/erlmcp.lock", os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    threading.Timer(0.2, os.close, [looking]).start()
    with Lock(run_dir, "erlmcp", "backup"):
        pass


def test_services_do_not_exclude_each_other(run_dir):
    with Lock(run_dir, "erlmcp", "backup"), Lock(run_dir, "other", "backup"):
        pass


def test_a_program_that_the_holder_started_does_not_hold_it(run_dir):
    with Lock(run_dir, "erlmcp", "backup") as lock:
        assert not os.get_inheritable(lock._descriptor)


def test_it_is_released_by_a_failure_too(run_dir):
    with pytest.raises(ValueError, match="x"), Lock(run_dir, "erlmcp", "backup"):
        raise ValueError("x")
    with Lock(run_dir, "erlmcp", "backup"):
        pass


def test_only_its_owner_reads_it(run_dir):
    with Lock(run_dir, "erlmcp", "backup"):
        assert os.stat(f"{run_dir}/erlmcp.lock").st_mode & 0o777 == 0o600
        assert os.stat(run_dir).st_mode & 0o777 == 0o700
    assert os.listdir(run_dir) == ["erlmcp.lock"]


def test_a_lock_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(OpsError, match=f"{tmp_path}/run"):
        Lock(str(tmp_path / "run"), "erlmcp", "backup").__enter__()


def test_an_orphan_that_ends_is_waited_for(run_dir):
    with holder(run_dir, "restart", seconds=1):
        began = time.monotonic()
        with Lock(run_dir, "erlmcp", "restart", patience_seconds=30):
            assert 0.5 < time.monotonic() - began < 10


def test_patience_ends_and_tells_the_holder(run_dir):
    began = time.monotonic()
    with holder(run_dir, "restart") as pid, pytest.raises(OpsError, match="try again when it has ended") as refused:
        Lock(run_dir, "erlmcp", "restart", patience_seconds=1).__enter__()
    assert 1 <= time.monotonic() - began < 10
    assert f"a restart (process {pid}, since 20" in str(refused.value)
    assert f" of erlmcp on host {platform.node()} is at work" in str(refused.value)


def test_an_observer_waits_and_changes_nothing(run_dir):
    record = Path(run_dir, "erlmcp.lock")
    with holder(run_dir, "restart", seconds=1):
        before = record.read_text()
        Lock.wait_until_free(run_dir, "erlmcp", 30)
        assert record.read_text() == before
    with holder(run_dir, "restart"), pytest.raises(OpsError, match="a restart"):
        Lock.wait_until_free(run_dir, "erlmcp", 0.1)
    assert os.listdir(run_dir) == ["erlmcp.lock"]


def test_a_companion_is_there_as_long_as_the_lock_is_held(run_dir, tmp_path):
    companion = tmp_path / "companion"
    with Lock(run_dir, "erlmcp", "backup", companion=str(companion)):
        assert companion.exists()
        with pytest.raises(OpsError):
            Lock(run_dir, "erlmcp", "prune", companion=str(companion)).__enter__()
        assert companion.exists()
    assert not companion.exists()


def test_a_companion_that_cannot_be_made_frees_the_lock(run_dir, tmp_path):
    with pytest.raises(OpsError, match="none/companion"):
        Lock(run_dir, "erlmcp", "backup", companion=str(tmp_path / "none" / "companion")).__enter__()
    with Lock(run_dir, "erlmcp", "backup"):
        pass
