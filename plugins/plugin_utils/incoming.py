# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files that come to the control node piece by piece."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import getpass
import hashlib
import os

from ansible_collections.erlmcp.ops.plugins.module_utils._backup.store import Store
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.module_utils._core.files import sync_directory

_CHUNK = 1024**2
_DIGITS = 16
_FULL = (errno.ENOSPC, errno.EDQUOT)


def pieces(come, size, piece):
    """Yield (offset, bytes) of each piece that is missing of a file of which the first ``come`` bytes are there."""
    for offset in range(come, size, piece):
        yield offset, min(piece, size - offset)


def to_go_on_from(come, size):
    """Return how many of the ``come`` bytes of a cut-off file of ``size`` bytes count: more cannot be of it."""
    return come if come <= size else 0


def partial_name(name, sha256):
    """Return what a file is called until it is complete.

    With its digest, so that what came of one file is not continued with bytes of another one of the same name.
    """
    return f"{name}.{sha256[:_DIGITS]}"


def outdated(names, name, sha256):
    """Return those of the names in the directory of cut-off files that are of earlier files called ``name``."""
    own = partial_name(name, sha256)
    return [each for each in names if each.rpartition(".")[0] == name and each != own]


def check_room(directory, needed):
    """Refuse what does not fit.

    :raises OpsError: naming the directory and the bytes.
    """
    free = Store(directory).free_bytes()
    if free < needed:
        raise OpsError(
            f"dest_dir: {needed} bytes are still to come to {directory} on the control node, and {free} are free: make "
            "room there, or name another directory, then run again",
            kind="disk",
        )


class Incoming:
    """One file on its way. What has come of it lies in ``.partial`` until it is complete and has its digest.

    That directory is left when it is empty: another host may be about to put something there. rsync removes it.

    :param directory: where it is to be.
    :param size: its bytes.
    :param sha256: its digest.
    """

    def __init__(self, directory, name, size, sha256):
        self.path = os.path.join(directory, name)
        self.size = size
        self._directory = directory
        self._name = name
        self._sha256 = sha256
        self._partials = os.path.join(directory, ".partial")
        self._partial = os.path.join(self._partials, partial_name(name, sha256))

    def is_there(self):
        """Whether it is, with the right bytes."""
        with _disk_errors(self._directory):
            try:
                with open(self.path, "rb") as stream:
                    return os.fstat(stream.fileno()).st_size == self.size and self._is_whole(_hash(stream))
            except FileNotFoundError:
                return False

    def missing_bytes(self):
        """How many bytes are still to come."""
        with _disk_errors(self._directory), contextlib.suppress(FileNotFoundError):
            return self.size - to_go_on_from(os.stat(self._partial).st_size, self.size)
        return self.size

    def receive(self, read_piece, piece):
        """Take what is missing, and give the file its name when it is whole.

        :param read_piece: a function from offset and length to bytes.
        :param piece: how many bytes to ask for at once.
        :raises OpsError: when it cannot be written, or is not what it should be.
        """
        with _disk_errors(self._directory):
            # It may hold the data of nodes.
            os.makedirs(self._directory, mode=0o700, exist_ok=True)
            os.makedirs(self._partials, mode=0o700, exist_ok=True)
            for each in outdated(os.listdir(self._partials), self._name, self._sha256):
                os.unlink(os.path.join(self._partials, each))
            with self._locked() as stream:
                self._complete(stream, read_piece, piece)
            sync_directory(self._directory)

    def _complete(self, stream, read_piece, piece):
        come = to_go_on_from(os.fstat(stream.fileno()).st_size, self.size)
        if not come:
            stream.truncate()
        digest = _hash(stream)
        for offset, length in pieces(come, self.size, piece):
            content = read_piece(offset, length)
            stream.write(content)
            stream.flush()
            digest.update(content)
        if not self._is_whole(digest):
            os.unlink(self._partial)
            raise OpsError(
                f"{self._name} has come with other bytes than it was made with, and was removed: it is damaged on its "
                "host, or was on the way. Run the playbook verify_backups, then run again",
                kind="archive",
            )
        os.fsync(stream.fileno())
        os.replace(self._partial, self.path)

    @contextlib.contextmanager
    def _locked(self):
        descriptor = os.open(self._partial, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "r+b") as stream:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # The other one may have completed it in between.
                own = os.path.samestat(os.fstat(descriptor), os.stat(self._partial))
            except (BlockingIOError, FileNotFoundError):
                own = False
            if not own:
                raise OpsError(
                    f"{self._name} is on its way to {self._directory} for another run: wait for that, then run again",
                    kind="locked",
                )
            yield stream

    def _is_whole(self, digest):
        return digest.hexdigest() == self._sha256


def _hash(stream):
    """Return the digest of the rest of a file, which is left at its end."""
    digest = hashlib.sha256()
    while chunk := stream.read(_CHUNK):
        digest.update(chunk)
    return digest


@contextlib.contextmanager
def _disk_errors(directory):
    try:
        yield
    except OSError as error:
        remedy = "make room" if error.errno in _FULL else f"let {getpass.getuser()} write there"
        raise OpsError(
            f"dest_dir: {error.filename or directory} on the control node: {error.strerror}; what has come stays. "
            f"{remedy.capitalize()}, or name another directory, then run again",
            kind="disk",
        ) from error
