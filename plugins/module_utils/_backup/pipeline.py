# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compression and encryption by the programs that do it best, fed and drained side by side."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import tempfile
import threading

from .._core.errors import OpsError
from .._core.runner import SEARCH_PATH

CHUNK = 1024**2

# fcntl names it since Python 3.10.
_F_SETPIPE_SZ = 1031
# What a pipe holds at least, so that nobody has to read while it is filled.
_SECRET_BYTES = 32 * 1024


class ProgramFailed(Exception):
    """A program ended with an error. ``program`` is its name, the message what it said."""

    def __init__(self, program, said):
        super().__init__(f"{program}: {said}")
        self.program = program


class Programs:
    """Programs that feed each other, as a context: what still runs at its end is killed.

    Their error output goes to files, so that nobody blocks on it.
    """

    def __init__(self):
        self._stack = contextlib.ExitStack()
        self._started = []
        self._pumps = []
        self._error = None

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        for process, _said in self._started:
            process.kill()
            process.wait()
        # They end with the programs at their ends.
        for pump in self._pumps:
            pump.join()
        for process, _said in self._started:
            for end in (process.stdin, process.stdout):
                if end:
                    end.close()
        self._stack.close()

    def start(self, argv, stdin=subprocess.PIPE, secret=None):
        """Start a program; return its ``Popen``, whose ``stdin`` and ``stdout`` are unbuffered pipes.

        :param argv: list of arguments.
        :param stdin: the ``stdout`` of another one, which is then its alone; nothing for a pipe.
        :param secret: text that only this program may see; ``{secret}`` in ``argv`` becomes the file to read it from.
        :raises OpsError: when it is not installed, or the secret is too long to be one.
        """
        said = self._stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        with _handed_over(secret) as descriptors:
            try:
                process = subprocess.Popen(
                    [word.format(secret=f"/dev/fd/{descriptors[0]}") if descriptors else word for word in argv],
                    stdin=stdin,
                    stdout=subprocess.PIPE,
                    stderr=said,
                    bufsize=0,
                    cwd="/",
                    env={"PATH": SEARCH_PATH, "LANG": "C.UTF-8"},
                    pass_fds=descriptors,
                    # Without a terminal none of them can ask for a passphrase and wait for ever.
                    start_new_session=True,
                )
            except FileNotFoundError as missing:
                raise OpsError(
                    f"{argv[0]} is not installed on this host: install the package {argv[0]}, which the playbook site "
                    "does where the inventory needs it",
                    kind="command",
                ) from missing
        self._started.append((process, said))
        if stdin is not subprocess.PIPE:
            # Who writes into it learns that its reader is gone only when nobody else could read.
            stdin.close()
        for end in (process.stdin, process.stdout):
            if end:
                # Fewer switches; a kernel that refuses is only slower.
                with contextlib.suppress(OSError):
                    fcntl.fcntl(end, _F_SETPIPE_SZ, CHUNK)
        return process

    def pump(self, source, target, first=b""):
        """Move everything from ``source`` to ``target`` in a thread of its own, and close both.

        :param source: an object with ``readinto`` and ``close``.
        :param target: an object with ``write``, which may take a part, and ``close``.
        :param first: bytes that go in front.
        """
        pump = threading.Thread(target=self._move, args=(source, target, first), daemon=True)
        self._pumps.append(pump)
        pump.start()

    def finish(self):
        """Wait for all; raise what went wrong first.

        :raises OSError: when a pump could not read or write.
        :raises ProgramFailed: when a program did.
        """
        for process, _said in self._started:
            process.wait()
        for pump in self._pumps:
            pump.join()
        if self._error:
            raise self._error
        failed = [(process, _last_words(process, said)) for process, said in self._started if process.returncode]
        # Who only lost its reader is not the reason.
        reasons = [each for each in failed if each[0].returncode != -signal.SIGPIPE and "roken pipe" not in each[1]]
        for process, words in reasons or failed:
            raise ProgramFailed(process.args[0], words)

    def _move(self, source, target, first):
        try:
            write_all(target, first)
            buffer = memoryview(bytearray(CHUNK))
            while count := source.readinto(buffer):
                write_all(target, buffer[:count])
        except BrokenPipeError:
            # The program that stopped reading says why.
            pass
        except OSError as error:
            self._error = error
        finally:
            source.close()
            target.close()


def write_all(target, data):
    """Write ``data`` to an unbuffered target, which may take it in parts."""
    view = memoryview(data)
    while view:
        view = view[target.write(view) :]


@contextlib.contextmanager
def _handed_over(secret):
    """A pipe that holds the secret: neither the disk nor the list of processes ever shows it."""
    if secret is None:
        yield ()
        return
    content = secret.encode()
    if len(content) > _SECRET_BYTES:
        raise OpsError("identity: it is too long for an age identity", kind="input")
    reader, writer = os.pipe()
    try:
        with os.fdopen(writer, "wb") as stream:
            stream.write(content)
        yield (reader,)
    finally:
        os.close(reader)


def _last_words(process, said):
    said.seek(0)
    lines = said.read(4096).decode("utf-8", "replace").strip().splitlines()
    if lines:
        return lines[0].strip()
    if process.returncode < 0:
        return f"ended by signal {-process.returncode}"
    return f"exit status {process.returncode}"
