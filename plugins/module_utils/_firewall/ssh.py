# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How this host is reached over ssh: what a firewall must not cut off."""

from __future__ import annotations

import os
import re

from .._core.errors import OpsError
from .rules import SshAccess, client_address


def observe_ssh(runner, environ, proc="/proc"):
    """Return the :class:`SshAccess` of this host.

    Three witnesses, because each misses something: the connection of this run (a port that the configuration no
    longer names), the configuration (a port that is used from the next restart on), and the sockets (an sshd with
    options of its own).

    :param environ: environment of this process.
    :param proc: where procfs is mounted.
    """
    connection = _connection(environ, proc)
    ports = {*_configured_ports(runner), *_listening_ports(runner, proc)}
    if connection is None:
        return SshAccess(tuple(sorted(ports)))
    client, _client_port, _server, port = connection.split()
    return SshAccess(tuple(sorted({*ports, int(port)})), client_address(client), int(port))


def _connection(environ, proc):
    """``SSH_CONNECTION``, also when sudo cleared it: then an ancestor still has it."""
    if "SSH_CONNECTION" in environ:
        return environ["SSH_CONNECTION"]
    pid = os.getppid()
    while pid > 1:
        try:
            with open(f"{proc}/{pid}/environ", encoding="utf-8", errors="replace") as stream:
                inherited = re.search(r"(?:^|\0)SSH_CONNECTION=([^\0]+)", stream.read())
            with open(f"{proc}/{pid}/stat", encoding="utf-8", errors="replace") as stream:
                # The name before the last parenthesis may hold spaces and parentheses itself.
                pid = int(stream.read().rpartition(")")[2].split()[1])
        except OSError:
            return None
        if inherited:
            return inherited.group(1)
    return None


def _configured_ports(runner):
    lines = _output(runner, ["sshd", "-T"]).splitlines()
    return _reachable_ports(line.split()[1] for line in lines if line.startswith("listenaddress "))


def _listening_ports(runner, proc):
    sockets = _output(runner, ["ss", "-Htlnp"])
    found = re.findall(r'^LISTEN\s+\S+\s+\S+\s+(\S+)\s.*"sshd",pid=(\d+)', sockets, re.MULTILINE)
    return _reachable_ports(socket for socket, pid in found if _is_listener(pid, proc))


def _is_listener(pid, proc):
    """A session listens too, for the ports that its client forwards: those are no way in."""
    try:
        with open(f"{proc}/{pid}/cmdline", encoding="utf-8", errors="replace") as stream:
            return "/sshd" in stream.read()
    except OSError:
        return False


def _reachable_ports(sockets):
    pairs = [socket.rpartition(":") for socket in sockets]
    return {int(port) for address, _colon, port in pairs if not address.startswith(("127.", "[::1]"))}


def _output(runner, argv):
    # A host without the command, or whose sshd was never started, has nothing to say.
    try:
        return runner.run(argv).out
    except OpsError:
        return ""
