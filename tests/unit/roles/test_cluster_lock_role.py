# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lock of a cluster between real runs of Ansible, on hosts that are directories of this one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict

import pytest
import yaml
from ansible_collections.erlmcp.ops.plugins.module_utils._cluster.holder import Holder

BOB = Holder("bob", "ops2", "boot-2", "pid:[1]", 4711, 100)
HOSTS = ["a", "b", "c"]
DEADLINE_SECONDS = 60
# The item is the host that a task is delegated to.
RUN_DIR = "{{ directory }}/{{ item | default(inventory_hostname) }}"


def role(tasks_from, **variables):
    return {
        "name": tasks_from,
        "ansible.builtin.import_role": {"name": "erlmcp.ops.erlmcp_cluster", "tasks_from": tasks_from},
        "vars": variables,
    }


LOCK = role("lock", __erlmcp_cluster_lock_what="upgrade")
UNLOCK = role("unlock")
SHOW = {"name": "Show", "ansible.builtin.debug": {"var": "__erlmcp_cluster_lock.taken_from.reason"}}
# A run that was killed leaves its task at work; it ends with the file too.
WAIT = {
    "name": "Wait",
    "ansible.builtin.shell": "touch $PPID.waits; while [ -e wait ]; do sleep 0.02; done",
    "args": {"chdir": "{{ directory }}"},
    "changed_when": False,
    "run_once": True,
}
FAIL = {"name": "Break", "ansible.builtin.fail": {"msg": "broken"}}


class Site:
    """An inventory, and runs of Ansible on it."""

    def __init__(self, directory, extra_hosts):
        self.directory = directory
        self.waiting = directory / "wait"
        hosts = {
            name: {"ansible_host": f"192.0.2.{number}", "ansible_connection": "local"}
            for number, name in enumerate(HOSTS, 1)
        }
        for order, names in {"inventory": HOSTS, "reversed": HOSTS[::-1]}.items():
            group = {"hosts": {**{name: hosts[name] for name in names}, **extra_hosts}}
            variables = {"directory": str(directory), "ansible_python_interpreter": sys.executable}
            content = {"all": {"vars": variables, "children": {"erlmcp": group}}}
            (directory / f"{order}.yml").write_text(yaml.safe_dump(content, sort_keys=False))

    def start(self, *tasks, serial=None, options=(), inventory="inventory"):
        """Start a run with one play for each list of tasks."""
        plays = [
            {
                "name": "Play",
                "hosts": "erlmcp",
                "gather_facts": False,
                "any_errors_fatal": True,
                "module_defaults": {"erlmcp.ops.cluster_lock": {"run_dir": RUN_DIR}},
                "tasks": each,
            }
            for each in tasks
        ]
        if serial:
            plays[-1]["serial"] = serial
        playbook = self.directory / f"{inventory}-{len(os.listdir(self.directory))}.play.yml"
        playbook.write_text(yaml.safe_dump(plays, sort_keys=False))
        command = [sys.executable, "-m", "ansible", "playbook", "-i", f"{inventory}.yml", playbook.name, *options]
        environment = {**os.environ, "HOME": str(self.directory), "ANSIBLE_LOCALHOST_WARNING": "false"}
        return subprocess.Popen(
            command,
            cwd=self.directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *tasks, **options):
        """Return exit status and output of a run."""
        return finish(self.start(*tasks, **options))

    def lock(self, host):
        """What the host's lock says, or ``None``."""
        path = self.directory / host / "erlmcp.cluster-lock"
        return json.loads(path.read_text()) if path.exists() else None

    def holders(self):
        """Process ids of the holders, of hosts that are locked."""
        return {host: self.lock(host)["holder"]["pid"] for host in HOSTS if self.lock(host)}

    def lock_by_bob(self, host):
        (self.directory / host).mkdir(exist_ok=True)
        record = {
            "holder": asdict(BOB),
            "what": "restart",
            "since": "2025-01-01T12:00:00Z",
            "expires": "2999-01-01T12:00:00Z",
            "token": BOB.token,
        }
        (self.directory / host / "erlmcp.cluster-lock").write_text(json.dumps(record))

    def until_all_held_by(self, run):
        deadline = time.monotonic() + DEADLINE_SECONDS
        while self.holders() != dict.fromkeys(HOSTS, run.pid):
            assert run.poll() is None, run.stdout.read()
            assert time.monotonic() < deadline
            time.sleep(0.02)


def finish(run):
    output = run.communicate(timeout=DEADLINE_SECONDS)[0]
    return run.returncode, output


@pytest.fixture(name="make")
def _make(tmp_path):
    def make(**extra_hosts):
        return Site(tmp_path, extra_hosts)

    yield make
    (tmp_path / "wait").unlink(missing_ok=True)


@pytest.fixture(name="site")
def _site(make):
    return make()


