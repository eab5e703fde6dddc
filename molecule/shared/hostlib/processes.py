"""The processes of the hosts, read from the machine itself.

A note of what was started would be wrong after a kill or a reboot; the mark in
the environment of a host's supervisor and of its init cannot be.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hostlib.machine import CACHE, CGROUP, HostsError, remove_cgroups

MARK = "ERLMCP_TEST_HOST"
STOP_SECONDS = 30
SUPERVISOR_SECONDS = 2
# systemd's signal for an orderly power-off, sent to an init.
POWER_OFF_SIGNAL = signal.SIGRTMIN + 4


@dataclass
class Processes:
    """What runs of one host; a run cut short may leave only one kind."""

    leaders: list[int] = field(default_factory=list)
    supervisors: list[int] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        return bool(self.leaders and self.supervisors)


def mark(name: str) -> str:
    """Tells the hosts of this cache directory from those of another one."""
    cache = CACHE.stat()
    return f"{cache.st_dev:x}-{cache.st_ino:x}/{name}"


def marked_name(pid: int) -> str | None:
    """The host a process belongs to; None also when the process is gone."""
    prefix = f"{MARK}={mark('')}".encode()
    with contextlib.suppress(OSError):
        for variable in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            if variable.startswith(prefix):
                return variable.removeprefix(prefix).decode()
    return None


def is_init(pid: int) -> bool:
    """Whether the process is the first of a pid namespace below this one."""
    with contextlib.suppress(OSError):
        return bool(re.search(r"^NSpid:(\t\d+)+\t1$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE))
    return False


def running() -> dict[str, Processes]:
    """Every host that has a process, by its name."""
    found: dict[str, Processes] = {}
    for pid in (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()):
        name = marked_name(pid)
        if name:
            processes = found.setdefault(name, Processes())
            (processes.leaders if is_init(pid) else processes.supervisors).append(pid)
    return found


def processes_of(name: str) -> Processes:
    return running().get(name, Processes())


def leader(name: str) -> int | None:
    return next(iter(processes_of(name).leaders), None)


@contextlib.contextmanager
def held(name: str, pids: Iterable[int]) -> Iterator[list[int]]:
    """Handles of those processes that are the host's.

    Each is opened before its process is looked at: a number the kernel gave to
    another process in between is never signalled.
    """
    with contextlib.ExitStack() as stack:
        handles = []
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                handle = os.pidfd_open(pid)
                stack.callback(os.close, handle)
                if marked_name(pid) == name:
                    handles.append(handle)
        yield handles


def signal_all(handles: Iterable[int], number: int) -> None:
    for handle in handles:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, number)


def all_end(handles: Iterable[int], seconds: float) -> bool:
    return all(select.select([handle], [], [], seconds)[0] for handle in handles)


def stop(name: str, number: int = signal.SIGKILL) -> None:
    """Signal a host's init, after which its supervisor tidies up and ends."""
    found = processes_of(name)
    with held(name, found.leaders) as leaders, held(name, found.supervisors) as supervisors:
        signal_all(leaders, number)
        if not (all_end(leaders, STOP_SECONDS) and all_end(supervisors, SUPERVISOR_SECONDS)):
            signal_all([*leaders, *supervisors], signal.SIGKILL)
            all_end([*leaders, *supervisors], STOP_SECONDS)
    if name in running():
        raise HostsError(f"{name} does not end: `hosts.py list` shows its process")
    remove_cgroups(f"{CGROUP}/{name}")
