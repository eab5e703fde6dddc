# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who holds the lock of a cluster: one run of Ansible, known by its process on the control node."""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import multiprocessing
import os
import platform
from dataclasses import dataclass

from .._core.errors import OpsError

_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_PID_NAMESPACE = "/proc/self/ns/pid"


@dataclass(frozen=True)
class Holder:
    """One run of Ansible.

    :param user: who started it.
    :param host: name of the control node.
    :param boot_id: of the control node; machines of one name differ in it, and so do two boots of one machine.
    :param pid_namespace: containers of one machine share its boot, and number their processes on their own.
    :param pid: process id of the run.
    :param started: when that process started, in clock ticks since the boot; process ids are used again.
    """

    user: str
    host: str
    boot_id: str
    pid_namespace: str
    pid: int
    started: int

    def __str__(self):
        return f"{self.user}@{self.host}"

    @property
    def control_node(self):
        """What is equal for two runs that can see each other's process."""
        return (self.host, self.boot_id, self.pid_namespace)

    @property
    def token(self):
        """The same for every task of a run, and for no other run."""
        identity = "/".join(map(str, (*self.control_node, self.pid, self.started)))
        return hashlib.sha256(identity.encode()).hexdigest()[:16]


def this_run():
    """Return the :class:`Holder` that this process is, or works for; on the control node.

    :raises OpsError: when the run has been killed meanwhile, or the control node is not Linux.
    """
    # What getppid says is wrong as soon as the run was killed: its tasks go on, and would hold the lock for init.
    parent = multiprocessing.parent_process()
    pid = parent.pid if parent else os.getpid()
    try:
        with open(_BOOT_ID, encoding="ascii") as stream:
            boot_id = stream.read().strip()
        pid_namespace = os.readlink(_PID_NAMESPACE)
    except OSError as error:
        raise OpsError(
            f"the control node {platform.node()} has no {error.filename}, by which a run of Ansible can be known: run "
            "it from a Linux machine",
            kind="control node",
        ) from error
    started = _started(pid)
    if started is None:
        raise OpsError(f"the run of Ansible, process {pid}, has ended", kind="control node")
    return Holder(_user(), platform.node(), boot_id, pid_namespace, pid, started)


def has_ended(holder):
    """Whether the process of ``holder`` is gone; to be asked on its control node only."""
    # The mount option hidepid hides processes of others; a signal is refused, but tells that there is one.
    with contextlib.suppress(PermissionError):
        try:
            os.kill(holder.pid, 0)
        except ProcessLookupError:
            return True
        return _started(holder.pid) != holder.started
    return _started(holder.pid) not in (None, holder.started)


def _started(pid):
    """When process ``pid`` started, in clock ticks since the boot; ``None`` where none runs."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stream:
            # The name, in brackets, may hold anything.
            fields = stream.read().rpartition(")")[2].split()
    except (FileNotFoundError, PermissionError, ProcessLookupError):
        return None
    # Fields 3 and 22 of proc(5).
    return None if fields[0] in ("Z", "X") else int(fields[19])


def _user():
    # Who works as root is still somebody.
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
