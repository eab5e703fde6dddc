# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes small archives as a backup does."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

from ansible_collections.erlmcp.ops.plugins.module_utils._backup.archive import Source, write_archive
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.manifest import FORMAT, archive_name

HOST = "n1.example.org"
NODE = f"erlmcp@{HOST}"
TIME = datetime.datetime(2026, 1, 31, 2, tzinfo=datetime.timezone.utc)
ID = f"erlmcp-{HOST}-20260131T020000Z"
FILES = {
    "data/audit.dets": b"dets" * 300,
    "data/empty": b"",
    "data/" + "long/" * 30 + "name": b"behind a long name",
    "data/\udcff\udcfe": b"a name that is not UTF-8",
    "mnesia.backup": bytes(range(256)) * 5000,
    "config/sys.config": b"[].\n",
    "tls/etc/erlmcp/key.pem": b"key",
    "logs/erlang.log.1": b"line\n",
}


TABLES = {
    "mnesia.backup": {
        "kind": "mnesia",
        "name": "item",
        "rows": 3,
        "type": "set",
        "storage": "disc_copies",
        "nodes": [NODE],
    },
    "data/audit.dets": {"kind": "dets", "name": "audit", "rows": 4, "type": "set", "file": "audit.dets"},
}


def manifest(files, **changes):
    names = {record["name"] for record in files}
    return {
        "format": FORMAT,
        "id": ID,
        "host": HOST,
        "service": "erlmcp",
        "node": {"name": NODE, "name_type": "long"},
        "versions": {"release": "1.0.0", "otp": "27", "erts": "15.0", "applications": {"mnesia": "4.23"}},
        "method": "hot",
        "members": ["config", "data", "logs", "tls"],
        "started": "2026-01-31T02:00:00Z",
        "finished": "2026-01-31T02:00:05Z",
        "mnesia": {"dir": "mnesia", "db_nodes": [NODE]} if "mnesia.backup" in names else None,
        "tables": [table for name, table in TABLES.items() if name in names],
        "files": files,
        **changes,
    }


def sources(directory, files=None, **options):
    """Put files into ``directory`` and return their :class:`Source` objects."""
    found = []
    for number, (name, content) in enumerate((FILES if files is None else files).items()):
        path = Path(directory) / f"source{number}"
        path.write_bytes(content)
        path.chmod(0o640)
        found.append(Source(name, str(path), **options))
    return found


def write(directory, members, compression="zstd", recipients=(), finish=manifest, **options):
    """Write an archive and the file beside it; return (path, what is beside it)."""
    name = archive_name(HOST, TIME, {"zstd": "zst", "gzip": "gz"}[compression], bool(recipients))
    path = Path(directory) / name
    header = {"format": FORMAT, "id": ID, "node": NODE}
    written = write_archive(
        str(path), members, header, finish, compression=compression, recipients=recipients, **options
    )
    facts = {"name": name, "size": written.size, "sha256": written.sha256}
    beside = {"archive": facts, "manifest": written.manifest}
    Path(f"{path}.json").write_text(json.dumps(beside))
    return path, beside
