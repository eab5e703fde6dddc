# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Proof that an archive can be restored, without touching the node: every byte, and every row of every table.

An encrypted archive without its key is proven to be the bytes that were written, no more: level ``sealed``.
"""

from __future__ import annotations

import datetime
import glob
import hashlib
import os
import time

from .._core import trees
from .._core.errors import OpsError
from .archive import read_archive
from .lock import Lock
from .metrics import write_metrics
from .progress import Progress
from .signature import check_signature
from .staging import Area, Staging
from .store import Store

_CHUNK = 1024**2


def backup_verify(module, runner):
    """The module ``backup_verify``; raises when one of the archives is not good, after all were looked at."""
    options = module.params
    store = Store(options["store_dir"])
    backups = store.backups() if options["all"] else [store.find(options["archive"], options["host"])]
    if options["host"]:
        backups = [backup for backup in backups if backup.host == options["host"]]
    verify = Verify(options, runner, store)
    if module.check_mode:
        Lock.wait_until_free(options["run_dir"], options["service"])
        results = [verify.one(backup, mark=False) for backup in backups]
    else:
        with Lock(options["run_dir"], options["service"], "verify"):
            verify.clear_leftovers()
            results = [verify.one(backup, mark=True) for backup in backups]
    bad = [result for result in results if result["problem"]]
    if bad:
        raise OpsError(
            "\n".join(f"{result['archive']} is not good: {result['problem']}" for result in bad),
            kind="archive",
            results=results,
        )
    warning = None
    if not module.check_mode:
        warning = write_metrics(
            options["metrics_dir"], {"erlmcp_backup_verify_last_success_timestamp_seconds": time.time()}
        )
    return {
        "changed": any(result["marked"] for result in results),
        "results": results,
        "warnings": [warning] if warning else [],
    }


class Verify:
    """Verifies the archives of a store.

    :param options: of the module.
    :param runner: a :class:`Runner`.
    :param store: a :class:`Store`.
    """

    def __init__(self, options, runner, store):
        self.options = options
        self.runner = runner
        self.store = store
        parent, name = os.path.split(os.path.realpath(options["data_dir"]))
        self.scratch = os.path.join(parent, f".{name}.verify")
        self.progress = Progress("erlmcp-backup", options["run_dir"], options["service"])

    def clear_leftovers(self):
        """Remove what a killed run left."""
        for path in glob.glob(f"{glob.escape(self.scratch)}-*"):
            trees.remove(path)

    def one(self, backup, mark):
        """Verify one archive and return what was found; a bad one loses its mark.

        :param mark: whether to note the outcome beside the archive.
        """
        started = time.monotonic()
        try:
            level, tables = self._prove(backup)
        except OpsError as error:
            marked = mark and self.store.unmark(backup.path, "verified")
            return self._result(backup, None, [], str(error), marked, started)
        # What was read agrees with the file beside it; without one the digest has to be made.
        digest = backup.beside["archive"]["sha256"] if backup.beside else _sha256(backup)
        data = {"level": level, "sha256": digest, "time": _now()}
        known = backup.verified or {}
        marked = (known.get("level"), known.get("sha256")) != (data["level"], data["sha256"])
        if mark:
            self.store.mark(backup.path, "verified", data)
        return self._result(backup, level, tables, None, marked, started)

    @staticmethod
    def _result(backup, level, tables, problem, marked, started):
        return {
            "archive": backup.path,
            "level": level,
            "tables": tables,
            "problem": problem,
            "marked": bool(marked),
            "seconds": round(time.monotonic() - started, 1),
        }

    def _prove(self, backup):
        if backup.problem and os.path.lexists(f"{backup.path}.json"):
            raise OpsError(backup.problem, kind="archive")
        check_signature(backup, self.options["signers"], self.runner)
        if backup.encrypted and not self.options["identity"]:
            return "sealed", self._check_seal(backup)
        if self.options["level"] == "bytes":
            self.progress.phase(f"verifying {backup.name}")
            manifest = read_archive(
                backup.path, beside=backup.beside, identity=self.options["identity"], tick=self.progress.tick
            )
            return "bytes", manifest["tables"]
        area = Area(f"{self.scratch}-{os.getpid()}", self.options["node"]["user"])
        staging = Staging(self.options["node"], self.runner, area, self.progress)
        try:
            manifest = staging.fill(
                backup, lambda manifest: None, members=["data"], identity=self.options["identity"], alone=True
            )
        finally:
            staging.remove()
        return "tables", manifest["tables"]

    def _check_seal(self, backup):
        if not backup.beside:
            raise OpsError(
                "it is encrypted and has no file beside it: without the identity nothing can be said of it",
                kind="archive",
            )
        self.progress.phase(f"verifying {backup.name}")
        wanted = backup.beside["archive"]["sha256"]
        digest = _sha256(backup, self.progress.tick)
        if digest != wanted:
            raise OpsError(f"it hashes to {digest}, and to {wanted} when it was written", kind="archive")
        return backup.beside["manifest"]["tables"]


def _sha256(backup, tick=lambda done, total: None):
    digest = hashlib.sha256()
    with open(backup.path, "rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
            tick(stream.tell(), backup.size)
    return digest.hexdigest()


def _now():
    return f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%dT%H:%M:%SZ}"
