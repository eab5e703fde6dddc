# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which run this is, and which have ended, by real processes."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._cluster import holder as holder_module
from ansible_collections.erlmcp.ops.plugins.module_utils._cluster.holder import has_ended, this_run
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError


@pytest.fixture(name="process")
def _process():
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def of(process):
    """The holder that ``process`` is."""
    return replace(this_run(), pid=process.pid, started=holder_module._started(process.pid))


def test_a_run_is_known_by_its_process():
    run = this_run()
    assert run.pid == os.getpid()
    assert this_run() == run
    assert run.token == this_run().token


def test_a_task_works_for_the_run_that_started_it():
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    worker = context.Process(target=lambda: queue.put(this_run()))
    worker.start()
    assert queue.get() == this_run()
    worker.join()


def test_a_task_whose_run_was_killed_holds_nothing():
    program = (
        "import multiprocessing, os, time\n"
        "from ansible_collections.erlmcp.ops.plugins.module_utils._cluster.holder import this_run\n"
        "def work():\n"
        "    while os.getppid() == run: time.sleep(0.01)\n"
        "    try: this_run()\n"
        "    except Exception as error: os.write(2, f'{type(error).__name__}: {error}'.encode())\n"
        "run = os.getpid()\n"
        "multiprocessing.get_context('fork').Process(target=work).start()\n"
        "os.kill(run, 9)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True) as killed:
        said = killed.stderr.read()
    assert said == f"OpsError: the run of Ansible, process {killed.pid}, has ended"


def test_runs_differ_in_all_that_makes_a_process(process):
    run = of(process)
    others = [
        replace(run, **other)
        for other in ({"host": "x"}, {"boot_id": "x"}, {"pid_namespace": "x"}, {"pid": 1}, {"started": 1})
    ]
    assert len({run.token, *(other.token for other in others)}) == 6
    assert replace(run, user="x").token == run.token


def test_a_process_that_runs_has_not_ended(process):
    assert not has_ended(of(process))


def test_a_killed_process_has_ended_before_it_is_reaped_and_after(process):
    run = of(process)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert has_ended(run)
    process.wait()
    assert has_ended(run)


def test_a_process_id_that_is_used_again_is_another_run(process):
    run = of(process)
    assert has_ended(replace(run, started=run.started - 1))


@pytest.mark.skipif(os.geteuid() != 0, reason="another user is needed")
@pytest.mark.parametrize("hidden", [False, True])
def test_a_process_of_another_user_is_seen_even_when_it_is_hidden(process, monkeypatch, hidden):
    """In a child with another user; ``hidden`` stands for what the mount option hidepid makes of /proc."""
    run = of(process)
    if hidden:
        monkeypatch.setattr(holder_module, "_started", lambda pid: None)

    def judge():
        os.setuid(65534)
        assert not has_ended(run)

    child = multiprocessing.get_context("fork").Process(target=judge)
    child.start()
    child.join()
    assert child.exitcode == 0


def test_a_process_name_may_hold_anything(tmp_path):
    program = tmp_path / "x) Z 1 ("
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([str(program), "60"]) as process:
        try:
            assert "x) Z 1 (" in Path(f"/proc/{process.pid}/stat").read_text()
            assert not has_ended(of(process))
        finally:
            process.kill()


def test_who_works_as_root_is_still_somebody(monkeypatch):
    monkeypatch.setenv("SUDO_USER", "alice")
    assert str(this_run()).startswith("alice@")


def test_a_control_node_without_linux_is_told(monkeypatch):
    monkeypatch.setattr(holder_module, "_BOOT_ID", "/none/boot_id")
    with pytest.raises(OpsError, match="has no /none/boot_id"):
        this_run()
