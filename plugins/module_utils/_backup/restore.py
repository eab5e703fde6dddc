# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An archive back into service: everything that can fail is done beside the node, which is then down for a restart.

Work is done in ``.<name>.restore`` beside the data directory. ``state.json`` in it says what was staged, ``swap.json``
which directories change places, so a run that was killed is finished by the next one.

Nodes that are restored together go each step together: a node that started with its new tables while another one had
its old ones would find a schema that is not its own. What decides for all of them is noted on each before one acts on
it: ``kept`` before a node forgets its way back, ``withdrawn`` before one goes it. So what a killed run has left says
to which of the two ends all of them have to come (:func:`.under_way.plan_leftovers`).

An undo goes the same steps with what the last restore, or the last undo, has moved aside in place of an archive.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import time

from .._core import trees
from .._core.errors import OpsError, system_error
from .._core.files import sync_directory, write_atomically
from .._node.observe import Observer
from .._node.settling import Settling
from .._node.start_again import refuse_stop
from .archive import read_archive
from .fit import check_fit
from .lock import Lock
from .metrics import write_metrics
from .progress import Progress
from .readiness import prove
from .restored_config import RestoredConfig
from .safety import BEFORE, FAILED, REVERTED, SafetyCopies
from .signature import check_signature
from .staging import Area, Staging
from .store import LATEST, Store
from .swap import Swap, check_can_exchange
from .under_way import EXCHANGED, KEPT, PROVEN, STAGED, WITHDRAWN, read_state, the_playbook, work_directory
from .versions import versions


def restore(module, runner):
    """The module ``restore``."""
    options = module.params
    job = Restore(options, runner)
    end = {
        "kept": job.keep,
        "finished": job.finish,
        "withdrawn": job.withdraw,
        "resumed": job.resume,
    }.get(options["state"])
    if end is None:
        job.find()
    steps = job.steps()
    archive = job.backup.path if job.backup else None
    result = {"changed": bool(steps), "steps": steps, "archive": archive, "diff": _diff(job.node_name, steps)}
    if module.check_mode:
        Lock.wait_until_free(options["run_dir"], options["service"])
        if end is None:
            job.check_in_place()
        return result
    if not steps:
        return result
    with Lock(options["run_dir"], options["service"], "restore"):
        return {**result, **(end or job.run)()}