def test_a_run_keeps_all_others_out_until_it_ends(site):
    site.waiting.touch()
    first = site.start([LOCK], [LOCK, WAIT], [UNLOCK])
    site.until_all_held_by(first)
    for options in ([], ["--check"]):
        status, output = site.run([LOCK, FAIL], options=options)
        assert status != 0
        assert f"(process {first.pid} on " in output
        assert "Nothing is locked by this run any more" in output
        assert "broken" not in output
        assert site.holders() == dict.fromkeys(HOSTS, first.pid)
    site.waiting.unlink()
    status, output = finish(first)
    assert (status, site.holders()) == (0, {}), output
    assert output.count(" changed=0 ") == len(HOSTS)


def test_a_limited_run_locks_the_whole_cluster(site):
    site.waiting.touch()
    first = site.start([LOCK, WAIT, UNLOCK], options=["--limit", "a"])
    site.until_all_held_by(first)
    assert site.run([LOCK], options=["--limit", "b"])[0] != 0
    site.waiting.unlink()
    status, output = finish(first)
    assert (status, site.holders()) == (0, {}), output


def test_what_a_killed_run_left_is_taken_over(site):
    site.waiting.touch()
    killed = site.start([LOCK, WAIT])
    site.until_all_held_by(killed)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait(DEADLINE_SECONDS) == -signal.SIGKILL
    status, output = site.run([LOCK, SHOW], options=["--check"])
    assert status == 0, output
    assert site.holders() == dict.fromkeys(HOSTS, killed.pid)
    status, output = site.run([LOCK, SHOW], [UNLOCK])
    assert (status, site.holders()) == (0, {}), output
    assert output.count('"__erlmcp_cluster_lock.taken_from.reason": "ended"') == len(HOSTS)


def test_a_run_that_is_refused_on_one_host_leaves_the_others_free(site):
    site.lock_by_bob("b")
    status, output = site.run([LOCK, FAIL])
    assert status != 0
    assert "bob@ops2 holds the lock of the cluster" in output
    assert "broken" not in output
    assert site.holders() == {"b": BOB.pid}
    assert site.run([LOCK], options=["--limit", "a"])[0] != 0
    assert site.holders() == {"b": BOB.pid}


def test_an_operator_may_break_it(site):
    site.lock_by_bob("b")
    status, output = site.run([LOCK, SHOW], options=["-e", "erlmcp_cluster_lock_break=true"])
    assert status == 0, output
    assert output.count('"__erlmcp_cluster_lock.taken_from.reason": "broken"') == 1
    assert site.holders().keys() == set(HOSTS)


def test_a_host_that_cannot_be_reached_locks_nothing(make):
    site = make(d={"ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_connection": "ssh"})
    status, output = site.run([LOCK, FAIL])
    assert status != 0
    assert "Connection refused" in output
    assert "broken" not in output
    assert site.holders() == {}


def test_a_host_that_may_be_down_keeps_nobody_from_the_lock(make):
    site = make(d={"ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_connection": "ssh"})
    optional = role("lock", __erlmcp_cluster_lock_what="leave", __erlmcp_cluster_lock_optional=["d"])
    status, output = site.run([optional])
    assert status == 0, output
    assert site.holders().keys() == set(HOSTS)
    status, output = site.run([LOCK], [UNLOCK], options=["--limit", "a,b"])
    assert (status, site.holders()) == (0, {}), output


def test_a_turn_that_fails_can_release_all(site):
    status, output = site.run([LOCK], [{"name": "Turn", "block": [LOCK, FAIL], "rescue": [UNLOCK, FAIL]}], serial=1)
    assert status != 0
    assert output.count("broken") >= 2
    assert site.holders() == {}


def test_of_two_runs_at_the_same_moment_at_most_one_works(site):
    """They take one host after the other, from both ends, so that each gets some."""
    site.waiting.touch()
    alone = [
        {"name": "Begin", "ansible.builtin.command": "mkdir {{ directory }}/alone", "run_once": True},
        {"name": "Work", "ansible.builtin.command": "sleep 0.5", "run_once": True},
        {"name": "End", "ansible.builtin.command": "rmdir {{ directory }}/alone", "run_once": True},
    ]
    runs = [
        site.start([WAIT, LOCK, *alone], [UNLOCK], options=["--forks", "1"], inventory=inventory)
        for inventory in ("inventory", "reversed")
    ]
    while len(list(site.directory.glob("*.waits"))) < len(runs):
        assert {run.poll() for run in runs} == {None}
        time.sleep(0.02)
    site.waiting.unlink()
    results = [finish(run) for run in runs]
    outputs = "\n".join(output for _status, output in results)
    assert 0 in [status for status, _output in results] or outputs.count("Nothing is locked by this run any more") >= 2
    assert "File exists" not in outputs
    assert site.holders() == {}
