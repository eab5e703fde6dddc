# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The directory of archives: what is in it, and how an archive gets its name, its marks, and goes again.

An archive with its final name is complete and has its file beside it, wherever a run was cut off: that file comes
first and goes last.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import platform
import shutil
import stat
import time
from dataclasses import dataclass
from functools import cached_property

from .._core.errors import OpsError
from .._core.files import sync_directory, write_atomically
from .manifest import check_beside, parse_name

LATEST = "latest"
# Directory in the store for archives of other hosts, as long as a restore needs them.
COPIES = ".of-others"
MARKS = ("verified", "copied", "drilled")

_PART_PREFIX, _PART_SUFFIX = ".erlmcp-", ".part"
# As write_atomically calls what it has not renamed yet.
_UNNAMED_SUFFIX = ".tmp"
_BESIDE_SUFFIXES = (".json", *(f".{kind}.json" for kind in MARKS))
# A million files are described in less.
_LARGEST_JSON = 256 * 1024**2
_LISTED = 20
_DAY_SECONDS = 86400
# Clocks that are kept in time differ by less.
CLOCK_SECONDS = 300


@dataclass(frozen=True)
class Backup:
    """One archive and what stands beside it.

    ``time`` is an aware UTC datetime, ``size`` in bytes. ``verified``, ``copied`` and ``drilled`` are the marks, or
    ``None``: a mark that names the digest of other bytes is none. ``problem`` says why it cannot be trusted, or
    ``None``.
    """

    name: str
    path: str
    host: str
    time: datetime.datetime
    size: int
    encrypted: bool
    verified: dict | None = None
    copied: dict | None = None
    drilled: dict | None = None
    problem: str | None = None

    @cached_property
    def beside(self):
        """The file beside it, as a dict, or ``None`` when it is missing or damaged; read when it is first asked for.

        It can be large, and most who list archives do not need it.
        """
        return self.read_beside()

    def read_beside(self):
        """Return the same, read now and not kept."""
        return _read_beside(self.path)[0]


