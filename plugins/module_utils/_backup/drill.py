# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An archive restored into a throw-away node, started, counted, compared, removed.

The node runs in a unit for the time of the drill, with a network of its own, which has nothing but a loopback
interface, and with scratch directories mounted over data, logs and config. So it keeps its name, its ports, its paths
and the other settings of its unit: what is tried is the archive as it would be restored, and the node that serves
cannot notice.
"""

from __future__ import annotations

import contextlib
import ctypes
import glob
import json
import os
import socket
import time

from .._core import trees
from .._core.errors import OpsError
from .._core.files import write_atomically
from .._node.observe import CONFIG_FILES, Observer
from .._node.settling import Settling
from .._node.unit import Unit
from .drill_unit import passed_on, unit_text
from .lock import Lock
from .metrics import write_metrics
from .progress import Progress
from .readiness import prove
from .signature import check_signature
from .staging import Area, Staging
from .store import Store

_CLONE_NEWNET = 0x40000000
_UNIT_DIR = "/run/systemd/system"
# A drill whose program was killed ends by itself.
_LONGEST_SECONDS = 6 * 3600


def restore_drill(module, runner):
    """The module ``restore_drill``."""
    options = module.params
    backup = Store(options["store_dir"]).find(options["archive"], options["host"])
    check_signature(backup, options["signers"], runner)
    steps = [
        f"verify {backup.name} and unpack it into a scratch directory",
        "start a node with it, without network",
        "wait until healthy and count the rows",
        "stop the node and remove the scratch directory",
    ]
    result = {"changed": True, "archive": backup.path, "steps": steps}
    if module.check_mode:
        Lock.wait_until_free(options["run_dir"], options["service"])
        return result
    with Lock(options["run_dir"], options["service"], "drill"):
        drilled = Drill(options, runner).run(backup)
    fact = {"archive": backup.name, **{key: drilled[key] for key in ("seconds", "start_seconds", "rows")}}
    return {**result, **drilled, "ansible_facts": {"erlmcp_restore_drill": fact}}


class Drill:
    """One drill on one host.

    :param options: of the module.
    :param runner: a :class:`Runner`.
    """

    def __init__(self, options, runner):
        self.options = options
        self.runner = runner
        self.spec = options["node"]
        self.service = f"{self.spec['service']}-drill"
        self.unit = Unit(self.service, runner)
        self.unit_file = os.path.join(_UNIT_DIR, self.unit.name)
        parent, name = os.path.split(os.path.realpath(options["data_dir"]))
        self.scratch = os.path.join(parent, f".{name}.drill")
        self.store = Store(options["store_dir"])
        self.progress = Progress("erlmcp-drill", options["run_dir"], options["service"])

    def run(self, backup):
        """Drill with ``backup`` and return what was seen; the caller holds the lock."""
        self._clear()
        started = time.monotonic()
        area = Area(f"{self.scratch}-{os.getpid()}", self.spec["user"])
        staging = Staging(self.spec, self.runner, area, self.progress)
        try:
            manifest = staging.fill(
                backup,
                lambda manifest: None,
                members=[each for each in ("config", "data") if _has(backup, each)],
                identity=self.options["identity"],
                alone=True,
            )
            node = {**self.spec, "service": self.service, "name": manifest["node"]["name"]}
            began = time.time()
            self._start(area, began)
            self.progress.phase("waiting until the drill's node is healthy")
            try:
                state = _in_network_of(self.unit.state().pid, lambda: self._watch(node, manifest["tables"]))
            except FileNotFoundError:
                state = {"problems": ["its node has ended at once"]}
            if state["problems"]:
                state["journal"] = self.unit.journal(began)
        finally:
            self._clear()
        seconds = round(time.monotonic() - started, 1)
        if state["problems"]:
            raise OpsError(
                f"the drill with {backup.name} failed: {'; '.join(state['problems'])}. "
                f"From journalctl -u {self.unit.name}:\n{state['journal']}",
                kind="drill",
            )
        now = time.time()
        self.store.mark(backup.path, "drilled", {"time": int(now), "seconds": seconds})
        warning = write_metrics(
            self.options["metrics_dir"],
            {
                "erlmcp_restore_drill_last_success_timestamp_seconds": now,
                "erlmcp_restore_drill_duration_seconds": seconds,
            },
        )
        return {
            "seconds": seconds,
            "start_seconds": state["seconds"],
            "tables": manifest["tables"],
            "rows": state["rows"],
            "warnings": [warning] if warning else [],
        }

    def _clear(self):
        """Stop the drill's node and remove its directories, also those of a killed run."""
        with contextlib.suppress(OpsError):
            self.unit.stop(self.options["stop_timeout_seconds"])
        if os.path.lexists(self.unit_file):
            os.unlink(self.unit_file)
            self.unit.forget()
        for path in glob.glob(f"{glob.escape(self.scratch)}-*"):
            trees.remove(path)

    def _start(self, area, began):
        account = area.account
        mounts = {area.new: self.options["data_dir"]}
        for name, place in (("log", self.options["log_dir"]), ("run", self.spec["run_dir"])):
            path = os.path.join(area.path, name)
            os.mkdir(path, 0o750)
            os.chown(path, account.pw_uid, account.pw_gid)
            mounts[path] = place
        command = f"/usr/local/bin/{self.spec['release_name']}"
        own = [
            # The port mapper of the host is not in this network.
            f"ExecStart=/bin/sh -c '{command} epmd -daemon; exec {command} foreground'",
            "Type=exec",
            # It has nothing to lose, and one that still boots does not hear SIGTERM.
            "KillSignal=SIGKILL",
            "PrivateNetwork=yes",
            "PrivateTmp=yes",
            "ProtectSystem=strict",
            "Nice=10",
            f"TimeoutStopSec={self.options['stop_timeout_seconds']}",
            f"RuntimeMaxSec={_LONGEST_SECONDS}",
            f"User={self.spec['user']}",
            f"Group={self.options['group']}",
            f"ReadWritePaths={' '.join(mounts.values())}",
            *(f"BindPaths={source}:{target}" for source, target in mounts.items()),
            *(f"BindReadOnlyPaths={source}:{target}" for source, target in self._config_mounts(area)),
        ]
        taken = passed_on(Unit(self.spec["service"], self.runner).text())
        write_atomically(self.unit_file, unit_text(self.spec["service"], taken, own).encode(), mode=0o644)
        try:
            self.unit.start_new(self.options["start_timeout_seconds"])
        except OpsError as error:
            raise OpsError(
                f"the drill's node could not be started: {error}. From journalctl -u {self.unit.name}:\n"
                f"{self.unit.journal(began)}",
                kind="drill",
            ) from error

    def _config_mounts(self, area):
        """The archived config set in the place of the current one; only over files that are there can be mounted."""
        gid = area.account.pw_gid
        for name in CONFIG_FILES:
            source, target = os.path.join(area.config, name), os.path.join(self.spec["config_dir"], name)
            if os.path.exists(source) and os.path.exists(target):
                os.chown(source, -1, gid)
                os.chmod(source, 0o640)
                yield source, os.path.realpath(target)

    def _watch(self, node, wanted):
        """Runs in the drill's network: wait until the node is healthy, and count."""
        started = time.monotonic()
        self._give_loopback_the_address_of(node["name"])
        observer = Observer(node, self.options["health"], self.runner)
        deadline = started + self.options["start_timeout_seconds"]
        settling = Settling(self.options["health"]["settle_seconds"])
        while True:
            state = observer.observe()
            rows, problems = prove(observer.node, state, wanted)
            ended = not state["running"]
            if settling.look(state, not problems) or (problems and (ended or time.monotonic() >= deadline)):
                waited = "it has ended" if ended else f"after {self.options['start_timeout_seconds']} s"
                return {
                    "problems": [f"{problem} ({waited})" for problem in problems],
                    "rows": rows,
                    "seconds": round(time.monotonic() - started, 1),
                }
            time.sleep(0.2)

    def _give_loopback_the_address_of(self, name):
        """Peers and erl_call look for the node under its host's address, which only the real network has."""
        address = socket.getaddrinfo(name.partition("@")[2], None)[0][4][0]
        self.runner.run(["ip", "address", "add", address, "dev", "lo"])


def _has(backup, member):
    return backup.beside is None or member in backup.beside["manifest"]["members"]


def _in_network_of(pid, question):
    """Call ``question`` in the network of process ``pid``, in a child, and return its answer.

    :param question: a function without arguments that returns what JSON can hold.
    :raises FileNotFoundError: when there is no such process any more.
    :raises OpsError: what the question raised, as text.
    """
    with open(f"/proc/{pid}/ns/net", encoding="ascii") as namespace:
        receiving, sending = os.pipe()
        child = os.fork()
        if child == 0:
            _answer(namespace, question, sending)
        os.close(sending)
    with os.fdopen(receiving, encoding="utf-8") as stream:
        text = stream.read()
    os.waitpid(child, 0)
    answer = json.loads(text or '{"error": "the question ended without an answer"}')
    if "error" in answer:
        raise OpsError(f"the drill's node could not be asked: {answer['error']}", kind="drill")
    return answer["answer"]


def _answer(namespace, question, sending):
    try:
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), namespace.name)
        answer = {"answer": question()}
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    with os.fdopen(sending, "w", encoding="utf-8") as stream:
        json.dump(answer, stream)
    os._exit(0)
