# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An archive becomes a data directory that a node can start with, beside the one it has."""

from __future__ import annotations

import os
import pwd

from .._core import trees
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
MNESIA_DIRECTORY = "mnesia"


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

    ``new``: the future data directory. ``config``: files of the config set. ``build``: where the service account's
    Erlang writes. The area itself stays root's, so nobody can exchange one of them for something else.

    :param path: of the area; its parent must be on the file system of the data directory.
    """

    def __init__(self, path, account):
        self.path = path
        self.account = pwd.getpwnam(account)
        self.new = os.path.join(path, "new")
        self.config = os.path.join(path, "config")
        self.build = os.path.join(path, "build")
        self.tables = os.path.join(path, MNESIA)

    def make(self):
        trees.check_place(self.path, self.account)
        for directory, mode in ((self.path, 0o711), (self.config, 0o700), (self.new, 0o700), (self.build, 0o700)):
            os.mkdir(directory)
            os.chmod(directory, mode)
        os.chown(self.build, self.account.pw_uid, self.account.pw_gid)

    def give_tables(self):
        """Let the account read the backup of the tables, which lies in a directory of root's."""
        os.chown(self.tables, self.account.pw_uid, self.account.pw_gid, follow_symlinks=False)

    def hand_over(self, built_directory=None):
        """Give the service account what is to be its data, all but the top; until then nobody but root can touch it.

        :param built_directory: relative path that what the account has built gets. It comes in last: the account may
            still have it open, so nothing is done in it.
        """
        if built_directory is not None:
            target = os.path.join(self.new, built_directory)
            os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
        trees.give(self.new, self.account.pw_uid, self.account.pw_gid, 0o750)
        if built_directory is not None:
            # A link is moved as a link, and leads the account's node only.
            os.rename(os.path.join(self.build, MNESIA_DIRECTORY), target)
        trees.give_itself(self.new, -1, -1, 0o711)

    def close(self):
        """Give the account the top, and remove what the data was built of."""
        trees.give_itself(self.new, self.account.pw_uid, self.account.pw_gid, 0o750)
        for path in (self.build, self.tables):
            trees.remove(path)

    def write(self, root, relative, reader, mode):
        path = os.path.join(root, relative)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with open(path, "xb") as stream:
            while chunk := reader.read(_CHUNK):
                stream.write(chunk)
        os.chmod(path, mode & 0o770)


class Staging:
    """Unpacks, verifies and builds in one pass over the archive; nothing that serves is touched.

    :param spec: the ``node`` option of a module.
    :param runner: a :class:`Runner`.
    :param area: an :class:`Area` that does not exist yet.
    :param progress: a :class:`Progress`.
    """

    def __init__(self, spec, runner, area, progress):
        self.spec = spec
        self.offline = Offline(spec, runner, area.path)
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
            counted, built = [], None
            if "data" in members and mnesia:
                name = manifest["node"]["name"] if alone else self.spec["name"]
                counted, built = self._build(mnesia, name, node_map, alone), mnesia["dir"]
            self.area.hand_over(built)
            if "data" in members:
                self._compare(counted, tables)
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
        trees.remove(self.area.path)

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

    def _build(self, mnesia, name, node_map, alone):
        directory = os.path.join(self.area.build, MNESIA_DIRECTORY)
        self.progress.phase("building the tables")
        # The map is of the whole cluster, whose nodes may have a schema each.
        names = {old: new for old, new in node_map.items() if old in mnesia["db_nodes"]}
        self.area.give_tables()
        with self.progress.watch(directory):
            return self.offline.build(
                self.area.tables,
                directory,
                name,
                names,
                master=alone,
                timeout=LONGEST_SECONDS,
                db_nodes=mnesia["db_nodes"],
            )

    def _compare(self, counted, tables):
        dets = [table["file"] for table in tables if table["kind"] == "dets"]
        closed = count_rows(self.offline, None, {place: os.path.join(self.area.new, place) for place in dets})
        wrong = differences([*counted, *closed], tables)
        if wrong:
            raise OpsError(
                f"the archive's tables do not hold what its manifest counted: {'; '.join(wrong)}. Take another archive",
                kind="archive",
                tables=wrong,
            )