class Store:
    """The archives in one directory, which is root's alone.

    :param root: absolute path of the directory.
    """

    def __init__(self, root):
        self.root = os.path.abspath(root)

    # What is there

    def backups(self):
        """Return a list of :class:`Backup`, oldest first; a directory that does not exist holds none."""
        found = []
        for name in self._archives():
            # Who only looks holds no lock, so an archive may go meanwhile.
            with contextlib.suppress(FileNotFoundError):
                found.append(_observe(self._path(name)))
        return found

    def find(self, archive, host=None):
        """Return one :class:`Backup`; it may have a problem.

        :param archive: a name in the store, an absolute path, or ``latest``, to which those from the future do not
            count.
        :param host: whose latest; needed when the store holds archives of several hosts.
        :raises OpsError: when there is none, saying what there is.
        """
        if archive == LATEST:
            return self._latest(host)
        path = self._path(archive)
        if os.path.dirname(path) != self.root and not os.path.isabs(archive):
            raise OpsError(
                f"archive: {archive!r} is neither a name in {self.root} nor an absolute path: give one", kind="archive"
            )
        if parse_name(os.path.basename(path)) is None:
            raise OpsError(
                f"archive: {archive!r} is not named like an archive, erlmcp-<host>-<UTC time>.tar.zst: give it the "
                "name that it was made with",
                kind="archive",
            )
        try:
            return _observe(path)
        except FileNotFoundError as missing:
            raise OpsError(
                f"there is no archive {path} on host {platform.node()}. {self._listing()}", kind="archive", path=path
            ) from missing

    def leftovers(self):
        """Return the names of what killed runs left, and of files whose archive is gone, sorted.

        A file beside an archive that is not there may be on its way with it from another host: it has a day.
        """
        names = self._names()
        archives = set(self._archives())
        unfinished = {_of_part(name) for name in names} - {None}

        def left(name):
            if name.endswith(_UNNAMED_SUFFIX):
                return _of_beside(name[: -len(_UNNAMED_SUFFIX)]) is not None
            archive = _of_beside(name)
            if archive is None or archive in archives:
                return _of_part(name) is not None
            return archive in unfinished or self._came_long_ago(name)

        return sorted(name for name in names if left(name))

    def foreign(self):
        """Return the names of what this collection did not write, sorted."""
        ours = {*self.leftovers(), COPIES}
        return sorted(name for name in self._names() if not (name in ours or parse_name(name) or _of_beside(name)))

    def free_bytes(self):
        """Bytes that can be written to the store's file system, also before the store is made."""
        path = self.root
        while not os.path.exists(path):
            path = os.path.dirname(path)
        return shutil.disk_usage(path).free

    # Changing it; the caller holds the lock

    def prepare(self):
        """Make the directory, for its owner alone.

        :raises OpsError: when what is there could be changed by others, or it cannot be made.
        """
        with self._disk_errors():
            with contextlib.suppress(FileExistsError):
                os.makedirs(os.path.dirname(self.root), mode=0o755, exist_ok=True)
                os.mkdir(self.root, 0o700)
                sync_directory(os.path.dirname(self.root))
            status = os.lstat(self.root)
        if not stat.S_ISDIR(status.st_mode):
            problem = "is a link" if stat.S_ISLNK(status.st_mode) else "is not a directory"
        elif status.st_uid != os.geteuid():
            problem = f"belongs to user id {status.st_uid}"
        elif status.st_mode & 0o022:
            problem = f"can be written by others (mode {stat.S_IMODE(status.st_mode):04o})"
        else:
            return
        raise OpsError(
            f"the backup directory {self.root} on host {platform.node()} {problem}, so what is in it cannot be "
            "trusted: name a directory of root with mode 0700",
            kind="store",
            path=self.root,
        )

    def clear_leftovers(self):
        """Remove :meth:`leftovers`."""
        self.clear(self.leftovers())

    def clear(self, leftovers):
        """Remove the names that :meth:`leftovers` returned."""
        with self._disk_errors():
            for name in leftovers:
                self._delete(name)

    def part_path(self, name):
        """Return the path under which archive ``name`` is to be written until :meth:`publish`.

        :raises OpsError: when there is such an archive already.
        """
        self._refuse_taken(name)
        return self._path(_part(name))

    def publish(self, name, beside):
        """Give the archive at :meth:`part_path`, complete and synced, its name.

        :param beside: dict with ``archive`` and ``manifest``, for the file beside it.
        """
        self._refuse_taken(name)
        with self._disk_errors():
            try:
                self._write(f"{self._path(name)}.json", beside)
                os.rename(self._path(_part(name)), self._path(name))
            except OSError:
                self._delete(f"{name}.json")
                self._delete(_part(name))
                raise
            sync_directory(self.root)

    def mark(self, archive, kind, data):
        """Note something of an archive, beside it.

        :param archive: a name in the store, or an absolute path.
        :param kind: one of :data:`MARKS`.
        :param data: dict; with ``sha256`` it counts only as long as the archive has that digest.
        :raises OpsError: when the archive is not there.
        """
        path = self._path(archive)
        if not os.path.isfile(path):
            raise OpsError(f"there is no archive {path} that could be marked as {kind}", kind="archive", path=path)
        with self._disk_errors():
            self._write(_mark_path(path, kind), data)

    def unmark(self, archive, kind):
        """Take a mark away; return whether there was one. Parameters as of :meth:`mark`."""
        path = _mark_path(self._path(archive), kind)
        with self._disk_errors():
            try:
                os.unlink(path)
            except FileNotFoundError:
                return False
            sync_directory(os.path.dirname(path))
        return True

    def remove(self, backup):
        """Remove an archive and what stands beside it. Cut off anywhere, :meth:`clear_leftovers` does the rest."""
        with self._disk_errors():
            os.rename(self._path(backup.name), self._path(_part(backup.name)))
            sync_directory(self.root)
            for suffix in _BESIDE_SUFFIXES:
                self._delete(f"{backup.name}{suffix}")
            self._delete(_part(backup.name))
            sync_directory(self.root)

    # Small things

    def _latest(self, host):
        fitting = [name for name in self._archives() if host in (None, parse_name(name).host)]
        hosts = sorted({parse_name(name).host for name in fitting})
        if not hosts:
            raise OpsError(
                f"there is no archive{f' of {host}' if host else ''} in {self.root} on host {platform.node()}. "
                f"{self._listing()}",
                kind="archive",
                path=self.root,
            )
        if len(hosts) > 1:
            raise OpsError(
                f"{self.root} holds archives of {', '.join(hosts)}: say whose latest with host, or name an archive",
                kind="archive",
                hosts=hosts,
            )
        later = self.from_the_future(hosts[0])
        if fitting == later:
            raise OpsError(
                f"{', '.join(fitting)} in {self.root} is from the future: the clock of host {platform.node()} is "
                "wrong, or that of the host which made it was. Correct the clock, or name the archive",
                kind="archive",
            )
        return _observe(self._path(fitting[-1 - len(later)]))

    def from_the_future(self, host):
        """Return the names of the archives of a host that were made later than now, by the clocks, oldest first."""
        limit = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=CLOCK_SECONDS)
        own = {name: parse_name(name) for name in self._archives()}
        return [name for name, parsed in own.items() if parsed.host == host and parsed.time > limit]

    def _listing(self):
        names = self._archives()
        if not names:
            return f"{self.root} holds none: run the playbook backup"
        older = f" and {len(names) - _LISTED} older" if len(names) > _LISTED else ""
        return f"{self.root} holds {', '.join(names[-_LISTED:])}{older}"

    def _archives(self):
        """Names of the archives, oldest first."""
        found = {name: parse_name(name) for name in self._names()}
        return sorted((name for name in found if found[name]), key=lambda name: (found[name].time, name))

    def _names(self):
        try:
            return os.listdir(self.root)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise OpsError(
                f"the backup directory {self.root} on host {platform.node()}: {error.strerror}", kind="store"
            ) from error

    def _path(self, name):
        return os.path.join(self.root, name)

    def _refuse_taken(self, name):
        if os.path.lexists(self._path(name)):
            raise OpsError(f"there is an archive {self._path(name)} already: run again", kind="archive")

    def _came_long_ago(self, name):
        # Copying keeps the time of the content, not of the inode.
        with contextlib.suppress(FileNotFoundError):
            return os.lstat(self._path(name)).st_ctime < time.time() - _DAY_SECONDS
        return False

    def _delete(self, name):
        path = self._path(name)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    @staticmethod
    def _write(path, data):
        write_atomically(path, f"{json.dumps(data)}\n".encode(), mode=0o600)

    @contextlib.contextmanager
    def _disk_errors(self):
        try:
            yield
        except OSError as error:
            raise OpsError(
                f"the backup directory {self.root} on host {platform.node()}: {error.strerror} "
                f"({error.filename or self.root}); no archive is half-made: remove the cause, then run again",
                kind="store",
            ) from error


