# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The install directory on disk: observes a State, and turns one into another."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import platform
import re
import secrets
import shutil
from dataclasses import asdict, replace
from datetime import datetime, timezone
from pathlib import Path

from .._core.errors import OpsError
from .._core.files import exchange, sync_directory, write_atomically
from .._core.slots import Slots
from .archive import CHUNK, Release
from .plan import Machine, State
from .proof import RECORD
from .whole import LIST, damaged_files, note_files

STAGING = ".staging-"
REMOVING = ".removing-"


class Store:
    """The releases under one install directory."""

    def __init__(self, install_dir):
        self.slots = Slots(install_dir, "releases")
        self._releases = Path(install_dir, "releases")

    def observe(self):
        """Return the :class:`State`; an install directory that does not exist is an empty one."""
        names = self.slots.names()
        found = {name: self._recorded(name) for name in names}
        slots = self.slots.state()
        return State(
            slots=slots,
            installed=tuple(sorted(filter(None, found.values()), key=lambda release: release.installed_at)),
            foreign=tuple(name for name in names if found[name] is None),
            leftovers=tuple(self._leftovers()),
            # Those that a node runs, or may have to go back to.
            damaged=tuple(name for name in sorted(slots.kept) if damaged_files(self.slots.path(name))),
        )

    def observe_machine(self, runner):
        """Return the :class:`Machine`."""
        existing = next(path for path in (self._releases, *self._releases.parents) if path.exists())
        return Machine(
            name=platform.node(),
            architecture=platform.machine(),
            free_bytes=shutil.disk_usage(existing).free,
            system_erts=_system_erts(runner),
        )

    def apply(self, plan, unpack=None):
        """Do what ``plan`` says. Cut off at any point, the next run ends in the same place.

        :param unpack: unpacks the archive into the sink it is called with; needed when the plan installs.
        :raises OpsError: when the disk is full or another run is at work.
        """
        if plan.before == plan.after:
            return
        with _umask(0o022), _disk_errors(plan.version, self._releases):
            self._releases.mkdir(parents=True, exist_ok=True)
            with self._locked():
                for name in plan.before.leftovers:
                    _delete(self._releases / name)
                if plan.installs:
                    self._install(plan, unpack)
                self._link(plan)
                for name in plan.removed:
                    self._remove(name)

    def _install(self, plan, unpack):
        release = plan.release
        staging = self._releases / f"{STAGING}{secrets.token_hex(4)}"
        staging.mkdir()
        try:
            unpack(_Tree(staging))
            record = replace(
                release,
                archive=os.path.basename(release.archive),
                installed_at=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
                proven=plan.repairs and plan.replaced.proven,
            )
            note_files(staging)
            write_atomically(str(staging / RECORD), json.dumps(asdict(record), indent=2).encode() + b"\n")
            _sync_tree(staging)
            if plan.replaced:
                self._replace(plan, staging)
            else:
                staging.rename(self._releases / release.version)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        sync_directory(self._releases)

    def _replace(self, plan, staging):
        """Let both change places, so that the links never point to nothing; then the old one goes."""
        if self.slots.state() != plan.before.slots or self._recorded(plan.version) != plan.replaced:
            raise OpsError(
                f"release {plan.version} was put to use on host {platform.node()} meanwhile, and stays as it is: run "
                "again",
                kind="busy",
            )
        try:
            (_exchange_contents if plan.repairs else exchange)(str(staging), self.slots.path(plan.version))
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOSYS):
                raise
            raise OpsError(
                f"the file system of {self._releases} on host {platform.node()} cannot exchange two directories in one "
                f"step ({error.strerror}): remove release {plan.version} with the playbook remove_release, then run "
                "again",
                kind="disk",
            ) from error
        _delete(staging)

    def _link(self, plan):
        if plan.before.slots.next != plan.after.slots.next:
            self.slots.stage(plan.version)
        if plan.before.slots.previous != plan.after.slots.previous:
            os.unlink(os.path.join(self.slots.root, "previous"))
            sync_directory(self.slots.root)

    def _remove(self, name):
        """Let the name go first: what is half removed must not look like a release."""
        going = self._releases / f"{REMOVING}{secrets.token_hex(4)}"
        (self._releases / name).rename(going)
        sync_directory(self._releases)
        _delete(going)

    def _recorded(self, name):
        try:
            release = Release.from_dict(json.loads(Path(self.slots.path(name), RECORD).read_text("utf-8")))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return release if release.version == name else None

    def _leftovers(self):
        with contextlib.suppress(FileNotFoundError):
            return sorted(name for name in os.listdir(self._releases) if name.startswith((STAGING, REMOVING)))
        return []

    @contextlib.contextmanager
    def _locked(self):
        """Two runs must not take each other's staging for leftovers."""
        descriptor = os.open(self._releases, os.O_RDONLY | os.O_DIRECTORY)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as busy:
                raise OpsError(
                    f"another run is at work in {self._releases} on host {platform.node()}: "
                    "try again when it has ended",
                    kind="busy",
                ) from busy
            yield
        finally:
            os.close(descriptor)


class _Tree:
    """The sink that writes a release below ``root``, without the archive's owners, set-id bits and times."""

    def __init__(self, root):
        self._root = str(root)

    def directory(self, name):
        os.mkdir(self._path(name))

    def file(self, name, source, executable):
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(self._path(name), flags, 0o755 if executable else 0o644), "wb") as target:
            shutil.copyfileobj(source, target, CHUNK)

    def link(self, name, target):
        os.symlink(target, self._path(name))

    def hard_link(self, name, target):
        os.link(self._path(target), self._path(name))

    def remove(self, name):
        os.unlink(self._path(name))

    def _path(self, name):
        return os.path.join(self._root, name)


def _exchange_contents(staging, directory):
    """Let what is in both change places: a node that runs works in the directory, which has to stay what it is.

    The list of files goes last, so that of a run that was killed in between the next one sees that it is damaged.
    """
    complete = sorted(os.listdir(staging), key=lambda name: (name in (LIST, RECORD), name))
    for name in set(os.listdir(directory)) - set(complete):
        os.rename(os.path.join(directory, name), os.path.join(staging, name))
    for name in complete:
        pair = os.path.join(staging, name), os.path.join(directory, name)
        (exchange if os.path.lexists(pair[1]) else os.rename)(*pair)
    sync_directory(directory)


def _system_erts(runner):
    """ERTS version of the ``erl`` on PATH. ``+V`` prints it without starting a virtual machine."""
    try:
        done = runner.run(["erl", "+V"])
    except OpsError:
        return None
    found = re.search(r"version (\S+)", done.out + done.err)
    return found.group(1) if found else None


def _delete(path):
    with contextlib.suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _sync_tree(root):
    """Bring all files to disk, after all were written: then the kernel has most of them there already."""
    for directory, _subdirectories, names in os.walk(root):
        for name in names:
            path = os.path.join(directory, name)
            if not os.path.islink(path):
                descriptor = os.open(path, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
        sync_directory(directory)


@contextlib.contextmanager
def _umask(mask):
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@contextlib.contextmanager
def _disk_errors(version, directory):
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise OpsError(
            f"release {version}: {error.strerror} ({error.filename or directory}) on host {platform.node()}; what runs "
            f"is untouched: {'free some space' if full else 'remove the cause'}, then run again",
            kind="space" if full else "disk",
        ) from error
