# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One backup of one node: spool what the node itself must write, stream everything into an archive, publish it."""

from __future__ import annotations

import contextlib
import datetime
import os
import pwd
import secrets
import shutil
import time
from concurrent.futures import ThreadPoolExecutor, wait

from .._core import trees
from .._core.errors import OpsError
from .._node.observe import CONFIG_FILES, Observer
from .._node.settling import Settling
from .._node.start_again import refuse_stop
from . import tables
from .archive import Source, write_archive
from .collect import (
    OWN,
    mnesia_directory,
    open_for_writing,
    recent_logs,
    refuse_unaccounted,
    regular_files,
    size_below,
)
from .lock import Lock
from .manifest import FORMAT, archive_name, parse_name
from .manners import in_background
from .metrics import write_metrics
from .progress import Progress
from .readiness import look_until_ready, not_ready
from .signature import check_key, sign
from .staging import LONGEST_SECONDS, RESERVE_BYTES, count_rows
from .store import Store
from .versions import versions

_MIB = 1024**2
_SUFFIX = {"zstd": "zst", "gzip": "gz"}
SPOOL = f"{OWN}backup-"
_LAST_STEPS = ("count the rows", "write the archive")
_HOT = ("let the node write its tables", *_LAST_STEPS)


def plan(method, running, seen):
    """Name the steps of a backup.

    :param method: ``hot``, ``cold`` or ``stop``.
    :param running: whether the unit runs.
    :param seen: what :func:`tables.look` says of a running node.
    :raises OpsError: when the method does not fit the node; the message names the one that does.
    """
    if method == "hot":
        if not running:
            raise OpsError(
                "the node does not run, so it cannot write its tables: start it, or set erlmcp_backup_method: cold",
                kind="method",
            )
        mnesia = [f"{len(seen['mnesia']['tables'])} Mnesia tables"] if seen["mnesia"] else []
        dets = [f"{len(seen['dets'])} DETS tables"] if seen["dets"] else []
        written = " and ".join(mnesia + dets)
        steps = [f"let the node write its {written}" if written else "copy the files of a node without tables"]
    elif running and method == "cold":
        raise OpsError(
            "the node runs, and a copy of open files is no backup: set erlmcp_backup_method: hot, or stop, which stops "
            "the node for the copy",
            kind="method",
        )
    elif running:
        steps = ["stop the node", "copy the data directory", "start the node"]
    else:
        steps = ["copy the data directory"]
    return [*steps, *_LAST_STEPS]


def backup(module, runner):
    """The module ``backup``."""
    options = module.params
    if "data" not in options["members"]:
        raise OpsError("members: a backup without data is none; leave config, tls or logs out instead", kind="input")
    job = Backup(options, runner)
    job.look()
    steps = job.steps()
    result = {"changed": True, "steps": steps, "method": options["method"], "diff": _diff(options, steps)}
    if module.check_mode:
        Lock.wait_until_free(options["run_dir"], options["service"])
        return result
    with Lock(options["run_dir"], options["service"], "backup"), in_background():
        if job.left_stopped:
            job.start_again()
        return {**result, **job.run()}


