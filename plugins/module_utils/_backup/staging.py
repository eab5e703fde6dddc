# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An archive becomes a data directory that a node can start with, beside the one it has."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil

from .._core.errors import OpsError
from .archive import read_archive
from .manners import in_background
from .tables import Offline

# What must stay free for a node that goes on writing meanwhile.
RESERVE_BYTES = 64 * 1024**2
# As long as a large node may need; nothing that serves waits for it.
LONGEST_SECONDS = 6 * 3600
_CHUNK = 1024**2
MNESIA = "mnesia.backup"


def needed_bytes(header, members):
    """Bytes that staging takes: the files, Mnesia's backup, and twice as much for the directory while it is built."""
    sizes = {record["name"]: record["size"] for record in header["files"]}
    tables = sizes.get(MNESIA, 0) if "data" in members else 0
    files = sum(size for name, size in sizes.items() if name.partition("/")[0] in members)
    return files + 3 * tables + RESERVE_BYTES


def count_rows(offline, backup_file, dets):
    """Count every row of tables that no node has open.

    :param offline: an :class:`Offline`.
    :param backup_file: path of a Mnesia backup, or ``None``.
    :param dets: places below the data directory, to paths of closed DETS files.
    :return: tables as a manifest has them; a DETS table is known by its place, since only its owner knows its name.
    """
    if not backup_file and not dets:
        return []
    places = {path: place for place, path in dets.items()}
    return [
        {**table, "name": places[table["name"]], "file": places[table["name"]]} if table["kind"] == "dets" else table
        for table in offline.count(backup_file, list(dets.values()), LONGEST_SECONDS)
    ]


def differences(counted, manifest_tables):
    """Say which tables do not hold the rows that the manifest counted.

    A table of which this node has no copy has ``None`` rows here, and is for the others to count.
    """
    wanted = {(table["kind"], table["name"]): table["rows"] for table in manifest_tables}
    found = {(table["kind"], table["name"]): table["rows"] for table in counted}
    return [
        f"{kind} table {name} has {found.get((kind, name), 'no')} rows, and the manifest counted "
        f"{wanted.get((kind, name), 'none')}"
        for kind, name in sorted({*wanted, *found})
        if found.get((kind, name), 0) is not None and wanted.get((kind, name)) != found.get((kind, name))
    ]


class Area:
    """A directory on the file system of the data directory, in which an archive is unpacked.

    ``new``: the future data directory. ``config``: files of the config set. Made for root, and open to the service
    account only where its Erlang has to write.

    :param path: of the area; its parent must be on the file system of the data directory.
    """

    def __init__(self, path, account):
        self.path = path
        self.account = pwd.getpwnam(account)
        self.new = os.path.join(path, "new")
        self.config = os.path.join(path, "config")
        self.tables = os.path.join(path, MNESIA)

    def make(self):
        os.mkdir(self.path, 0o711)
        os.mkdir(self.config, 0o700)
        os.mkdir(self.new, 0o700)

    def hand_over(self):
        """Give the service account what is unpacked; until then nobody but root can touch it."""
        self._give(self.new, 0o750)
        for directory, directories, files in os.walk(self.new):
            for name in directories:
                self._give(os.path.join(directory, name), 0o750)
            for name in files:
                self._give(os.path.join(directory, name))
        # The account's Erlang reads the tables' backup and, under other node names, writes one beside it.
        if os.path.exists(self.tables):
            self._give(self.tables)
        os.chown(self.path, self.account.pw_uid, -1)

    def close(self):
        """Take the area itself back, before anything in it is trusted."""
        os.chown(self.path, os.geteuid(), -1)
        for name in os.listdir(self.path):
            if name not in ("new", "config"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.join(self.path, name))

    def write(self, root, relative, reader, mode):
        path = os.path.join(root, relative)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with open(path, "xb") as stream:
            while chunk := reader.read(_CHUNK):
                stream.write(chunk)
        os.chmod(path, mode & 0o770)

    def _give(self, path, mode=None):
        os.chown(path, self.account.pw_uid, self.account.pw_gid, follow_symlinks=False)
        if mode is not None:
            os.chmod(path, mode)


