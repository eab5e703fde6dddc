# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the control command hands to the start script, and what it says when that one fails."""

from __future__ import annotations

import getpass
import os
import shlex
import subprocess
import time
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
    for directory in ("etc", "run"):
        (tmp_path / directory).mkdir()
    (tmp_path / "etc/env.sh").write_text(
        f"export RELX_OUT_FILE_PATH={tmp_path}/run ERL_CRASH_DUMP={tmp_path}/erl_crash.dump\n"
    )

    def run(*arguments, hooks="", hooks_enabled=True, check=True, **environment):
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
            erlmcp_node_log_file=str(tmp_path / "erlmcp.log"),
            erlmcp_release_name="erlmcp",
            erlmcp_service_name="erlmcp",
            erlmcp_start_hooks_enabled=hooks_enabled,
            __erlmcp_node_sandbox_command=str(tmp_path / "sandbox"),
            __erlmcp_unit="/etc/systemd/system/erlmcp.service",
        )
        command.write_text(text)
        done = subprocess.run(
            ["sh", command, *arguments], env={**os.environ, **environment}, capture_output=True, text=True, check=check
        )
        return done.stdout + done.stderr

    return run


@pytest.mark.parametrize("command", ["foreground", "console"])
def test_hooks_run_unless_they_are_disabled(run, command):
    assert run(command) == f"{command}\n"
    assert run(command, hooks_enabled=False) == f"{command} --relx-disable-hooks\n"


def test_what_starts_no_node_is_handed_on_as_it_is(run):
    assert run("escript", "bin/mine", hooks_enabled=False) == "escript bin/mine\n"


@pytest.fixture(name="started")
def _started(run, tmp_path):
    """The unit has begun to start the node, a second before anything else happens."""
    record = tmp_path / "run/started.release"
    record.touch()
    os.utime(record, (time.time() - 1,) * 2)


def test_a_start_script_that_failed_is_explained_with_its_hooks(run, started):
    told = run("explain-exit", hooks="hooks/one hooks/two|x", SERVICE_RESULT="exit-code")
    assert "the start script failed before Erlang ran. Try: sudo erlmcp foreground\n" in told
    assert "(hooks/one hooks/two|x). Try without them: sudo erlmcp foreground --relx-disable-hooks" in told
    assert "erlmcp_start_hooks_enabled: false" in told
    assert "hooks" not in run("explain-exit", SERVICE_RESULT="exit-code")
    assert run("explain-exit", hooks="hooks/one", SERVICE_RESULT="success") == ""


def test_an_exit_is_explained_by_what_has_left_a_trace(run, tmp_path, started):
    def told(**environment):
        text = run("explain-exit", hooks="hooks/one", SERVICE_RESULT="exit-code", **environment)
        assert "before Erlang ran" not in text
        assert "hooks" not in text
        return text

    assert "a signal has ended it" in told(EXIT_CODE="killed", EXIT_STATUS="KILL")
    (tmp_path / "erlmcp.log").write_text("crash report")
    assert f"the reason stands above or in {tmp_path}/erlmcp.log" in told(EXIT_CODE="exited")
    dump = tmp_path / "erl_crash.dump"
    dump.write_text("=erl_crash_dump:0.5\nSun Nov 29\nSlogan: out of memory\nSystem version: 25\nSlogan: no\n")
    assert "Erlang has crashed: out of memory\n" in told()
    os.utime(dump, (0, 0))
    assert "crashed" not in told()
    (tmp_path / "run/started.release").unlink()
    assert "it was not started, for the reason that stands above" in told()


def programs(tmp_path, **contents):
    """Lay down programs that are called in the place of the real ones; return the PATH with which they are found."""
    directory = tmp_path / "releases/1.0.0/erts-13.1.5/bin"
    for name, content in contents.items():
        (directory / name).write_text(f"#!/bin/sh\n{content}\n")
        (directory / name).chmod(0o755)
    return f"{directory}:{os.environ['PATH']}"


NAMED = 'echo "name erlmcp at port 9100"'
REFUSED = "exit 1"


@pytest.mark.parametrize(
    ("unit", "epmd", "erl_call", "flags", "cause"),
    [
        ("failed", NAMED, REFUSED, "", "erlmcp.service has failed, and systemd does not start it any more: journalctl"),
        ("inactive", REFUSED, REFUSED, "", "erlmcp.service is stopped: run the playbook site"),
        ("activating", NAMED, REFUSED, "", "erlmcp.service is being started, or started again"),
        ("active", REFUSED, REFUSED, "", "epmd, of which one learns where erlmcp@n1.test listens, does not answer"),
        ("active", "echo name erlmcp2 at port 1", REFUSED, "", "epmd does not know erlmcp@n1.test"),
        (
            "",
            NAMED,
            REFUSED,
            "",
            "erlmcp@n1.test refuses the cookie in {home}/.erlang.cookie: it runs with another one",
        ),
        ("active", "exit 9", REFUSED, "-erl_epmd_port 9100", "erlmcp@n1.test refuses the cookie"),
        ("active", NAMED, "kill -ALRM $$", "", "erlmcp@n1.test has not answered for 0 s, so it hangs or is overloaded"),
    ],
)
def test_a_node_that_does_not_answer_is_explained_by_what_is_seen(run, tmp_path, unit, epmd, erl_call, flags, cause):
    (tmp_path / "etc/vm.args").write_text(f"-name erlmcp@n1.test\n{flags}\n")
    path = programs(tmp_path, systemctl=f"echo {unit}", epmd=epmd, erl_call=f"cat > /dev/null; {erl_call}")
    assert cause.format(home=tmp_path) in run("ping", check=False, PATH=path)


def test_a_node_that_begins_to_answer_while_it_is_asked_refuses_no_cookie(run, tmp_path):
    """It registers with epmd between the question and the look for the cause."""
    asked = tmp_path / "asked"
    erl_call = f"cat > /dev/null; [ -e {asked} ] && printf '{{ok, []}}' || {{ touch {asked}; exit 1; }}"
    path = programs(tmp_path, systemctl="echo active", epmd=NAMED, erl_call=erl_call)
    assert run("ping", PATH=path) == "pong\n"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("[]", "pong\n"),
        (
            '"erlmcp@n2.test, erlmcp@n3.test with its tables item"',
            "pong\nerlmcp: erlmcp@n1.test answers, and waits for erlmcp@n2.test, erlmcp@n3.test with its tables item: "
            "it does not know whose rows are the newest. How no row is lost tells the playbook repair_partition\n",
        ),
    ],
)
def test_a_node_that_waits_for_others_answers_ping_and_says_so(run, tmp_path, answer, told):
    program = tmp_path / "releases/1.0.0/erts-13.1.5/bin/erl_call"
    program.write_text(f"#!/bin/sh\ncat > /dev/null\nprintf '%s' '{{ok, {answer}}}'\n")
    program.chmod(0o755)
    assert run("ping") == told
