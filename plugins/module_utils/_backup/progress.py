# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a long run does just now: a line in the journal every few seconds, and the last one in a file for the playbook.

Nothing here fails a run.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time

from .._core import trees
from .._core.errors import OpsError
from .._core.files import write_atomically

JOURNAL = "/run/systemd/journal/socket"
_MIB = 1024**2
_INFORMATIONAL = 6
_POLL_SECONDS = 0.5


def progress_path(run_dir, service):
    """Path of the file with the last line; who holds the lock has made it, and removes it."""
    return os.path.join(run_dir, f"{service}.progress")


class Progress:
    """Says what is done; safe to use from several threads.

    :param name: identifier in the journal.
    :param run_dir: where the lock is.
    :param service: what the lock is of.
    :param interval: seconds between two lines about the same.
    :param journal: path of journald's socket; without one, nothing is said there.
    """

    def __init__(self, name, run_dir, service, interval=2.0, journal=JOURNAL):
        self.name = name
        self.interval = interval
        self._path = progress_path(run_dir, service)
        self._journal = journal
        self._mutex = threading.Lock()
        self._begin("", None)

    def phase(self, text, total_bytes=None):
        """Say that something begins.

        :param total_bytes: how much it is, when that is known.
        """
        with self._mutex:
            self._begin(text, total_bytes)
            self._say(text)

    def tick(self, done, total=None):
        """Say how far it is, unless that was said just now.

        :param done, total: bytes.
        """
        now = time.monotonic()
        if now - self._said < self.interval:
            return
        with self._mutex:
            self._say(describe(self._text, done, total or self._total, now - self._began))

    def say(self, text):
        """Say ``text``."""
        with self._mutex:
            self._say(text)

    @contextlib.contextmanager
    def watch(self, directory):
        """Inside, another program fills ``directory``, and its size is said."""
        done = threading.Event()

        def look():
            while not done.wait(min(self.interval, _POLL_SECONDS)):
                with contextlib.suppress(OpsError, OSError):
                    self.tick(trees.size(directory))

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _begin(self, text, total):
        self._text = text
        self._total = total
        self._began = self._said = time.monotonic()

    def _say(self, text):
        self._said = time.monotonic()
        line = " ".join(text.split())
        with contextlib.suppress(OSError):
            self._tell_journal(line)
        with contextlib.suppress(OSError):
            if os.path.exists(self._path):
                write_atomically(self._path, f"{line}\n".encode(), mode=0o644)

    def _tell_journal(self, line):
        message = f"MESSAGE={line}\nPRIORITY={_INFORMATIONAL}\nSYSLOG_IDENTIFIER={self.name}\n"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            # A journal that is stuck loses a line and holds nobody up.
            client.setblocking(False)
            client.sendto(message.encode("utf-8", "replace"), self._journal)


def describe(text, done, total, seconds):
    """Return for example ``writing the archive: 43 % (430 of 1000 MiB, 120 MiB/s)``.

    :param done, total: bytes; ``total`` may be ``None``.
    :param seconds: since it began.
    """
    speed = f"{done / _MIB / max(seconds, 0.001):.0f} MiB/s"
    if not total:
        return f"{text}: {done / _MIB:.0f} MiB, {speed}"
    return f"{text}: {100 * done / total:.0f} % ({done / _MIB:.0f} of {total / _MIB:.0f} MiB, {speed})"
