# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A check of arguments that fails prints no secret, and generates none. Ansible prints the whole spec with it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

SECRETS = {"cookie": "CookieThatNobodyMaySee0123456789", "ca/passphrase": "PassphraseThatNobodyMaySee0123456"}


def a_number(role):
    """A variable of the role that text cannot be."""
    specs = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]
    options = specs.get("main", {}).get("options", {})
    return next((name for name, option in options.items() if option["type"] in ("int", "bool")), None)


ROLES = {role.name: a_number(role) for role in (Path(__file__).parents[3] / "roles").iterdir()}
CASES = {
    **{
        role: (variable, [{"ansible.builtin.include_role": {"name": f"erlmcp.ops.{role}"}}])
        for role, variable in sorted(ROLES.items())
        if variable
    },
    "check_variables": ("erlmcp_mcp_port", [{"erlmcp.ops.check_variables": {"roles": ["erlmcp", "erlmcp_tls"]}}]),
}


@pytest.fixture(name="kept")
def _kept(tmp_path):
    """Where the control node keeps what it generates."""
    return tmp_path / ".config/erlmcp/erlmcp"


def fail(tmp_path, variable, tasks):
    """Play with a value that is refused, and return what was printed."""
    book, inventory = tmp_path / "book.yml", tmp_path / "hosts.yml"
    hosts = {"h.test": {"ansible_host": "127.0.0.1", "ansible_connection": "local"}}
    inventory.write_text(json.dumps({"erlmcp": {"hosts": hosts}}))
    book.write_text(json.dumps([{"hosts": "erlmcp", "gather_facts": False, "tasks": tasks}]))
    done = subprocess.run(
        ["ansible-playbook", "-vvv", "-i", str(inventory), str(book), "-e", f"{variable}=12x"],
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode != 0
    assert variable in done.stdout
    return done.stdout + done.stderr


@pytest.mark.parametrize("case", CASES)
def test_a_check_that_fails_shows_no_secret(tmp_path, kept, case):
    for name, secret in SECRETS.items():
        (kept / name).parent.mkdir(parents=True, exist_ok=True)
        (kept / name).write_text(secret)
    shown = fail(tmp_path, *CASES[case])
    assert not [secret for secret in SECRETS.values() if secret in shown]


@pytest.mark.parametrize("case", ["check_variables", "erlmcp_tls"])
def test_a_check_that_fails_generates_none(tmp_path, kept, case):
    fail(tmp_path, *CASES[case])
    assert not kept.exists()
