# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What archives and safety copies there are, for people and for the plan of a restore."""

from __future__ import annotations

import os

from .safety import SafetyCopies
from .store import Store
from .under_way import summary

_TIME = "%Y%m%dT%H%M%SZ"
# Of an archive whose file beside it is missing or damaged.
_UNKNOWN = {
    "sha256": None,
    "node": None,
    "release": None,
    "otp": None,
    "method": None,
    "members": [],
    "db_nodes": [],
    "tables": [],
}


def backup_info(module, runner):
    """The module ``backup_info``."""
    store = Store(module.params["store_dir"])
    host = module.params["host"]
    copies = SafetyCopies(module.params["data_dir"])
    return {
        "changed": False,
        "backups": [describe(backup) for backup in store.backups() if host in (None, backup.host)],
        "foreign": store.foreign(),
        "free_bytes": store.free_bytes(),
        "safety_copies": [describe_copy(copy, copies.note(os.path.basename(copy.path))) for copy in copies.found()],
        "restore": summary(module.params["data_dir"]),
    }


def describe(backup):
    """Return a :class:`Backup` as a dict that JSON can hold, with the telling parts of its manifest."""
    # Not kept with the backup: many large manifests do not fit into memory together.
    beside = backup.read_beside()
    return {
        "name": backup.name,
        "path": backup.path,
        "host": backup.host,
        "time": backup.time.strftime(_TIME),
        "size": backup.size,
        "encrypted": backup.encrypted,
        "verified": backup.verified,
        "copied": backup.copied,
        "drilled": backup.drilled,
        "problem": backup.problem,
        **(_known(beside) if beside else _UNKNOWN),
    }


def _known(beside):
    manifest = beside["manifest"]
    return {
        "sha256": beside["archive"]["sha256"],
        "node": manifest["node"]["name"],
        "release": manifest["versions"]["release"],
        "otp": manifest["versions"]["otp"],
        "method": manifest["method"],
        "members": manifest["members"],
        "db_nodes": manifest["mnesia"]["db_nodes"] if manifest["mnesia"] else [],
        "tables": manifest["tables"],
    }


def describe_copy(copy, note):
    """Return a :class:`SafetyCopy` as a dict that JSON can hold, with what was noted of it."""
    return {
        "path": copy.path,
        "kind": copy.kind,
        "time": copy.time.strftime(_TIME),
        "size": copy.size,
        "replaced_by": note.get("replaced_by"),
        "run": note.get("run"),
        "together": note.get("together", []),
    }
