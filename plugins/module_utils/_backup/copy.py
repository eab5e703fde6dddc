# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An archive where the host's own fate does not reach, by rclone or rsync.

What a tool says of its transfer is not believed: the bytes that arrived are compared afterwards. The archive goes
first, so one that has its file beside it over there is complete.
"""

from __future__ import annotations

import datetime
import hashlib
import os
import platform
import pwd
import re
import shutil
import time

from .._core.errors import OpsError
from .._core.runner import SEARCH_PATH

_LONGEST_SECONDS = 24 * 3600
# A connection that is silent for so long is dead. To hash a large file over there takes a while, too.
_SILENCE_SECONDS = 3600
_CHUNK = 1024**2
_USING_HASHES = re.compile(r"Using \S+ for hash comparisons")
_NOT_CHECKED = "could not be checked"


def backup_copy(module, runner):
    """The module ``backup_copy``."""
    from .lock import Lock
    from .metrics import write_metrics
    from .store import Store

    options = module.params
    check(options)
    store = Store(options["store_dir"])
    backup = store.find(options["archive"], options["host"])
    if backup.problem:
        raise OpsError(f"{backup.path} is not good: {backup.problem}. Copy another archive", kind="archive")
    sha256 = backup.beside["archive"]["sha256"]
    result = {
        "archive": backup.path,
        "destination": options["destination"],
        "sha256": sha256,
        "changed": not is_proven(backup.copied, options["destination"], sha256),
    }
    if not result["changed"]:
        return result
    result["diff"] = {"before": "", "after": f"{backup.name} is at {options['destination']}\n"}
    if module.check_mode:
        return result
    started = time.monotonic()
    # Not the lock of backups and restores: they must not wait for a slow line.
    with Lock(options["run_dir"], f"{options['service']}-copy", "copy"):
        Copy(options, runner).bring(backup.path, sha256)
        store.mark(backup.path, "copied", {"destination": options["destination"], "sha256": sha256, "time": _now()})
    problem = write_metrics(options["metrics_dir"], {"erlmcp_backup_copy_last_success_timestamp_seconds": time.time()})
    return {**result, "seconds": round(time.monotonic() - started, 1), "warnings": [problem] if problem else []}


def check(options):
    """Refuse what cannot be meant, and a tool that is not there.

    :raises OpsError: naming the option.
    """
    if not options["destination"] or options["destination"].startswith("-"):
        raise OpsError(f"destination: {options['destination']!r} is no place to copy to", kind="input")
    if shutil.which(options["tool"], path=SEARCH_PATH) is None:
        raise OpsError(
            f"tool: {options['tool']} is not installed on host {platform.node()}: install it, or set "
            "erlmcp_backup_copy_tool and run the playbook site",
            kind="command",
        )


def is_proven(mark, destination, sha256):
    """Whether the mark of an archive says that these bytes were proven to be at this place."""
    return bool(mark) and (mark.get("destination"), mark.get("sha256")) == (destination, sha256)


class Copy:
    """Brings archives to one place.

    :param options: ``tool``, ``destination`` and ``tool_options`` of the module.
    :param runner: a :class:`Runner`.
    """

    def __init__(self, options, runner):
        self._name = options["tool"]
        self._destination = options["destination"]
        self._tool = _TOOLS[self._name](self._run, self._destination, options["tool_options"])
        self._runner = runner

    def bring(self, path, sha256):
        """Copy the archive at ``path``, then the file beside it, each proven over there before the next.

        :param sha256: of the archive when it was written.
        :raises OpsError: when it is not proven to be there; what arrived may stay, it does not count.
        """
        found = _sha256(path)
        if found != sha256:
            raise OpsError(
                f"{path} hashes to {found}, and to {sha256} when it was written: it is damaged and was not copied. "
                "Make a new backup",
                kind="archive",
            )
        # Where the place is a directory of this host, rclone would let everybody read what arrives.
        umask = os.umask(0o077)
        try:
            for each in (path, f"{path}.json"):
                self._tool.send(each)
                problem = self._tool.problem(each)
                if problem:
                    raise self._failure(each, problem)
        finally:
            os.umask(umask)

    def _run(self, arguments):
        argv = [self._name, *arguments]
        # rclone and ssh find what is the user's own there.
        home = pwd.getpwuid(os.geteuid()).pw_dir
        return self._runner.run(argv, env={"HOME": home}, timeout=_LONGEST_SECONDS)

    def _failure(self, path, problem):
        return OpsError(
            f"{os.path.basename(path)} is not proven to be at {self._destination}: {problem}. It is not counted as a "
            f"copy; {self._tool.RUN_AGAIN}",
            kind="copy",
            destination=self._destination,
        )


class Rsync:
    """rsync: compares by checksum, and keeps what arrived of a file until the next run."""

    RUN_AGAIN = "run again, it resumes"

    def __init__(self, run, destination, options):
        self._run = run
        self._options = [f"--timeout={_SILENCE_SECONDS}", *options, "--checksum"]
        self._target = below(destination, "")

    def send(self, path):
        self._sent = self._run([*self._options, "--partial-dir=.rsync-partial", "--", path, self._target])

    def problem(self, path):
        """Return what is wrong with the file over there, or ``None``: rsync would have nothing to do."""
        if not self._sent.ok:
            return _told(self._sent)
        done = self._run([*self._options, "--dry-run", "--itemize-changes", "--", path, self._target])
        if not done.ok:
            return _told(done)
        return f"it differs after the transfer ({done.out.strip()})" if done.out.strip() else None


class Rclone:
    """rclone: compares by the hashes that both ends have, or else by reading everything back."""

    RUN_AGAIN = "run again, it resumes with the first file that is not proven"

    def __init__(self, run, destination, options):
        self._run = run
        self._destination = destination
        self._options = ["--stats=0", *options]
        self._sent = None

    def send(self, path):
        # rclone takes a file of the same size and time for the same.
        if self.problem(path):
            target = below(self._destination, os.path.basename(path))
            self._sent = self._run(["copyto", "--ignore-times", *self._options, "--", path, target])

    def problem(self, path):
        """Return what is wrong with the file over there, or ``None``."""
        if self._sent and not self._sent.ok:
            return _told(self._sent)
        problem, done = self._compare(path, "-v")
        if problem is None and not (_USING_HASHES.search(done.err) and _NOT_CHECKED not in done.err):
            problem, done = self._compare(path, "--download")
        return problem

    def _compare(self, path, option):
        directory, name = os.path.split(path)
        arguments = ["--one-way", f"--include=/{name}", "--combined=-", option, *self._options]
        done = self._run(["check", *arguments, "--", directory, self._destination])
        if done.ok and done.out.split("\n")[0] == f"= {name}":
            return None, done
        return _told(done), done


_TOOLS = {"rsync": Rsync, "rclone": Rclone}


def below(destination, name):
    """Return the path of ``name`` below a destination of either tool; ``host:`` is not ``host:/``."""
    return f"{destination}{'' if destination.endswith(('/', ':')) else '/'}{name}"


def _told(done):
    lines = [line for line in f"{done.out}\n{done.err}".splitlines() if line.strip()]
    return f"status {done.rc}, {' | '.join(lines[-3:])}"


def _sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _now():
    return f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%dT%H:%M:%SZ}"
