# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real Erlang nodes on the loopback interface, with an epmd and a cookie of their own."""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
import time
from contextlib import contextmanager

from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Runner
from ansible_collections.erlmcp.ops.plugins.module_utils._erlang.node import Node, Unreachable
from ansible_collections.erlmcp.ops.plugins.module_utils._erlang.release import system_root


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class PrivateRunner(Runner):
    """Lets what it runs find the nodes of this test alone."""

    def __init__(self, port):
        self.port = port

    def run(self, argv, stdin="", account=None, env=None, timeout=60, tied=False):
        env = {**(env or {}), "ERL_EPMD_PORT": str(self.port)}
        return super().run(argv, stdin=stdin, account=account, env=env, timeout=timeout, tied=tied)


class Erlang:
    """A private epmd, and the nodes started with it."""

    def __init__(self, home, port):
        self.home = home
        self.port = port
        self.runner = PrivateRunner(port)
        cookie = home / ".erlang.cookie"
        cookie.write_text("ofthistest")
        cookie.chmod(0o400)

    def spec(self, name):
        return {
            "name": name,
            "name_type": "long",
            "release_name": "erlmcp",
            "service": "erlmcp",
            "user": getpass.getuser(),
            "home_dir": str(self.home),
            "install_dir": str(self.home / "nothing installed"),
            "config_dir": str(self.home / "nothing configured"),
        }

    @contextmanager
    def node(self, name, mnesia_dir, log="/dev/null"):
        """A running node as ``(Node, process)``; it is killed at the end."""
        with open(log, "wb") as output:
            process = subprocess.Popen(
                ["erl", "-noinput", "-name", name, "-mnesia", "dir", f'"{mnesia_dir}"'],
                env={**os.environ, "HOME": str(self.home), "ERL_EPMD_PORT": str(self.port), "LANG": "C.UTF-8"},
                stdout=output,
                stderr=output,
            )
        node = Node(self.spec(name), self.runner)
        try:
            for _attempt in range(100):
                try:
                    node.evaluate("ok")
                    break
                except Unreachable:
                    time.sleep(0.1)
            yield node, process
        finally:
            process.kill()
            process.wait()


@contextmanager
def private_erlang(home):
    port = free_port()
    epmd = subprocess.Popen(
        [os.path.join(system_root(), "bin", "epmd"), "-address", "127.0.0.1", "-port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield Erlang(home, port)
    finally:
        epmd.kill()
        epmd.wait()


def run_alone(name, mnesia_dir, program):
    """Run Erlang text in a virtual machine that has a name, and talks to nobody."""
    done = subprocess.run(
        [
            *("erl", "-noinput", "-name", name, "-dist_listen", "false", "-start_epmd", "false", "-setcookie", "none"),
            *("-mnesia", "dir", f'"{mnesia_dir}"', "-eval", f"{program}, halt(0)."),
        ],
        env={**os.environ, "HOME": "/", "LANG": "C.UTF-8", "ERL_CRASH_DUMP_SECONDS": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