class Restore:
    """One restore of one node.

    :param options: of the module.
    :param runner: a :class:`Runner`.
    """

    def __init__(self, options, runner):
        self.options = options
        self.runner = runner
        self.node_name = options["node"]["name"]
        self.members = options["members"]
        self.backup = self.tables_from = None
        self.is_undo = options["state"] == "reverted" or options["undo"]
        # Name of the safety copy that an undo puts back.
        self.aside = None
        self.data_dir = os.path.realpath(options["data_dir"])
        self.work = work_directory(self.data_dir)
        self.area = os.path.join(self.work, "area")
        self.state_file = os.path.join(self.work, "state.json")
        self.swap = Swap(os.path.join(self.work, "swap.json"))
        self.store = Store(options["store_dir"])
        self.copies = SafetyCopies(self.data_dir)
        self.observer = Observer(options["node"], options["health"], runner)
        self.progress = Progress("erlmcp-restore", options["run_dir"], options["service"])

    # What is asked for

    def find(self):
        """Find the archives and refuse what can be refused without reading them."""
        if not os.path.isdir(self.data_dir):
            raise OpsError(f"{self.data_dir} is not there: run the playbook site first", kind="data")
        if self.options["together"] and self.options["state"] == "present":
            raise OpsError(
                "together: take the steps staged, exchanged, started, proven, kept and finished", kind="input"
            )
        if self.is_undo:
            self.members = ["data"]
            self.aside = self._find_aside()
            return
        if not self.members:
            raise OpsError(
                "members: nothing is to be restored; name config, data or both (erlmcp_backup_restore_members)",
                kind="input",
            )
        self.backup = self.store.find(self.options["archive"], self.options["host"])
        later = self.store.from_the_future(self.backup.host) if self.options["archive"] == LATEST else []
        if later:
            raise OpsError(
                f"{', '.join(later)} is from the future: a clock was wrong when it was made, or is wrong now, so the "
                "times do not say which archive is the latest. Name the one that is meant, for example "
                f"{self.backup.name}",
                kind="archive",
            )
        other = self.options["tables_archive"]
        self.tables_from = self.store.find(other) if other else None
        for backup in filter(None, (self.backup, self.tables_from)):
            # Without a file beside it an archive speaks for itself; with one that is wrong it does not.
            if backup.problem and os.path.lexists(f"{backup.path}.json"):
                raise OpsError(f"{backup.path} is not good: {backup.problem}. Take another archive", kind="archive")
            check_signature(backup, self.options["signers"], self.runner)

    def _find_aside(self):
        """Name of what was moved aside last; of an undo that has not ended, what that is putting back."""
        state, wanted = self._state(), self.options["archive"]
        found = [os.path.basename(copy.path) for copy in self.copies.ways_back()]
        if state and state.get("undo"):
            found.append(state["undo"])
        if wanted != LATEST:
            found = [name for name in found if name == wanted]
        if not found:
            raise OpsError(
                f"nothing that a restore has replaced stands beside {self.data_dir}, so there is none to be taken "
                "back: restore an archive of before instead (erlmcp-ops list shows them)",
                kind="data",
            )
        return found[-1]

    def check(self, manifest):
        check_fit(
            manifest,
            self.node_name,
            self.options["node_map"],
            self.members,
            versions(self.options["node"]),
            self.options["allow_newer"],
        )
        state = self._check_can_start()
        if "data" in self.members and manifest["mnesia"]:
            self._check_peers(manifest["mnesia"]["db_nodes"], state["members"])
            self._check_directory(manifest["mnesia"]["dir"])

    def _check_can_start(self):
        """Refuse to stop a node that serves and could not start again, with whatever data; return how it is."""
        state = self.observer.observe()
        if state["health"]["healthy"]:
            brought = {"data": "ERLMCP_NOT_WRITABLE", "config": "ERLMCP_CONFIG_BROKEN"}
            refuse_stop(
                self.observer,
                "Mend that first; a node that does not serve is restored all the same",
                [code for member, code in brought.items() if member in self.members],
            )
        return state

    def _check_directory(self, directory):
        """Refuse tables that the node would not find; a restored config brings the place of its own tables."""
        store = self.observer.store
        if "config" in self.members or store is None or store.directory is None:
            return
        own = os.path.relpath(os.path.realpath(store.directory), self.data_dir)
        if own != directory:
            raise OpsError(
                f"the archive has Mnesia's tables in {os.path.join(self.data_dir, directory)}, and {self.node_name} "
                f"keeps them in {store.directory}: it would start without them. Set the parameter dir of application "
                "mnesia (erlmcp_node_config) as it was, or restore the config too (erlmcp_backup_restore_members: "
                "[config, data], or on the host without --data-only)",
                kind="fit",
            )

    def _check_peers(self, db_nodes, members):
        """Refuse to restore tables whose other copies go on living: those would win when the node joins them."""
        names = {self.options["node_map"].get(name, name) for name in db_nodes}
        others = names - {self.node_name, *self.options["together"]}
        alive = sorted(others & set(members))
        if alive:
            raise OpsError(
                f"{self.node_name} shares its tables with {', '.join(alive)}, which runs and is not restored with it: "
                "one of them would not start any more. Restore all nodes together: run the playbook restore for the "
                "whole group, without --limit",
                kind="schema",
                nodes=alive,
            )

    def _check_undo(self):
        """Refuse to take back tables that other nodes have copies of, when those are not taken back with them."""
        noted = self.copies.note(self.aside)
        # A node that is down knows its members no more, and Mnesia refuses to start among others that moved on.
        members = self._check_can_start()["members"]
        sharing = set(self.observer.store.members if self.observer.store else ()) & set(members)
        others = sorted({*noted.get("together", ()), *sharing} - {self.node_name, *self.options["together"]})
        if others:
            raise OpsError(
                f"{self.node_name} shares its tables with {', '.join(others)}, where the restore is not taken back "
                "with it: one of them would not start any more. Take it back on all nodes together: run the playbook "
                "restore for the whole group, with erlmcp_backup_restore_undo: true",
                kind="schema",
                nodes=others,
            )

    def check_in_place(self):
        """What a real run would refuse, without writing anything: every byte of the archive is read."""
        if self.is_undo:
            self._check_undo()
            return
        if self.backup.beside:
            self.check(self.backup.beside["manifest"])
        for backup in filter(None, (self.backup, self.tables_from)):
            self.progress.phase(f"verifying {backup.name}")
            manifest = read_archive(
                backup.path, beside=backup.beside, identity=self.options["identity"], tick=self.progress.tick
            )
            if backup is self.backup:
                self.check(manifest)

    def steps(self):
        """What is done, in this order; nothing, when there is nothing to be taken back."""
        wanted = self.options["state"]
        start = ["start the node", "wait until healthy"]
        if wanted in ("kept", "finished", "withdrawn", "resumed"):
            return self._last_steps(wanted, start)
        what = " and ".join(self.members)
        if self.is_undo:
            stage = [f"see that {self.aside} can be put back"]
        else:
            stage = [f"verify {self.backup.name} and unpack its {what} beside {self.data_dir}"]
        if wanted == "staged":
            return stage
        swap = [f"exchange it with {self.data_dir}, which is kept"] if "data" in self.members else []
        config = ["switch to the restored config set"] if "config" in self.members else []
        steps = [*stage, "stop the node", *swap, *config]
        if wanted == "exchanged":
            return steps
        return [*steps, "start the node", *(["wait until healthy and all rows are there"] * (wanted != "started"))]

    def _last_steps(self, wanted, start):
        state = self._state()
        if state is None:
            return []
        if state["phase"] == STAGED:
            return ["remove what is staged"] if wanted == "withdrawn" else []
        return {
            "kept": ["keep what is in service"],
            "finished": ["end the restore"],
            "withdrawn": ["stop the node", f"put back what {self.data_dir} was"],
            "resumed": start,
        }[wanted]

    def key(self):
        """Tells one restore from another, so that a run that died is only continued by the same one."""
        if self.is_undo:
            return ["undo", self.aside, self.node_name]
        archives = [each and [each.name, _digest(each)] for each in (self.backup, self.tables_from)]
        return json.loads(json.dumps([archives, sorted(self.members), self.options["node_map"], self.node_name]))

    # Doing it

    def run(self):
        """Stage, exchange, start and prove, as far as is asked for and not done yet; the caller holds the lock."""
        self._check_nothing_else_is_under_way()
        self.recover()
        state = self._state()
        if state is None or state["key"] != self.key():
            self._clear()
            state = self._stage()
        if self.options["state"] == "staged":
            return {"tables": state["tables"]}
        try:
            self._exchange(state)
            if self.options["state"] == "started":
                self._start()
            if self.options["state"] in ("exchanged", "started"):
                return {"tables": state["tables"]}
            healthy = self._start_and_prove(state["tables"])
        except (OpsError, OSError) as raised:
            # A disk that fails here must not leave the node stopped.
            error = system_error(raised) if isinstance(raised, OSError) else raised
            # Who is restored with others must not start with old tables among new ones.
            raise self._failure(state, error) if self.options["together"] else self._go_back(state, error) from raised
        state["downtime_seconds"] = self._down_since(state["stopped_at"])
        self._note({**state, "phase": PROVEN})
        result = {"downtime_seconds": state["downtime_seconds"], "health": healthy["health"], "tables": state["tables"]}
        return result if self.options["state"] == "proven" else {**result, **self._finish(state)}

    def _check_nothing_else_is_under_way(self):
        """Refuse to go on alone from where a run on several nodes has ended, or past what it has decided."""
        state = self._state()
        if state is None or state["phase"] == STAGED:
            return
        if self.is_undo and not state.get("undo") and not state["together"]:
            raise OpsError(
                f"a restore of {state['archive']} has not ended (it is {state['phase']}): run the same restore again, "
                "which ends it, and take it back then",
                kind="restore",
            )
        decided = state["phase"] in (KEPT, WITHDRAWN)
        if decided or (state["together"] and (not self.options["together"] or state["key"] != self.key())):
            raise OpsError(
                f"a restore of {', '.join(state['together'] or [self.node_name])} has not ended (it is "
                f"{state['phase']}): run {the_playbook(state)} on all of these nodes, which ends it",
                kind="restore",
            )

    def recover(self):
        """Finish what a killed run left half done, up to where data is all old or all new again."""
        note = self.swap.pending()
        if note is None:
            if self._state() is None:
                self._clear()
            return
        state = self._state()
        if note["candidate"] != self._candidate(state):
            # A way back that was cut off: go it to its end, so that nobody takes the failed data for the old.
            self._stop()
            self.swap.carry_out()
            if state and state["slots"]:
                self._config().put_back(state["slots"])
            self._clear()
            return
        self.swap.tidy()

    def _state(self):
        return read_state(self.data_dir)

    def _candidate(self, state):
        """Path of what is to be brought into service, as long as it is not."""
        undo = state and state.get("undo")
        return self._beside(undo) if undo else os.path.join(self.area, "new")

    def _clear(self):
        """Forget the work, all of it at once: a half of it would be taken for something that is under way."""
        parent, name = os.path.split(self.data_dir)
        going = os.path.join(parent, f".{name}.removing-restore")
        trees.remove(going)
        if os.path.lexists(self.work):
            os.rename(self.work, going)
            sync_directory(parent)
            trees.remove(going)

    def _stage(self):
        """Everything that can fail, while the node serves."""
        if self.is_undo:
            self._check_undo()
        if "data" in self.members:
            check_can_exchange(self.data_dir)
        os.mkdir(self.work, 0o711)
        try:
            staged = self._stage_aside() if self.is_undo else self._stage_archive()
            state = {
                "key": self.key(),
                "phase": STAGED,
                "run": self.options["run"] or _utc_now(),
                "together": self.options["together"],
                "ran": None,
                "stopped_at": None,
                **staged,
            }
            self._note(state)
        except BaseException:
            self._clear()
            raise
        return state

    def _stage_archive(self):
        area = Area(self.area, self.options["node"]["user"])
        manifest = Staging(self.options["node"], self.runner, area, self.progress).fill(
            self.backup,
            self.check,
            members=self.members,
            identity=self.options["identity"],
            node_map=self.options["node_map"],
            tables_from=self.tables_from,
        )
        config_set = self._config().lay_down(area.config) if "config" in self.members else None
        # The exchange must not be on disk before what it brings into service.
        os.sync()
        return {
            "archive": self.backup.name,
            "tables": manifest["tables"],
            "config_set": config_set,
            "slots": self._config().slots() if config_set else None,
        }

    def _stage_aside(self):
        # The config that ran with it, where the restore has replaced that too.
        slots = self.copies.note(self.aside).get("slots")
        return {
            "archive": self.aside,
            "undo": self.aside,
            # Nobody has counted its rows. That all tables are loaded is proven.
            "tables": None,
            "config_set": None,
            "undo_slots": slots,
            "slots": self._config().slots() if slots else None,
        }

    def _note(self, state):
        write_atomically(self.state_file, json.dumps(state).encode(), mode=0o600)

    def _exchange(self, state):
        """Stop, and let what is staged take the place of what was live. Safe to repeat."""
        if state["phase"] == STAGED:
            state.update(phase=EXCHANGED, ran=self.observer.unit.state().running, stopped_at=time.time())
            self._note(state)
        if "data" in self.members and self.swap.pending() is None:
            kind = REVERTED if state.get("undo") else BEFORE
            self.swap.begin(self._candidate(state), self.data_dir, self._beside_data(kind))
        if not self.swap.exchanged():
            self._stop()
        if "data" in self.members:
            self.swap.carry_out()
        if state["config_set"]:
            self._config().activate(state["config_set"])
        if state.get("undo_slots"):
            self._config().put_back(state["undo_slots"])

    def _finish(self, state):
        note = self.swap.pending()
        if note:
            self._describe(note["aside"], state)
        if state.get("undo"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{self._beside(state['undo'])}.json")
        self._clear()
        self.progress.say(f"{state['archive']} is in service, the node was down for {state['downtime_seconds']} s")
        warning = write_metrics(
            self.options["metrics_dir"], {"erlmcp_restore_last_success_timestamp_seconds": time.time()}
        )
        return {"safety_copy": note and note["aside"], "warnings": [warning] if warning else []}

    def _start_and_prove(self, wanted):
        started = time.time()
        self._start()
        return self._prove(wanted, started)

    def _prove(self, wanted, started):
        """Wait until the node is healthy with every row, and stays so; return its state."""
        self.progress.phase("waiting until the node is healthy")
        deadline = time.monotonic() + self.options["start_timeout_seconds"]
        settling = Settling(self.options["health"]["settle_seconds"])
        while True:
            state = self.observer.observe()
            _rows, problems = prove(self.observer.node, state, wanted)
            if settling.look(state, not problems):
                return state
            if problems and (self.observer.gave_up(state) or time.monotonic() >= deadline):
                raise OpsError(
                    f"{'; '.join(problems)} ({self.observer.waited(state, self.options['start_timeout_seconds'])}). "
                    f"From journalctl -u {self.observer.unit.name}:\n{self.observer.unit.journal(started)}",
                    kind="health",
                )
            time.sleep(0.2)

    def _failure(self, state, error, outcome=""):
        return OpsError(f"{self.node_name} with {state['archive']}: {error}{outcome}", kind="health")

    def _go_back(self, state, error):
        """Put the old state back and return the error that says so."""
        self.progress.say("the node does not serve with what was restored: putting the old state back")
        kept = self._withdraw(state)
        outcome = "The old state is back; the node did not run before and is left stopped"
        if state["ran"]:
            try:
                self._start_and_prove([])
                outcome = "The old state is back and serving"
            except (OpsError, OSError) as again:
                outcome = f"The old state is back, but {again}"
        self._clear()
        kept_text = f" What failed is kept in {kept}." if kept else ""
        return self._failure(state, error, f"\n{outcome}.{kept_text}")

    def _withdraw(self, state):
        """Stop, and let the old state take its place again; return where the failed data is kept, if there is any."""
        self._stop()
        note = self.swap.pending()
        candidate = self._candidate(state)
        if note and note["candidate"] == candidate:
            if not self.swap.exchanged():
                note = None
            else:
                self.swap.tidy()
                # What served once goes back to where it was; what was unpacked has failed.
                aside = candidate if state.get("undo") else self._beside_data(FAILED)
                self.swap.begin(note["aside"], self.data_dir, aside)
        if note:
            self.swap.carry_out()
        if state["slots"]:
            self._config().put_back(state["slots"])
        return self.swap.pending()["aside"] if note else None

    # The end of a restore of several nodes: first the decision on each of them, then what follows from it

    def keep(self):
        """Decide that what is in service stays; all nodes have been proven."""
        state = self._state()
        if state["phase"] not in (PROVEN, KEPT):
            raise OpsError(
                f"{self.node_name} has not been proven with {state['archive']}, so it cannot be kept: run "
                f"{the_playbook(state)} again, which goes on from here",
                kind="restore",
            )
        self._note({**state, "phase": KEPT})
        return {}

    def finish(self):
        """Forget the way back, after all nodes have decided to keep what is in service."""
        state = self._state()
        if state["phase"] != KEPT:
            raise OpsError(f"{self.node_name} has not decided to keep {state['archive']} (kept)", kind="restore")
        return {"downtime_seconds": state["downtime_seconds"], "tables": state["tables"], **self._finish(state)}

    def withdraw(self):
        """Take back what was exchanged; the node is left stopped for :meth:`resume`. What is only staged goes."""
        state = self._state()
        if state["phase"] == KEPT:
            raise OpsError(
                f"{self.node_name} keeps {state['archive']}, since all nodes were proven with theirs: run "
                f"{the_playbook(state)} again, which ends that",
                kind="restore",
            )
        if state["phase"] == STAGED:
            self._clear()
            return {"safety_copy": None}
        self._note({**state, "phase": WITHDRAWN})
        return {"safety_copy": self._withdraw(state)}

    def resume(self):
        """Start the node with the state it had before, unless it did not run then."""
        state = self._state()
        self._check_is_back()
        health = self._start_and_prove([])["health"] if state["ran"] else None
        downtime = self._down_since(state["stopped_at"])
        self._clear()
        return {"downtime_seconds": downtime, "health": health, "back": True}

    def _check_is_back(self):
        """Prove by its inode that the directory in service is the one of before."""
        note, state = self.swap.pending(), self._state()
        restored = note is not None and (note["candidate"] == self._candidate(state)) == self.swap.exchanged()
        if restored or state["phase"] != WITHDRAWN:
            raise OpsError(f"{self.data_dir} is not what it was before the restore: it is left stopped", kind="restore")

    # Small things

    def _config(self):
        return RestoredConfig(self.options["node"], self.options["group"], self.runner)

    def _stop(self):
        self.observer.unit.stop(self.options["stop_timeout_seconds"])

    def _start(self):
        self.observer.unit.start(self.options["start_timeout_seconds"])

    def _down_since(self, stopped_at):
        """Seconds until the node served: it has been watched since."""
        return round(time.time() - stopped_at - self.options["health"]["settle_seconds"], 1)

    def _beside_data(self, what):
        return f"{self.data_dir}.{what}-{_utc_now()}"

    def _beside(self, name):
        """Path of what has this name beside the data directory."""
        return os.path.join(os.path.dirname(self.data_dir), name)

    def _describe(self, safety, state):
        """Note beside a safety copy which config ran with it, and with whose it has to be taken back."""
        note = {
            "replaced_by": state["archive"],
            "run": state.get("run"),
            "together": state["together"],
            "slots": state["slots"],
        }
        write_atomically(f"{safety}.json", json.dumps(note).encode(), mode=0o600)


def _utc_now():
    return f"{datetime.datetime.now(datetime.timezone.utc):%Y%m%dT%H%M%SZ}"


def _digest(backup):
    # Without a file beside it an archive is known by what the file system says of it.
    if backup.beside:
        return backup.beside["archive"]["sha256"]
    status = os.stat(backup.path)
    return [status.st_ino, status.st_size, status.st_mtime_ns]


def _diff(node_name, steps):
    return {"before": f"{node_name}\n", "after": "".join([f"{node_name}\n", *(f"- {step}\n" for step in steps)])}
