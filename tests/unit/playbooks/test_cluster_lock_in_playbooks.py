# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Of two runs that change a cluster one waits, so every playbook that does takes the lock and gives it back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

PLAYBOOKS = Path(__file__).parents[3] / "playbooks"
ROLES = PLAYBOOKS.parent / "roles"
# Of these it is known: the lock is not there yet, or taking it is what failed.
NOT_HELD = {"check", "lock"}
# What these change no other run trips over, or they change nothing.
WITHOUT_LOCK = {
    "audit_security": "looks",
    "backup": "writes to the store of its host, which has a lock of its own",
    "check_health": "looks",
    "client_certificates": "writes to the control node",
    "prune_backups": "as backup",
    "restore_drill": "starts a node of its own",
    "scale": "plans; on Kubernetes the API server decides who is first",
    "verify_backups": "as backup",
}


def load(name):
    return yaml.safe_load((PLAYBOOKS / f"{name}.yml").read_text())


def imported(plays):
    return [play["ansible.builtin.import_playbook"].removesuffix(".yml") for play in plays if not hosts_of(play)]


def hosts_of(play):
    return play.get("hosts")


ALL = {path.stem for path in PLAYBOOKS.glob("*.yml")}
PARTS = {part for name in ALL for part in imported(load(name))} - {"roll", "rotate_tls", "site"}


def whole(name):
    """The plays of a playbook in their order, those that it imports among them."""
    for play in load(name):
        if hosts_of(play):
            yield {**play, "tasks": [step for task in play["tasks"] for step in written_out(task)]}
        else:
            yield from whole(play["ansible.builtin.import_playbook"].removesuffix(".yml"))


def written_out(task):
    """The tasks of a file of the playbooks that is included."""
    path = PLAYBOOKS / task.get("ansible.builtin.include_tasks", "")
    return yaml.safe_load(path.read_text()) if path.is_file() else [task]


def tasks_from(play):
    return re.findall(r"'tasks_from': '(\w+)'", str(play))


def steps(tasks):
    """What a play runs outside of a block that gives the lock back."""
    for task in tasks:
        if "give_up" in str(task.get("rescue")):
            continue
        yield from steps(task["block"]) if "block" in task else [task]


def tasks_of(step):
    """The tasks of the file that is imported or included from a role; of anything else itself."""
    role = step.get("ansible.builtin.import_role") or step.get("ansible.builtin.include_role")
    if not role:
        return [step]
    path = ROLES / role["name"].rpartition(".")[2] / "tasks" / f"{role.get('tasks_from', 'main')}.yml"
    return yaml.safe_load(path.read_text()) or []


def cannot_keep_the_lock(step):
    """Whether it only tells or sorts, or gives the lock back itself when it fails."""
    return all(
        {"ansible.builtin.debug", "ansible.builtin.group_by"} & set(task) or "give_up" in str(task.get("rescue"))
        for task in tasks_of(step)
    )


@pytest.mark.parametrize("name", sorted(ALL - PARTS - set(WITHOUT_LOCK)))
def test_a_playbook_that_changes_a_cluster_locks_it_and_gives_the_lock_back(name):
    plays = [tasks_from(play) for play in whole(name)]
    locking = [number for number, tasks in enumerate(plays) if "lock" in tasks]
    unlocking = [number for number, tasks in enumerate(plays) if "unlock" in tasks]
    assert locking, "takes no lock"
    assert unlocking, "keeps the lock"
    assert unlocking[-1] > locking[-1]


@pytest.mark.parametrize("name", sorted(ALL - PARTS - set(WITHOUT_LOCK)))
def test_whatever_fails_gives_the_lock_back_too(name):
    is_held = False
    for task in (task for play in whole(name) for task in play["tasks"]):
        is_held = (is_held or "lock" in tasks_from(task)) and "unlock" not in tasks_from(task)
        for step in steps([task] if is_held else []):
            assert set(tasks_from(step)) & NOT_HELD or cannot_keep_the_lock(step), step


def test_what_takes_no_lock_exists():
    assert set(WITHOUT_LOCK) <= ALL
