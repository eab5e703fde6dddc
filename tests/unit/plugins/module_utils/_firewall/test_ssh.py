# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Completed
from ansible_collections.erlmcp.ops.plugins.module_utils._firewall.ssh import observe_ssh

SSHD = "addressfamily any\nlistenaddress [::]:22\nlistenaddress 0.0.0.0:22\nlistenaddress 127.0.0.1:2022\nport 22\n"
SOCKETS = """\
LISTEN 0      128          0.0.0.0:2222      0.0.0.0:*    users:(("sshd",pid=700,fd=3))
LISTEN 0      128             [::]:2222         [::]:*    users:(("sshd",pid=700,fd=4))
LISTEN 0      128          0.0.0.0:7000      0.0.0.0:*    users:(("sshd",pid=800,fd=9))
LISTEN 0      128        127.0.0.1:6010      0.0.0.0:*    users:(("sshd",pid=700,fd=9))
LISTEN 0      4096         0.0.0.0:4369      0.0.0.0:*    users:(("epmd",pid=900,fd=3))
"""


class FakeRunner:
    def __init__(self, **outputs):
        self.outputs = outputs

    def run(self, argv, env=None):
        if argv[0] not in self.outputs:
            raise OpsError(f"command not found: {argv[0]}")
        return Completed(0, self.outputs[argv[0]], "")


def process(proc, pid, parent=1, environ="", cmdline="", name="a process"):
    directory = proc / str(pid)
    directory.mkdir()
    (directory / "environ").write_text(environ)
    (directory / "stat").write_text(f"{pid} ({name}) S {parent} 1 1 0 -1")
    (directory / "cmdline").write_text(cmdline)


@pytest.fixture(name="proc")
def _proc(tmp_path):
    process(tmp_path, 700, cmdline="sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups\0")
    process(tmp_path, 800, cmdline="sshd: root@notty\0")
    return tmp_path


def test_ports_of_configuration_and_sockets_without_loopback_and_forwardings(proc):
    access = observe_ssh(FakeRunner(sshd=SSHD, ss=SOCKETS), {}, str(proc))
    assert access.ports == (22, 2222)


def test_connection_of_this_process(proc):
    access = observe_ssh(FakeRunner(sshd=SSHD), {"SSH_CONNECTION": "192.0.2.7 50000 10.0.0.1 2200"}, str(proc))
    assert (access.ports, str(access.client), access.client_port) == ((22, 2200), "192.0.2.7", 2200)


def test_connection_of_an_ancestor(proc):
    process(proc, os.getppid(), parent=501, environ="A=1\0", name="sudo (x) y")
    process(proc, 501, environ="MY_SSH_CONNECTION=no\0SSH_CONNECTION=2001:db8::7 50000 2001:db8::1 22\0B=2\0")
    access = observe_ssh(FakeRunner(), {}, str(proc))
    assert (access.ports, str(access.client), access.client_port) == ((22,), "2001:db8::7", 22)


def test_neither_sshd_nor_connection(proc):
    access = observe_ssh(FakeRunner(), {}, str(proc))
    assert (access.ports, access.client, access.client_port) == ((), None, None)
