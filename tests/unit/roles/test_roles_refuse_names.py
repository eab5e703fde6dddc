# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A node name that no node can have is told in the same words by whichever role is used alone."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

# A balancer is no node, pods have no names in the inventory, and role erlmcp_site is nothing alone.
WITHOUT_NAMES = ("erlmcp_load_balancer", "erlmcp_scale", "erlmcp_site")
ROLES = sorted(
    role.name
    for role in (Path(__file__).parents[3] / "roles").iterdir()
    if (role / "tasks/main.yml").exists() and role.name not in WITHOUT_NAMES
)
BAD = {
    "erlmcp_node_host": ("a b", "'erlmcp@a b' is no Erlang node name (erlmcp_node_name): 'a b' is no host name"),
    "erlmcp_node_name": ("erlmcp@h", "(erlmcp_node_name): a long name needs a host name with a dot or an address"),
}


def try_role(role):
    """Tasks that include a role, and note what it failed with."""
    return {
        "block": [{"ansible.builtin.include_role": {"name": f"erlmcp.ops.{role}"}}],
        "rescue": [{"ansible.builtin.set_fact": {f"of_{role}": "{{ ansible_failed_result.msg }}"}}],
    }


@pytest.mark.parametrize("variable", BAD)
def test_a_role_that_is_used_alone_says_what_is_wrong_with_the_name(tmp_path, variable):
    value, wanted = BAD[variable]
    book, inventory = tmp_path / "book.yml", tmp_path / "hosts.yml"
    hosts = {"h.test": {"ansible_connection": "local", "erlmcp_release_archive": "/nowhere/erlmcp.tar.gz"}}
    inventory.write_text(json.dumps({"erlmcp": {"hosts": hosts}}))
    told = {role: f"{{{{ of_{role} | default('nothing') }}}}" for role in ROLES}
    tell = {"ansible.builtin.copy": {"content": told, "dest": str(tmp_path / "told.json")}, "check_mode": False}
    tasks = [*map(try_role, ROLES), tell]
    book.write_text(json.dumps([{"hosts": "erlmcp", "gather_facts": False, "tasks": tasks}]))
    done = subprocess.run(
        ["ansible-playbook", "--check", "-i", str(inventory), str(book), "-e", json.dumps({variable: value})],
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    messages = json.loads((tmp_path / "told.json").read_text())
    assert {role: message for role, message in messages.items() if wanted not in message} == {}
    assert not [words for words in ("filter plugin", "Finalization") if words in done.stdout + done.stderr]