def _part(name):
    return f".{name}{_PART_SUFFIX}"


def _of_part(name):
    """The archive that an unfinished file was to become, or ``None``."""
    if name.startswith(_PART_PREFIX) and name.endswith(_PART_SUFFIX):
        return name[1 : -len(_PART_SUFFIX)]
    return None


def _of_beside(name):
    """The archive that a file stands beside, or ``None``."""
    for suffix in _BESIDE_SUFFIXES:
        if name.endswith(suffix) and parse_name(name[: -len(suffix)]):
            return name[: -len(suffix)]
    return None


def _mark_path(path, kind):
    if kind not in MARKS:
        raise ValueError(kind)
    return f"{path}.{kind}.json"


def _observe(path):
    """Look at the archive at ``path``, whose name is one."""
    name = os.path.basename(path)
    parsed = parse_name(name)
    status = os.lstat(path)
    beside, problem = _read_beside(path)
    facts = beside["archive"] if beside else {}
    if not stat.S_ISREG(status.st_mode):
        problem = f"{name} is not a regular file"
    elif facts and facts["size"] != status.st_size:
        problem = f"{name} has {status.st_size} bytes, and had {facts['size']} when it was written"
    return Backup(
        name=name,
        path=path,
        host=parsed.host,
        time=parsed.time,
        size=status.st_size,
        encrypted=parsed.encrypted,
        problem=problem,
        **{kind: _read_mark(path, kind, facts.get("sha256")) for kind in MARKS},
    )


def _read_beside(path):
    """Return (content or ``None``, problem or ``None``)."""
    name = os.path.basename(path)
    try:
        return check_beside(_read_json(f"{path}.json"), name), None
    except FileNotFoundError:
        return None, f"there is no {name}.json beside it"
    except (OSError, ValueError) as error:
        return None, f"{name}.json cannot be read: {error}"
    except OpsError as error:
        return None, f"{name} {error}"


def _read_mark(path, kind, sha256):
    try:
        data = _read_json(_mark_path(path, kind))
    except (OSError, ValueError):
        return None
    if not isinstance(data, dict) or (sha256 and data.get("sha256", sha256) != sha256):
        return None
    return data


def _read_json(path):
    """Read a small regular file; it may lie where others than root write."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is not a regular file")
        if status.st_size > _LARGEST_JSON:
            raise ValueError(f"it has more than {_LARGEST_JSON} bytes")
        try:
            return json.loads(stream.read(_LARGEST_JSON))
        except RecursionError as error:
            raise ValueError("it is nested too deeply") from error
