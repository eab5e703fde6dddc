# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lookup of ansible-core is the judge: both render the same text."""

from __future__ import annotations

import json
import subprocess

import pytest

TEXTS = {
    "plain.j2": "one {{ name }}\n{% for each in names %}\n- {{ each }}\n{% endfor %}\n\\1 {{ nested }}\n\n",
    "importing.j2": "{% from 'macros.j2' import twice %}\n{{ twice(name) }}\n",
    "number.j2": "{{ number }}",
    "macros.j2": "{% macro twice(text) %}{{ text }}{{ text }}{% endmacro %}\n",
}
VARIABLES = {
    "name": "n1",
    "names": ["a", "b"],
    "number": 5,
    "nested": "{{ name }}!",
    "files": ["plain.j2", "importing.j2", "number.j2"],
    "more": {"name": "n2"},
    "texts": {
        plugin: {
            "host": f"{{{{ query('{plugin}', *files) }}}}",
            "more": f"{{{{ query('{plugin}', *files, template_vars=more) }}}}",
            "after": f"{{{{ query('{plugin}', *files) }}}}",
        }
        for plugin in ("ansible.builtin.template", "erlmcp.ops.template")
    },
}


@pytest.fixture(name="play")
def _play(tmp_path):
    """Function that runs a task with the templates and variables above; returns what ansible-playbook printed."""
    (tmp_path / "templates").mkdir()
    for name, text in TEXTS.items():
        (tmp_path / "templates" / name).write_text(text)

    def play(task):
        plays = [{"hosts": "localhost", "gather_facts": False, "vars": VARIABLES, "tasks": [task]}]
        (tmp_path / "play.yml").write_text(json.dumps(plays))
        done = subprocess.run(
            ["ansible-playbook", "play.yml"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout + done.stderr

    return play


def test_it_renders_what_the_lookup_of_ansible_renders(tmp_path, play):
    copy = {"content": "{{ texts | to_json }}", "dest": str(tmp_path / "texts.json")}
    status, output = play({"ansible.builtin.copy": copy})
    assert status == 0, output
    theirs, ours = json.loads((tmp_path / "texts.json").read_text()).values()
    assert ours == theirs
    assert ours["host"] == ["one n1\n- a\n- b\n\\1 n1!\n\n", "n1n1\n", 5]
    assert ours["more"][1] == "n2n2\n"
    assert ours["after"] == ours["host"]


def test_a_template_that_is_missing_is_named(play):
    status, output = play({"ansible.builtin.debug": {"msg": "{{ lookup('erlmcp.ops.template', 'absent.j2') }}"}})
    assert status != 0
    assert "no template absent.j2" in output
