# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The systemd unit as a value, and the few verbs a restart needs."""

from __future__ import annotations

import glob
import hashlib
import os
import re
from dataclasses import dataclass

from .._core.errors import OpsError

_TELLING = re.compile(
    r"\b(error|critical|alert|emergency|cannot|could not|crash|refused|denied|slogan)\b", re.IGNORECASE
)
# As the control command words it (explain_exit).
_ENDS = "^[^ ]+: (a signal has ended it|the kernel has ended it|Erlang (has crashed|ran|has left))"
_TELLING_LINES = 6
_LAST_LINES = 6
_LINE_LENGTH = 400

_PROPERTIES = (
    "LoadState",
    "ActiveState",
    "SubState",
    "Result",
    "MainPID",
    "NRestarts",
    "ExecMainStatus",
    "NeedDaemonReload",
    "UnitFileState",
)


@dataclass(frozen=True)
class UnitState:
    """What ``systemctl show`` says of the unit."""

    load: str = "not-found"
    active: str = "inactive"
    sub: str = "dead"
    result: str = "success"
    pid: int = 0
    restarts: int = 0
    exit_status: int = 0
    needs_reload: bool = False
    enabled: bool = False

    @property
    def running(self):
        return self.active in ("active", "reloading", "deactivating") and self.pid > 0

    @property
    def is_laid_down(self):
        return self.load != "not-found"

    @property
    def settled_down(self):
        """Whether systemd has given up on it, or will not start it by itself."""
        return self.active in ("failed", "inactive")


def why_down(name, state):
    """Say why a unit has no process, with the next action.

    :param name: of the unit.
    :param state: its :class:`UnitState`.
    """
    failure = f"{state.result}, status {state.exit_status}" if state.result == "exit-code" else state.result
    restarts = f"{state.restarts} automatic restart{'' if state.restarts == 1 else 's'}"
    if state.active == "failed":
        return (
            f"{name} has failed ({failure}) after {restarts}, and systemd does not start it any more: "
            f"journalctl -u {name} tells why. The playbook site starts it once that is mended"
        )
    if state.sub == "auto-restart":
        return f"{name} has failed ({failure}) and is to be started again, {restarts} so far: see journalctl -u {name}"
    if state.active == "inactive":
        return f"{name} is inactive ({state.sub}): the playbook site starts it"
    return f"{name} is {state.active} ({state.sub})"


class Unit:
    """``<service>.service`` on this host."""

    def __init__(self, service, runner):
        self.service = service
        self.runner = runner

    @property
    def name(self):
        return f"{self.service}.service"

    def state(self):
        done = self.runner.run(["systemctl", "show", self.name, "-p", ",".join(_PROPERTIES)])
        if not done.ok:
            raise OpsError(f"systemctl show {self.name} failed: {done.err.strip()}", kind="systemd")
        values = dict(line.split("=", 1) for line in done.out.splitlines() if "=" in line)
        return UnitState(
            load=values.get("LoadState", "not-found"),
            active=values.get("ActiveState", "inactive"),
            sub=values.get("SubState", "dead"),
            result=values.get("Result", "success"),
            pid=int(values.get("MainPID") or 0),
            restarts=int(values.get("NRestarts") or 0),
            exit_status=int(values.get("ExecMainStatus") or 0),
            needs_reload=values.get("NeedDaemonReload") == "yes",
            enabled=values.get("UnitFileState") == "enabled",
        )

    def reload_definitions(self):
        self._systemctl(["daemon-reload"], 60)

    def start(self, timeout):
        # A unit that used up its start limit refuses every start until this is said.
        self.runner.run(["systemctl", "reset-failed", self.name])
        self._systemctl(["start", "--no-block", self.name], timeout)

    def start_new(self, timeout):
        """Start a unit that has just been laid down, and wait until its process is there."""
        self.reload_definitions()
        self._systemctl(["start", self.name], timeout)

    def forget(self):
        """Let systemd forget a unit that was removed."""
        self.runner.run(["systemctl", "reset-failed", self.name])
        self.reload_definitions()

    def stop(self, timeout):
        self._systemctl(["stop", self.name], timeout)

    def journal(self, since):
        """What the unit said since a time in seconds of the epoch, for a failure's message."""
        options = ["--no-pager", "--output=cat", f"--since=@{int(since)}", "-u", self.name]
        return telling_lines(self.runner.run(["journalctl", *options], timeout=30).out)

    def last_lines(self):
        """What the unit said since its last start that tells of an error, and its last lines."""
        start = self.runner.run(["systemctl", "show", "-P", "ExecMainStartTimestamp", self.name]).out.strip()
        options = ["--no-pager", "--output=cat", "-n", "500", *(["--since", start] if start else [])]
        return telling_lines(self.runner.run(["journalctl", *options, "-u", self.name], timeout=30).out).splitlines()

    def last_end(self):
        """What the control command has said when the node last ended, or ``None``."""
        options = ["--no-pager", "--output=cat", "-n", "1", "--grep", _ENDS]
        return self.runner.run(["journalctl", *options, "-u", self.name], timeout=30).out.strip()[:_LINE_LENGTH] or None

    def last_word(self):
        """The last line that the unit itself has written, or ``None``."""
        options = ["--no-pager", "--output=cat", "-n", "1", f"_SYSTEMD_UNIT={self.name}"]
        return self.runner.run(["journalctl", *options], timeout=30).out.strip()[:_LINE_LENGTH] or None

    def memory_max(self):
        """The bytes that the unit may have, or ``None`` without a limit."""
        found = self.runner.run(["systemctl", "show", "-P", "MemoryMax", self.name]).out.strip()
        return int(found) if found.isdigit() else None

    def text(self):
        """The unit and its drop-ins as they are on disk, in the order in which they count."""
        done = self.runner.run(["systemctl", "cat", "--no-pager", self.name])
        if not done.ok:
            raise OpsError(
                f"systemctl cat {self.name} failed: {done.err.strip()}. Lay the unit down with the playbook site",
                kind="systemd",
            )
        return done.out

    def definition_digest(self):
        """SHA-256 over the unit and its drop-ins as they are on disk; the unit records the same when it starts."""
        digest = hashlib.sha256()
        for path in [
            f"/etc/systemd/system/{self.name}",
            *sorted(glob.glob(f"/etc/systemd/system/{self.name}.d/*.conf")),
        ]:
            if os.path.exists(path):
                with open(path, "rb") as stream:
                    digest.update(stream.read())
        return digest.hexdigest()

    def _systemctl(self, arguments, timeout):
        done = self.runner.run(["systemctl", *arguments], timeout=timeout)
        if not done.ok:
            raise OpsError(f"systemctl {' '.join(arguments)} failed: {done.err.strip()}", kind="systemd")


def telling_lines(text):
    """Return the first lines of a log that tell of an error, and its last lines.

    A node that fails to start says why once, and then prints page after page of supervisors ending.
    """
    lines = [line[:_LINE_LENGTH] for line in text.splitlines()]
    telling = [number for number, line in enumerate(lines) if _TELLING.search(line)][:_TELLING_LINES]
    last = range(max(len(lines) - _LAST_LINES, 0), len(lines))
    return "\n".join(lines[number] for number in sorted({*telling, *last}))
