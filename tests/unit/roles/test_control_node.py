# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is done on the control node takes nothing over that is meant for hosts.

A variable like ``ansible_become`` in ``group_vars/all`` is the control node's too, also when no inventory names it, and
beats the keyword ``become`` of a task. So a task that is delegated there sets it as a variable.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
WANTED = {"ansible_become": False, "ansible_python_interpreter": "{{ ansible_playbook_python }}"}


def delegated(tasks, variables=None):
    """Yield name and variables of each task, in blocks too, that is delegated to the control node."""
    for task in tasks or []:
        given = {**(variables or {}), **(task.get("vars") or {})}
        if task.get("delegate_to") == "localhost":
            yield task["name"], given
            continue
        for part in ("block", "rescue", "always"):
            yield from delegated(task.get(part), given)


TASKS = [
    (str(path.relative_to(ROOT)), *found)
    for path in sorted([*ROOT.glob("roles/*/tasks/*.yml"), *ROOT.glob("playbooks/tasks/*.yml")])
    for found in delegated(yaml.safe_load(path.read_text()))
]


@pytest.mark.parametrize(("path", "name", "variables"), TASKS)
def test_a_task_on_the_control_node_is_not_run_as_on_hosts(path, name, variables):
    assert {key: variables.get(key) for key in WANTED} == WANTED, (path, name)


def test_there_are_such_tasks():
    assert len(TASKS) > 10
