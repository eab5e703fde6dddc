# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The cookie opens every node of the cluster: it must be in no place where others look."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

import pytest
from testlib import CACHE, Hosts, command_line, console, ssh

HOSTS = Hosts(Path(__file__).parents[1])
COOKIE = (CACHE / "cookies" / "erlmcp").read_text().strip()
EACH = pytest.mark.parametrize("name", HOSTS)
# Until a file appears, without a pause: a command that asks the node lives for ten milliseconds.
SAMPLE = (
    "rm -f /tmp/enough; until [ -e /tmp/enough ]; do cat /proc/[0-9]*/cmdline; done 2> /dev/null"
    " | tr '\\0' '\\n' | sort -u"
)


def test_the_cookie_is_strong_and_kept_on_the_control_node():
    assert len(COOKIE) == 48
    assert COOKIE.isalnum()
    assert (CACHE / "cookies" / "erlmcp").stat().st_mode & 0o077 == 0


@EACH
def test_the_nodes_have_it(name):
    assert ssh(HOSTS[name], "cat /etc/erlmcp/home/.erlang.cookie").stdout == COOKIE
    assert ssh(HOSTS[name], "stat -c '%U %a' /etc/erlmcp/home/.erlang.cookie").stdout == "erlmcp 400\n"


def test_it_is_in_no_process_list_while_operators_work():
    """Samples every process of the host while the control command and the modules run."""
    name, seen = next(iter(HOSTS)), []
    sampler = threading.Thread(target=lambda: seen.append(ssh(HOSTS[name], SAMPLE).stdout))
    sampler.start()
    for command in ("ping", "eval 'node().'", "rpc erlang node", "pid", "status"):
        ssh(HOSTS[name], f"for i in $(seq 10); do erlmcp {command}; done")
    console(HOSTS[name], "node().")
    subprocess.run(
        command_line("erlmcp.ops.check_health", HOSTS, options=["--limit", name]), check=True, capture_output=True
    )
    ssh(HOSTS[name], "touch /tmp/enough")
    sampler.join()
    assert "erl_call" in seen[0]
    assert "-remsh" in seen[0]
    assert COOKIE not in seen[0]


def test_what_is_in_roots_environment_reaches_no_process_of_the_account():
    address = next(iter(HOSTS.values()))
    look = "for p in $(pgrep -u erlmcp); do tr '\\0' '\\n' < /proc/$p/environ; ps -o args= $p; done"
    _shown, processes = console(address, "node().", lambda: ssh(address, look).stdout)
    assert "-remsh" in processes
    assert "ROOTS_SECRET" not in processes


@EACH
def test_it_is_in_no_log_and_in_no_file_that_others_can_read(name):
    assert COOKIE not in ssh(HOSTS[name], "journalctl --no-pager").stdout
    found = ssh(HOSTS[name], f"grep -rlF {COOKIE} /etc /opt /run /tmp /usr/local /var 2> /dev/null || true").stdout
    assert found.split() == ["/etc/erlmcp/home/.erlang.cookie"]


@EACH
def test_a_node_with_another_cookie_cannot_connect(name):
    command = (
        "mkdir -p /tmp/stranger && printf wrongwrongwrongwrongwrong > /tmp/stranger/.erlang.cookie"
        " && chmod 400 /tmp/stranger/.erlang.cookie && echo 'node().' | HOME=/tmp/stranger"
        f" /opt/erlmcp/current/erts-*/bin/erl_call -R -name erlmcp@{name} -timeout 5 -e"
    )
    assert ssh(HOSTS[name], command, check=False).returncode != 0
    ssh(HOSTS[name], "rm -rf /tmp/stranger")


def test_it_is_not_in_the_output_however_verbose():
    """Takes the cookie away from one node, so that the run has to write it."""
    name, address = next(iter(HOSTS.items()))
    ssh(address, "mv /etc/erlmcp/home/.erlang.cookie /var/tmp/kept")
    try:
        done = subprocess.run(
            command_line("erlmcp.ops.site", HOSTS, options=["-vvv", "--diff", "--limit", name]),
            capture_output=True,
            text=True,
            env={**os.environ, "ANSIBLE_NOCOLOR": "1"},
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:]
        assert "/etc/erlmcp/home/.erlang.cookie: file erlmcp:erlmcp 0400" in done.stdout
        assert COOKIE not in done.stdout + done.stderr
        assert ssh(address, "cat /etc/erlmcp/home/.erlang.cookie").stdout == COOKIE
    finally:
        ssh(address, "rm -f /var/tmp/kept")
