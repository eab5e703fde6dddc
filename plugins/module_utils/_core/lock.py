# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One at a time: what must not run beside another of its kind on one host."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import platform
import time

from .errors import OpsError

# A look in check mode holds the lock for an instant, and the record is written an instant after the lock is had.
_PATIENCE_SECONDS = 0.5
_RETRY_SECONDS = 0.05


class Lock:
    """Context manager; the kernel takes the lock back from a process that was killed.

    :param run_dir: directory that does not outlive a boot; made when missing.
    :param name: what is locked.
    :param what: what the holder does, for those who are refused.
    :param patience_seconds: how long to wait for another holder to end. A module whose controller was killed goes on,
        and ends by itself.
    :param companion: path of a file that is there as long as the lock is held.
    :raises OpsError: on entry, when it is held by another for longer than that, or cannot be made.
    """

    def __init__(self, run_dir, name, what, patience_seconds=_PATIENCE_SECONDS, companion=None):
        self.path = _path(run_dir, name)
        self.name = name
        self.what = what
        self.patience_seconds = patience_seconds
        self.companion = companion
        self._descriptor = None

    def __enter__(self):
        try:
            os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            _acquire(self._descriptor, fcntl.LOCK_EX, self.name, self.patience_seconds)
            self._record()
        except BaseException as error:
            self._close()
            if not isinstance(error, OSError):
                raise
            raise OpsError(
                f"the lock {self.path} on host {platform.node()} cannot be had: {error.strerror} ({error.filename})",
                kind="locked",
            ) from error
        return self

    def _record(self):
        record = {"what": self.what, "pid": os.getpid(), "since": _now()}
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, json.dumps(record).encode(), 0)
        if self.companion:
            with open(self.companion, "wb"):
                pass

    def _close(self):
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __exit__(self, *_exception):
        if self.companion:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.companion)
        # The file stays: whoever waits for it would else lock one that has no name.
        os.ftruncate(self._descriptor, 0)
        self._close()

    @staticmethod
    def wait_until_free(run_dir, name, seconds=_PATIENCE_SECONDS):
        """Wait without holding or making anything: for check mode, and for those who only look.

        :raises OpsError: when it is still held after ``seconds``; tells who holds it.
        """
        try:
            descriptor = os.open(_path(run_dir, name), os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return
        try:
            _acquire(descriptor, fcntl.LOCK_SH, name, seconds)
        finally:
            os.close(descriptor)


def _path(run_dir, name):
    return os.path.join(run_dir, f"{name}.lock")


def _acquire(descriptor, operation, name, patience_seconds):
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            return fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
        except BlockingIOError as busy:
            if time.monotonic() >= deadline:
                holder = _holder(descriptor)
                raise OpsError(
                    f"{_told(holder)} of {name} on host {platform.node()} is at work: try again when it has ended",
                    kind="locked",
                    holder=holder,
                ) from busy
        time.sleep(_RETRY_SECONDS)


def _holder(descriptor):
    try:
        return json.loads(os.pread(descriptor, 4096, 0))
    except ValueError:
        return None


def _told(holder):
    if holder is None:
        return "another run"
    return f"a {holder['what']} (process {holder['pid']}, since {holder['since']})"


def _now():
    return f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%dT%H:%M:%SZ}"
