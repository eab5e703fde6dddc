# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the processes of the host tell of themselves in procfs."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from dataclasses import dataclass

from .text import printable

_EXECUTABLE = re.compile(rb"^\S+ ..x\S* \S+ \S+ \S+\s+(/.*) \(deleted\)$", re.MULTILINE)
_UNIT = re.compile(r"([^/]+\.(?:service|scope))(?:/|$)")
_SOCKET = re.compile(r"socket:\[(\d+)\]")
_LISTENS = "0A"


@dataclass(frozen=True)
class Process:
    """One process, as bytes where it says what is secret.

    :param unit: the systemd unit it belongs to, empty for none.
    :param replaced: files with code that it runs, and that were replaced or removed since.
    :param sockets: inodes.
    """

    pid: int
    unit: str
    command: bytes
    environment: bytes
    replaced: tuple
    sockets: frozenset


def observe_processes(proc="/proc"):
    """Return every :class:`Process` of the host that does not end meanwhile."""
    found = []
    for name in filter(str.isdigit, os.listdir(proc)):
        try:
            found.append(_process(int(name), os.path.join(proc, name)))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def _process(pid, directory):
    return Process(
        pid,
        unit_of(_read(directory, "cgroup").decode()),
        _read(directory, "cmdline"),
        _allowed(directory, "environ"),
        replaced_code(_allowed(directory, "maps")),
        frozenset(_sockets(os.path.join(directory, "fd"))),
    )


def _sockets(directory):
    with contextlib.suppress(PermissionError):
        for name in os.listdir(directory):
            try:
                found = _SOCKET.fullmatch(os.readlink(os.path.join(directory, name)))
            except FileNotFoundError:
                continue
            if found:
                yield int(found[1])


def _allowed(directory, name):
    """Read what root of a container may not see of the processes that it did not start."""
    try:
        return _read(directory, name)
    except PermissionError:
        return b""


def _read(directory, name):
    with open(os.path.join(directory, name), "rb") as stream:
        return stream.read()


def unit_of(cgroup):
    """Return the unit that a ``/proc/PID/cgroup`` names; empty where there is none."""
    found = _UNIT.findall(cgroup)
    return found[-1] if found else ""


def replaced_code(maps):
    """Return the files of a ``/proc/PID/maps`` with code that are no longer there, each once.

    Code that was made in memory, like that of Erlang's JIT, has no path on disk and is left out.
    """
    found = {printable(os.fsdecode(path)) for path in _EXECUTABLE.findall(maps)}
    return tuple(sorted(path for path in found if not path.startswith(("/memfd:", "/dev/", "/SYSV"))))


def status_of(text):
    """Return of a ``/proc/PID/status`` what it says of privileges."""
    fields = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
    capabilities = {name: int(fields[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")}
    return {
        "uids": sorted({int(uid) for uid in fields["Uid"].split()}),
        "capabilities": [name for name, held in capabilities.items() if held],
        "no_new_privileges": fields["NoNewPrivs"] == "1",
        "seccomp": fields["Seccomp"] == "2",
    }


def observe_unit_process(pid, proc="/proc"):
    """Return what a unit's main process may do, or ``None`` where it does not run."""
    try:
        status = _read(os.path.join(proc, str(pid)), "status") if pid else None
    except (FileNotFoundError, ProcessLookupError):
        status = None
    return {"pid": pid, **status_of(status.decode())} if status else None


def listening(text):
    """Return address, port and inode of each listener in a ``/proc/net/tcp`` or ``tcp6``."""
    found = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        address, _colon, port = fields[1].partition(":")
        if fields[3] == _LISTENS:
            found.append((_address(address), int(port, 16), int(fields[9])))
    return found


def _listening(proc):
    found = []
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(FileNotFoundError):
            found += listening(_read(os.path.join(proc, "net"), name).decode())
    return found


def _address(digits):
    # Words of four bytes, each in the order of the machine; every machine that runs Debian's releases is little-endian.
    words = [bytes.fromhex(digits[at : at + 8])[::-1] for at in range(0, len(digits), 8)]
    return socket.inet_ntop(socket.AF_INET if len(words) == 1 else socket.AF_INET6, b"".join(words))


def observe_listeners(processes, proc="/proc"):
    """Return what ``security_info`` documents as ``listeners``.

    :param processes: what :func:`observe_processes` returned.
    """
    owners = {inode: process for process in processes for inode in process.sockets}
    found = [
        {"address": address, "port": port, "unit": owners[inode].unit if inode in owners else ""}
        for address, port, inode in _listening(proc)
    ]
    return sorted(found, key=lambda listener: (listener["port"], listener["address"]))


@dataclass(frozen=True)
class Owner:
    """The process that a socket belongs to."""

    pid: int
    name: str
    unit: str


def listener_inodes(proc="/proc"):
    """Return inode to port of each TCP listener of the host."""
    return {inode: port for _address, port, inode in _listening(proc)}


def socket_owners(inodes, proc="/proc"):
    """Return inode to :class:`Owner`. One that ends meanwhile, or is not of this host, has none.

    :param inodes: of sockets.
    """
    found = {}
    for pid in filter(str.isdigit, os.listdir(proc)):
        directory = os.path.join(proc, pid)
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            own = set(_sockets(os.path.join(directory, "fd"))).intersection(inodes)
            if own:
                name = printable(_read(directory, "comm").decode("utf-8", "replace").strip())
                owner = Owner(int(pid), name, unit_of(_read(directory, "cgroup").decode()))
                found.update(dict.fromkeys(own, owner))
    return found


def replaced_by_unit(processes):
    """Return what ``security_info`` documents as ``replaced_code``."""
    units = {}
    for process in processes:
        if process.replaced:
            entry = units.setdefault(process.unit, {"unit": process.unit, "pids": [], "files": set()})
            entry["pids"].append(process.pid)
            entry["files"].update(process.replaced)
    return [{**entry, "files": sorted(entry["files"])} for _name, entry in sorted(units.items())]


def exposures(processes, cookie):
    """Return which processes show the cookie, and where; never the cookie itself.

    :param cookie: bytes, empty where there is none.
    """
    found = []
    for process in processes:
        arguments = process.command.split(b"\0")
        where = {
            "a cookie after -setcookie": b"-setcookie" in arguments,
            "the cookie in its arguments": bool(cookie) and cookie in process.command,
            "the cookie in its environment": bool(cookie) and cookie in process.environment,
        }
        told = [text for text, is_so in where.items() if is_so]
        if told:
            found.append({"pid": process.pid, "unit": process.unit, "shows": told})
    return found
