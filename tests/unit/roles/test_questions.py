# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What role erlmcp_site asks a host is what the tasks of the roles would do there, to the letter."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
ROLES = ("release", "node", "tls", "logrotate", "backup", "firewall", "hardening")
# What stands for modules of ansible-core.
OTHERS = {"account": "ansible.builtin.user", "packages": "ansible.builtin.apt"}
# Where it is asked, a certificate is not renewed before its end; rotate_tls does that.
ONLY_HERE = {"certificate": {"renew": "unusable"}}


def load(path):
    return yaml.safe_load(path.read_text())


def questions_of(role):
    variables = load(ROOT / "roles" / f"erlmcp_{role}" / "vars" / "main.yml")
    return [
        question
        for name, value in variables.items()
        if name.endswith("_questions") and isinstance(value, list)
        for question in value
    ]


def tasks_of(role):
    files = (ROOT / "roles" / f"erlmcp_{role}" / "tasks").glob("*.yml")
    return [task for path in files for task in load(path) or []]


QUESTIONS = [(role, question) for role in ROLES for question in questions_of(role)]


@pytest.mark.parametrize(
    ("role", "question"), QUESTIONS, ids=[f"{role}-{question['module']}" for role, question in QUESTIONS]
)
def test_a_question_asks_what_a_task_does(role, question):
    assert question["role"] == f"erlmcp_{role}"
    name = question["module"]
    asked = {**question["options"], **ONLY_HERE.get(name, {})}
    done = [task[key] for task in tasks_of(role) for key in (f"erlmcp.ops.{name}", OTHERS.get(name)) if key in task]
    if name == "account":
        wanted = [{name: task[{"user": "name"}.get(name, name)] for name in asked} for task in done]
    elif name == "packages":
        wanted = [{"names": task["name"]} for task in done]
    else:
        wanted = [{**task, **ONLY_HERE.get(name, {})} for task in done]
        for each in wanted:
            each.pop("asked", None)
            # Known only after the release's task, in check mode.
            each.pop("release_files", None)
    assert asked in wanted


def test_every_role_that_site_may_leave_out_is_asked():
    tasks = load(ROOT / "playbooks" / "tasks" / "lay_down.yml")
    roles = [task["ansible.builtin.include_role"] for task in tasks if "ansible.builtin.include_role" in task]
    included = {role["name"] for role in roles if role["tasks_from"] == "lay_down"}
    assert included == {f"erlmcp.ops.{question['role']}" for _role, question in QUESTIONS}


@pytest.mark.parametrize("role", ROLES)
def test_every_module_that_changes_something_is_asked(role):
    """A module that nobody asks would be left out where it alone has something to do."""
    tasks = load(ROOT / "roles" / f"erlmcp_{role}" / "tasks" / "lay_down.yml")
    modules = {key.rpartition(".")[2] for task in tasks for key in task if key.startswith("erlmcp.ops.")}
    assert modules <= {question["module"] for question in questions_of(role)}
