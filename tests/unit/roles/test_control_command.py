# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the control command hands to the start script, and what it says when that one fails."""

from __future__ import annotations

import getpass
import os
import shlex
import subprocess
from pathlib import Path

import jinja2
import pytest

TEMPLATES = Path(__file__).parents[3] / "roles" / "erlmcp_node" / "templates"


@pytest.fixture(name="run")
def _run(tmp_path):
    """Runs the command, with a start script that prints its arguments."""
    release = tmp_path / "releases" / "1.0.0"
    for directory in ("bin", "releases", "erts-13.1.5/bin"):
        (release / directory).mkdir(parents=True)
    (release / "releases/start_erl.data").write_text("13.1.5 1.0.0")
    (tmp_path / "current").symlink_to("releases/1.0.0")
    script = release / "bin/erlmcp"

    def run(*arguments, hooks="", hooks_enabled=True, **environment):
        script.write_text(f'#!/bin/sh\nPRE_START_HOOKS="{hooks}"\necho "$@"\n')
        script.chmod(0o755)
        jinja = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), trim_blocks=True)
        jinja.filters.update(quote=shlex.quote, bool=bool)
        command = tmp_path / "erlmcp"
        text = jinja.get_template("control-command.sh.j2").render(
            erlmcp_user=getpass.getuser(),
            erlmcp_group="root",
            erlmcp_install_dir=str(tmp_path),
            erlmcp_config_dir=str(tmp_path / "etc"),
            erlmcp_home_dir=str(tmp_path),
            erlmcp_node_name_type="long",
            erlmcp_node_name="erlmcp@n1.test",
            erlmcp_release_name="erlmcp",
            erlmcp_service_name="erlmcp",
            erlmcp_start_hooks_enabled=hooks_enabled,
            __erlmcp_node_sandbox_command=str(tmp_path / "sandbox"),
            __erlmcp_unit="/etc/systemd/system/erlmcp.service",
        )
        command.write_text(text)
        done = subprocess.run(
            ["sh", command, *arguments], env={**os.environ, **environment}, capture_output=True, text=True, check=True
        )
        return done.stdout

    return run


@pytest.mark.parametrize("command", ["foreground", "console"])
def test_hooks_run_unless_they_are_disabled(run, command):
    assert run(command) == f"{command}\n"
    assert run(command, hooks_enabled=False) == f"{command} --relx-disable-hooks\n"


def test_what_starts_no_node_is_handed_on_as_it_is(run):
    assert run("escript", "bin/mine", hooks_enabled=False) == "escript bin/mine\n"


def test_a_start_script_that_failed_is_explained_with_its_hooks(run):
    told = run("explain-exit", hooks="hooks/one hooks/two|x", SERVICE_RESULT="exit-code")
    assert "the start script failed before Erlang ran. Try: sudo erlmcp foreground\n" in told
    assert "(hooks/one hooks/two|x). Try without them: sudo erlmcp foreground --relx-disable-hooks" in told
    assert "erlmcp_start_hooks_enabled: false" in told
    assert "hooks" not in run("explain-exit", SERVICE_RESULT="exit-code")
    assert run("explain-exit", hooks="hooks/one", SERVICE_RESULT="success") == ""