class Staging:
    """Unpacks, verifies and builds in one pass over the archive; nothing that serves is touched.

    :param spec: the ``node`` option of a module.
    :param runner: a :class:`Runner`.
    :param area: an :class:`Area` that does not exist yet.
    :param progress: a :class:`Progress`.
    """

    def __init__(self, spec, runner, area, progress):
        self.spec = spec
        self.offline = Offline(spec, runner)
        self.area = area
        self.progress = progress

    def fill(self, backup, check, *, members, identity=None, node_map=None, tables_from=None, alone=False):
        """Fill the area; on any failure it is gone again.

        :param backup: a :class:`Backup` of the store.
        :param check: called with the manifest beside the archive, where there is one, before anything is unpacked,
            and with the verified one; raises to refuse.
        :param members: ``config`` and ``data``, what is wanted of it.
        :param identity: age identity as text.
        :param node_map: old node names to new ones, for the schema.
        :param tables_from: another :class:`Backup`, which Mnesia's tables are taken from.
        :param alone: for a throw-away instance: under the archive's own node name, and so that the tables load without
            the other nodes of the schema.
        :return: the verified manifest, its ``tables`` those that were built.
        """
        with in_background():
            return self._fill(backup, check, members, identity, node_map or {}, tables_from, alone)

    def _fill(self, backup, check, members, identity, node_map, tables_from, alone):
        try:
            self._check_beside(backup, check)
            self.area.make()
            manifest = self._unpack(backup, members, identity, with_tables=tables_from is None)
            check(manifest)
            tables = [table for table in manifest["tables"] if "data" in members]
            mnesia = manifest["mnesia"]
            if tables_from is not None and "data" in members:
                other = self._unpack(tables_from, [], identity, with_tables=True)
                mnesia = other["mnesia"]
                tables = [t for t in tables if t["kind"] != "mnesia"] + [
                    t for t in other["tables"] if t["kind"] == "mnesia"
                ]
            self.area.hand_over()
            if "data" in members:
                name = manifest["node"]["name"] if alone else self.spec["name"]
                self._build(mnesia, tables, name, node_map, alone)
            self.area.close()
        except OSError as error:
            self.remove()
            raise OpsError(
                f"unpacking {backup.name} into {self.area.path} failed: {error.strerror}. Nothing else was changed",
                kind="io",
            ) from error
        except BaseException:
            self.remove()
            raise
        return {**manifest, "mnesia": mnesia, "tables": tables}

    def remove(self):
        if os.path.lexists(self.area.path):
            shutil.rmtree(self.area.path)

    @staticmethod
    def _check_beside(backup, check):
        if backup.beside:
            check(backup.beside["manifest"])

    def _unpack(self, backup, members, identity, with_tables):
        area = self.area
        roots = {member: {"data": area.new, "config": area.config}[member] for member in members}

        def on_header(header):
            wanted = ["data"] if with_tables and not members else members
            need = needed_bytes(header, wanted)
            space = os.statvfs(os.path.dirname(area.path))
            free = space.f_bavail * space.f_frsize
            if free < need:
                raise OpsError(
                    f"{os.path.dirname(area.path)} has {free // 1024**2} MiB free, and restoring {backup.name} takes "
                    f"{need // 1024**2} MiB beside what is there: make room, for example with the playbook "
                    "prune_backups",
                    kind="space",
                )

        def sink(name, reader, record):
            top, _slash, relative = name.partition("/")
            if name == MNESIA:
                if with_tables and (not members or "data" in members):
                    area.write(area.path, MNESIA, reader, 0o600)
            elif top in roots:
                area.write(roots[top], relative, reader, record.get("mode", 0o640))

        self.progress.phase(f"verifying and unpacking {backup.name}")
        return read_archive(
            backup.path,
            beside=backup.beside,
            identity=identity,
            sink=sink,
            on_header=on_header,
            tick=self.progress.tick,
        )

    def _build(self, mnesia, tables, name, node_map, alone):
        counted = []
        if mnesia:
            directory = os.path.join(self.area.new, mnesia["dir"])
            self.progress.phase("building the tables")
            # The map is of the whole cluster, whose nodes may have a schema each.
            names = {old: new for old, new in node_map.items() if old in mnesia["db_nodes"]}
            with self.progress.watch(directory):
                counted += self.offline.build(
                    self.area.tables, directory, name, names, master=alone, timeout=LONGEST_SECONDS
                )
        dets = [table["file"] for table in tables if table["kind"] == "dets"]
        counted += count_rows(self.offline, None, {place: os.path.join(self.area.new, place) for place in dets})
        wrong = differences(counted, tables)
        if wrong:
            raise OpsError(
                f"the archive's tables do not hold what its manifest counted: {'; '.join(wrong)}. Take another archive",
                kind="archive",
                tables=wrong,
            )