class Backup:
    """Carries out one backup.

    :param options: of the module.
    :param runner: a :class:`Runner`.
    """

    def __init__(self, options, runner):
        self.options = options
        self.runner = runner
        self.observer = Observer(options["node"], options["health"], runner)
        self.data_dir = os.path.realpath(options["data_dir"])
        self.offline = tables.Offline(options["node"], runner, self.data_dir)
        self.store = Store(options["store_dir"])
        self.progress = Progress("erlmcp-backup", options["run_dir"], options["service"])
        self.note = os.path.join(options["run_dir"], f"{options['service']}.stopped-by-backup")
        self.left_stopped = False
        self.downtime = 0.0
        self.warnings = []

    def look(self):
        """See what there is; changes nothing."""
        if not os.path.isdir(self.data_dir):
            raise OpsError(f"{self.data_dir} is not there: run the playbook site first", kind="data")
        trees.check_place(self.data_dir, pwd.getpwnam(self.options["node"]["user"]))
        if self.options["signing_key_file"]:
            check_key(self.options["signing_key_file"], self.options["signers"], self.runner)
        self.state = self.observer.observe()
        self.running = self.state["running"]
        # With the methods that copy, the node is started after the copy.
        stopped = not self.running and os.path.exists(self.note)
        self.left_stopped = stopped and self.options["method"] == "hot"
        self.seen = {"mnesia": None, "dets": []}
        if self.running and self.options["method"] == "hot":
            self._wait_for_tables()
            self._refuse_open_files()

    def steps(self):
        """What is done, in this order.

        :raises OpsError: when the method does not fit the node.
        """
        if self.left_stopped:
            return ["start the node, which a backup that was killed had stopped", *_HOT]
        return plan(self.options["method"], self.running, self.seen)

    def start_again(self):
        """Start the node, unless the backup that stopped it was still at work and has done so; look again."""
        if not self.observer.unit.state().running and os.path.exists(self.note):
            self.progress.phase("starting the node, which a backup that was killed had stopped")
            self._start()
        self.look()
        self.steps()

    def _wait_for_tables(self):
        """Look at the tables, as soon as a node that has just started has them."""
        seconds = self.options["start_timeout_seconds"]
        node = self.observer.node

        def missing(seen):
            if not self.state["figures"] or self._application_missing():
                self.state = self.observer.observe()
            schema_file = None if seen["mnesia"] else self._schema_file()
            return not_ready(seen, node.name, self._application_missing(), schema_file)

        self.seen, problems = look_until_ready(lambda: tables.look(node), missing, seconds)
        if problems:
            raise OpsError(
                f"{node.name} cannot be backed up while it runs: {'; '.join(problems)} (after {seconds} s). Read in "
                f"journalctl -u {self.observer.unit.name} what it waits for, and repair that; or set "
                "erlmcp_backup_method: stop, which stops the node for the copy",
                kind="tables",
                problems=problems,
            )

    def _application_missing(self):
        application = self.options["health"]["application"]
        return None if application in ("", *self.state["figures"].get("applications", {})) else application

    def _schema_file(self):
        directory = mnesia_directory(self.data_dir)
        return None if directory is None else os.path.join(self.data_dir, directory, "schema.DAT")

    def _refuse_open_files(self):
        """Refuse what nobody vouches for: a file that the node itself is writing, Mnesia's and DETS tables aside."""
        mnesia = self.seen["mnesia"]
        if mnesia and self._relative(mnesia["directory"]) is None:
            raise OpsError(
                f"Mnesia's directory {mnesia['directory']} is not below {self.data_dir}: set erlmcp_data_dir, or the "
                "parameter dir of application mnesia, so that a restore can replace both together",
                kind="data",
            )
        open_files = open_for_writing(self.state["pid"], self.data_dir)
        refuse_unaccounted(open_files, self._accounted(), self.options["exclude"])

    def _accounted(self):
        """Relative paths that the node writes for us, when it runs."""
        places = [each["file"] for each in self.seen["dets"]]
        if self.seen["mnesia"]:
            places.append(self.seen["mnesia"]["directory"])
        return [relative for place in places if (relative := self._relative(place)) is not None]

    def run(self):
        """Make the archive and return its facts; the caller holds the lock."""
        options = self.options
        self.store.prepare()
        self.store.clear_leftovers()
        self._clear_spools()
        if self.running:
            # Who started it has done what the note is for.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.note)
        compression = self._compression()
        started, name = self._free_name(_SUFFIX[compression])
        part = self.store.part_path(name)
        with Spool(self.data_dir, options["node"]["user"]) as spool:
            content = self._hot(spool) if options["method"] == "hot" else self._still(spool)
            sources = [*content["sources"], *self._others()]
            with ThreadPoolExecutor(max_workers=1) as counting:
                # Beside the archive, which the rows are not needed for until its end.
                counted = counting.submit(count_rows, self.offline, content["mnesia_backup"], content["dets"])
                self.progress.phase("writing the archive")
                written = write_archive(
                    part,
                    sources,
                    {"format": FORMAT, "id": parse_name(name).id, "node": options["node"]["name"]},
                    lambda files: self._finish(name, started, content, counted, files),
                    compression=compression,
                    level=options["compression_level"],
                    recipients=options["recipients"],
                    tick=self.progress.tick,
                )
        self.store.publish(name, self._beside(_facts(name, written), written.manifest))
        seconds = (_now() - started).total_seconds()
        self.progress.say(f"{name}: {written.size} bytes in {seconds:.1f} s")
        warning = write_metrics(
            options["metrics_dir"],
            {
                "erlmcp_backup_last_success_timestamp_seconds": time.time(),
                "erlmcp_backup_size_bytes": written.size,
                "erlmcp_backup_duration_seconds": seconds,
            },
        )
        self.warnings += [warning] if warning else []
        return {
            "archive": os.path.join(options["store_dir"], name),
            "size": written.size,
            "sha256": written.sha256,
            "seconds": round(seconds, 1),
            "downtime_seconds": round(self.downtime, 1),
            "tables": written.manifest["tables"],
            "warnings": self.warnings,
        }

    def _beside(self, facts, manifest):
        """Return what the file beside the archive holds."""
        beside = {"archive": facts, "manifest": manifest}
        if self.options["signing_key_file"]:
            beside["signature"] = sign(facts, self.options["signing_key_file"], self.runner)
        return beside

    def _finish(self, name, started, content, counted, files):
        """Return the manifest, after all files have been read."""
        if self.options["method"] == "hot":
            # What was opened meanwhile may have been read when it was half written.
            self._refuse_open_files()
        return self._manifest(name, started, content, self._result(counted), files)

    def _result(self, counted):
        """Wait for the rows, and say so meanwhile."""
        while counted not in wait([counted], self.progress.interval).done:
            self.progress.say("counting the rows")
        return counted.result()

    def _free_name(self, suffix):
        """Return (time, name); names have seconds, so the second backup within one waits for the next."""
        while True:
            now = _now()
            name = archive_name(self.options["host"], now, suffix, bool(self.options["recipients"]))
            if not os.path.lexists(os.path.join(self.store.root, name)):
                return now, name
            time.sleep(0.1)

    def _clear_spools(self):
        """Remove what killed backups left in the data directory."""
        for name in os.listdir(self.data_dir):
            if name.startswith(SPOOL):
                trees.remove(os.path.join(self.data_dir, name))

    def _compression(self):
        wanted = self.options["compression"]
        if wanted != "auto":
            return wanted
        return "zstd" if shutil.which("zstd") else "gzip"

    def _hot(self, spool):
        """Let the node write its tables; everything else below the data directory is read as it is."""
        mnesia = self.seen["mnesia"]
        dets = {}
        for number, each in enumerate(self.seen["dets"]):
            relative = self._relative(each["file"])
            if relative is None:
                self.warnings.append(f"DETS table {each['name']} lies in {each['file']}, outside of {self.data_dir}")
            else:
                dets[relative] = os.path.join(spool.tables, "dets", str(number))
        mnesia_dir = self._relative(mnesia["directory"]) if mnesia else None
        accounted = self._accounted()
        self._check_space(size_below(self.data_dir, accounted))
        if accounted:
            self.progress.phase("the node writes its tables")
            with self.progress.watch(spool.tables):
                tables.export_hot(self.observer.node, spool.tables, self.seen, LONGEST_SECONDS)
        sources = [Source(f"data/{relative}", path=path, root=self.data_dir) for relative, path in dets.items()]
        if mnesia:
            sources.append(Source("mnesia.backup", path=spool.mnesia_backup, root=self.data_dir))
        return {
            "sources": sources + self._files(self.data_dir, accounted),
            "mnesia_backup": spool.mnesia_backup if mnesia else None,
            "db_nodes": mnesia["db_nodes"] if mnesia else [],
            "mnesia_dir": mnesia_dir,
            "dets": dets,
        }

    def _still(self, spool):
        """Read the data directory while no node runs; turn a copy of Mnesia's files into a backup of tables.

        A node that is to run again does not wait for the archive: everything is copied, and read from the copy.
        """
        waits = self.running or os.path.exists(self.note)
        mnesia_dir = mnesia_directory(self.data_dir)
        wanted = os.listdir(self.data_dir) if waits else [mnesia_dir.split(os.sep)[0]] if mnesia_dir else []
        wanted = [name for name in wanted if not name.startswith(OWN)]
        # The tables are there twice: as files, and as the backup that is made of them.
        self._check_space(size_below(self.data_dir, wanted) * (2 if mnesia_dir else 1))
        if self.state["health"]["healthy"]:
            refuse_stop(
                self.observer,
                "To back up meanwhile without a stop, set erlmcp_backup_method: hot (on the host --method hot)",
            )
        with self._stopped() if waits else contextlib.nullcontext():
            self._copy(wanted, spool)
        root = spool.copy if waits else self.data_dir
        backup_file = None
        if mnesia_dir is not None:
            backup_file = spool.mnesia_backup
            self.progress.phase("reading the tables")
            self.offline.export(
                os.path.join(spool.copy, mnesia_dir),
                backup_file,
                self.options["node"]["name"],
                LONGEST_SECONDS,
            )
        sources = [] if backup_file is None else [Source("mnesia.backup", path=backup_file, root=self.data_dir)]
        files = self._files(root, [] if mnesia_dir is None else [mnesia_dir])
        return {
            "sources": sources + files,
            "mnesia_backup": backup_file,
            "db_nodes": self.offline.schema(backup_file)["db_nodes"] if backup_file else [],
            "mnesia_dir": mnesia_dir,
            "dets": {source.name[len("data/") :]: source.path for source in files if tables.is_dets(source.path)},
        }

    @contextlib.contextmanager
    def _stopped(self):
        """The node does not run inside. A note outlives us: who is killed here leaves the start to the next backup."""
        with open(self.note, "w", encoding="utf-8"):
            pass
        since = time.monotonic()
        self.observer.unit.stop(self.options["stop_timeout_seconds"])
        try:
            yield
        finally:
            served = self._start()
        self.downtime = (served or time.monotonic()) - since

    def _start(self):
        """Start what a backup has stopped, wait until it is healthy, and return since when it was."""
        self.observer.unit.start(self.options["start_timeout_seconds"])
        settling = Settling(self.options["health"]["settle_seconds"])
        state = self.observer.observe_until(
            lambda state: settling.look(state, state["health"]["healthy"]),
            self.options["start_timeout_seconds"] + settling.seconds,
        )
        os.unlink(self.note)
        if not state["health"]["healthy"]:
            raise OpsError(
                f"{state['name']} was stopped for the copy and is not healthy since: {state['health']['detail']}",
                kind="health",
            )
        return settling.since

    def _check_space(self, needed):
        """Refuse to fill the disk that the node lives on."""
        space = os.statvfs(self.data_dir)
        free = space.f_bavail * space.f_frsize
        if free < needed + RESERVE_BYTES:
            raise OpsError(
                f"{self.data_dir} has {free // _MIB} MiB free, and the copy that is archived takes {needed // _MIB} "
                f"MiB, besides {RESERVE_BYTES // _MIB} MiB for the node: make room, for example with the playbook "
                "prune_backups",
                kind="space",
            )

    def _copy(self, names, spool):
        if names:
            self.progress.phase("copying the data directory")
        try:
            with self.progress.watch(spool.copy):
                self._warn_of(spool.fill_copy(names))
        except OSError as error:
            raise OpsError(f"copying {self.data_dir} failed: {error.strerror}", kind="io") from error

    def _warn_of(self, skipped):
        self.warnings += [f"{name} is neither a file nor a directory, and not in the archive" for name in skipped]

    def _files(self, root, without):
        found, skipped = regular_files(root, self.options["exclude"], without)
        self._warn_of(skipped)
        return [Source(f"data/{name}", path=os.path.join(root, name), root=self.data_dir) for name in found]

    def _others(self):
        options = self.options
        sources = []
        if "config" in options["members"]:
            for name in CONFIG_FILES:
                path = os.path.join(options["node"]["config_dir"], name)
                if os.path.exists(path):
                    # The name in /etc/erlmcp is a link into the set.
                    sources.append(Source(f"config/{name}", path=os.path.realpath(path)))
        if "tls" in options["members"]:
            for path in options["tls_paths"]:
                sources += self._tls(path)
        if "logs" in options["members"]:
            for name in recent_logs(options["log_dir"], options["log_days"], time.time()):
                path = os.path.join(options["log_dir"], name)
                sources.append(Source(f"logs/{name}", path=path, may_grow=True, root=options["log_dir"]))
        return sources

    @staticmethod
    def _tls(path):
        if os.path.isdir(path):
            found, _skipped = regular_files(path)
            return [Source(f"tls{path}/{name}", path=os.path.join(path, name)) for name in found]
        if not os.path.isfile(path):
            raise OpsError(f"tls_paths: {path} is neither a file nor a directory", kind="input")
        return [Source(f"tls{path}", path=os.path.realpath(path))]

    def _manifest(self, name, started, content, counted, files):
        mnesia = None
        if content["mnesia_backup"]:
            mnesia = {"dir": content["mnesia_dir"], "db_nodes": content["db_nodes"]}
        return {
            "format": FORMAT,
            "id": parse_name(name).id,
            "host": self.options["host"],
            "service": self.options["service"],
            "node": {key: self.options["node"][key] for key in ("name", "name_type")},
            "versions": versions(self.options["node"], self.state),
            "method": self.options["method"],
            "members": self.options["members"],
            "started": _iso(started),
            "finished": _iso(_now()),
            "mnesia": mnesia,
            "tables": counted,
            "files": files,
        }

    def _relative(self, path):
        path = os.path.realpath(path)
        return os.path.relpath(path, self.data_dir) if path.startswith(f"{self.data_dir}{os.sep}") else None


class Spool:
    """A directory of root's in the data directory, where alone the node may write, for the time of one backup.

    ``tables``: a directory of the account, for what its Erlang writes. ``copy``: what was copied of the data directory,
    given to the account as a whole. The account can move the spool, since the data directory is its own; so it is
    filled by descriptor, and what is read of it by path is read as files of the account.
    """

    def __init__(self, data_dir, user):
        self._data_dir = data_dir
        self._account = pwd.getpwnam(user)
        self._name = f"{SPOOL}{_now():%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
        self._held = contextlib.ExitStack()
        self._descriptor = None
        self.path = os.path.join(data_dir, self._name)
        self.tables = os.path.join(self.path, "tables")
        self.copy = os.path.join(self.path, "copy")
        self.mnesia_backup = os.path.join(self.tables, "mnesia.backup")

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            data = stack.enter_context(trees.opened(self._data_dir))
            self._descriptor = stack.enter_context(trees.made(data, self._name, 0o711))
            stack.callback(self._remove)
            with trees.made(self._descriptor, "tables", 0o700) as tables_directory:
                trees.give_itself(tables_directory, self._account.pw_uid, self._account.pw_gid, 0o700)
            self._held = stack.pop_all()
        return self

    def __exit__(self, *_error):
        self._held.close()

    def _remove(self):
        trees.remove(self.path)
        if not trees.is_removed(self._descriptor):
            raise trees.tampered(self.path, "was moved away")

    def fill_copy(self, names):
        """Copy ``names`` of the data directory; return what was left out because an archive does not hold it."""
        uid, gid = self._account.pw_uid, self._account.pw_gid
        with trees.made(self._descriptor, "copy", 0o700) as copy:
            left_out = trees.copy(self._data_dir, names, copy)
            trees.give(copy, uid, gid, 0o700)
            trees.give_itself(copy, uid, gid, 0o700)
        return left_out


def _facts(name, written):
    return {"name": name, "size": written.size, "sha256": written.sha256}


def _now():
    return datetime.datetime.now(datetime.timezone.utc)


def _iso(moment):
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _diff(options, steps):
    lines = "".join(f"- {step}\n" for step in steps)
    return {"before": "", "after": f"backup of {options['node']['name']} in {options['store_dir']}\n{lines}"}
