# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is true of a node now: unit, health, members, and whether what runs is what is on disk."""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import dataclass, replace

from .._cluster.peers import told_question
from .._cluster.schema_file import members_on_disk
from .._cluster.view import ABSENT, STORE_QUESTION, parse_store, why_waiting
from .._config.live import without_live
from .._core import trees
from .._core.errors import OpsError
from .._core.slots import Slots
from .._erlang.distribution import read_distribution
from .._erlang.mapper import mapper_problem
from .._erlang.node import PASSING, Node, function_name
from .around import look_around
from .exclusion import wait_for_others
from .health import Answer, ask_http, judge
from .unit import Unit, why_down

# After this many automatic restarts by systemd a start is called failed without waiting for the time-out.
_RESTARTS_THAT_MEAN_FAILURE = 3

_LONGEST_RECORD = 4096

CONFIG_FILES = ("sys.config", "vm.args", "env.sh")

_FIGURES = f"""
{{Total, Processes}} = {{erlang:memory(total), erlang:memory(processes)}},
[{{node, node()}},
 {{otp, erlang:system_info(otp_release)}},
 {{erts, erlang:system_info(version)}},
 {{uptime_seconds, element(1, erlang:statistics(wall_clock)) div 1000}},
 {{memory_bytes, Total}}, {{memory_processes_bytes, Processes}},
 {{processes, erlang:system_info(process_count)}}, {{process_limit, erlang:system_info(process_limit)}},
 {{ports, erlang:system_info(port_count)}}, {{port_limit, erlang:system_info(port_limit)}},
 {{schedulers, erlang:system_info(schedulers_online)}}, {{run_queue, erlang:statistics(run_queue)}},
 {{applications, [{{A, V}} || {{A, _, V}} <- application:which_applications()]}},
 {{members, lists:sort([node() | nodes()])}},
 {{store, {STORE_QUESTION}}}]
"""


class Observer:
    """Reads one node; changes nothing, so it runs for real in check mode.

    :param spec: the ``node`` option of a module.
    :param health: its ``health`` option.
    :param runner: a :class:`Runner`.
    :param predicted_next: in check mode, what earlier tasks would have left in the slots ``next``: ``release`` and
        ``config``, to a name or ``None``. Where a key is missing, the slot is read.
    """

    def __init__(self, spec, health, runner, predicted_next=None):
        self.predicted_next = predicted_next or {}
        self.spec = spec
        self.health_options = health
        self.node = Node(spec, runner)
        self.unit = Unit(spec["service"], runner)
        self.releases = Slots(spec["install_dir"], "releases")
        self.configs = Slots(spec["config_dir"], "sets")
        # The :class:`.._cluster.view.Store` that the node had when it was last asked, ``None`` when it did not answer.
        self.store = None

    def observe(self, connections_function=None):
        """Return the node's state as the dict that ``node_info`` documents."""
        unit = self.unit.state()
        releases = self._predict("release", self.releases.state())
        configs = self._predict("config", self.configs.state())
        figures, health, silence = self._ask(unit)
        told = figures.pop("told_of_peers", True)
        running_release = os.path.basename(self._recorded("started.release") or "") or None
        state = {
            "name": self.node.name,
            "running": unit.running,
            "pid": unit.pid or None,
            "unit": {
                "active": unit.active,
                "sub": unit.sub,
                "result": unit.result,
                "enabled": unit.enabled,
                "automatic_restarts": unit.restarts,
                "needs_daemon_reload": unit.needs_reload,
            },
            "release": {
                "running": running_release if unit.running else None,
                "current": releases.current,
                "next": releases.next,
                "previous": releases.previous,
            },
            "config": {"current": configs.current, "next": configs.next, "previous": configs.previous},
            "health": health,
            "figures": figures,
            "members": sorted(figures.get("members", [])),
            "store": self.store.summary() if self.store else None,
            "distribution_error": silence,
            "epmd_error": self._mapper_problem() if unit.running else None,
            "restart_required": self._reasons(unit, releases, configs, running_release),
            "peers_outdated": not told,
        }
        # A node that is still starting may have the function and not yet what it counts.
        if connections_function and figures and health["healthy"]:
            state["figures"]["connections"] = self._connections(connections_function)
        return state

    def observe_until(self, good, timeout, **options):
        """Observe until ``good(state)`` or for ``timeout`` seconds; return the last state either way."""
        deadline = time.monotonic() + timeout
        while True:
            state = self.observe(**options)
            if good(state) or time.monotonic() >= deadline:
                return state
            time.sleep(0.2)

    @staticmethod
    def gave_up(state):
        """Whether waiting for a node that was started is of no use any more: systemd has given up, or soon will."""
        unit = state["unit"]
        return unit["active"] == "failed" or unit["automatic_restarts"] >= _RESTARTS_THAT_MEAN_FAILURE

    @classmethod
    def waited(cls, state, seconds):
        """Say how long a node was waited for, for a failure's message."""
        restarts = state["unit"]["automatic_restarts"]
        if not cls.gave_up(state):
            return f"after {seconds} s"
        return f"after {restarts} automatic restarts" if restarts else "its unit has failed"

    def _ask(self, unit):
        self.store = None
        if not unit.running:
            process = Answer("process", "absent", why_down(self.unit.name, unit))
            return {}, judge([process], self.health_options["required_level"]), process.detail
        answers = [ask_http(self.health_options)]
        figures, silence = {}, None
        try:
            question = f"[{{told_of_peers, {told_question(self.spec['config_dir'])}}} | begin {_FIGURES.strip()} end]"
            figures = dict(self.node.evaluate(question))
            self.store = parse_store(figures.pop("store"))
            figures["applications"] = {str(name): version for name, version in figures["applications"]}
            answers.append(Answer("ping", "ok", f"{self.node.name} answers over distribution"))
            application = self.health_options["application"]
            if application and application not in figures["applications"]:
                text = f"{self.node.name} answers, and application {application} has not started, or has ended"
                answers.insert(0, Answer("ping", "unhealthy", text))
            waits_for, waiting = self.store.waits()
            if waiting:
                text = f"{self.node.name} answers, and {why_waiting(waits_for, waiting)}"
                answers.insert(0, Answer("ping", "unhealthy", text))
        except OpsError as error:
            if error.kind not in PASSING:
                raise
            silence = str(error)
            answers.append(Answer("ping", "absent", silence))
        answers.append(Answer("process", "ok", f"{self.unit.name} is active, process {unit.pid}"))
        return figures, judge(answers, self.health_options["required_level"]), silence

    def _mapper_problem(self):
        distribution = read_distribution(self.spec["config_dir"])
        return mapper_problem(distribution, self.node.name, f"{self.spec['service']}-epmd.service")

    def _predict(self, topic, slots):
        return replace(slots, next=self.predicted_next[topic]) if topic in self.predicted_next else slots

    def _connections(self, function):
        try:
            called, count = self.node.call_if_exported(function)
        except OpsError as error:
            if error.kind not in PASSING:
                raise
            return None
        return count if called else None

    def _reasons(self, unit, releases, configs, running_release):
        if not unit.running:
            return ["stopped"]
        changed = {
            "release": releases.next is not None or running_release != releases.current,
            "config": configs.next is not None or not self.runs_with_its_config(),
            "unit": unit.needs_reload or self._recorded("started.unit") != self.unit.definition_digest(),
        }
        return [reason for reason, is_changed in changed.items() if is_changed]

    def runs_with_its_config(self):
        """Whether the unit was started with what is in the config directory now."""
        return self._recorded("started.config") == self.config_digest()

    def config_digest(self):
        """SHA-256 over the config set a start would use, less its live settings; the unit records the same."""
        content = b""
        for name in CONFIG_FILES:
            path = os.path.join(self.spec["config_dir"], name)
            if os.path.exists(path):
                with open(path, "rb") as stream:
                    content += stream.read()
        return hashlib.sha256(without_live(content)).hexdigest()

    def _recorded(self, name):
        # The unit writes there as the account, which could put a link in its place.
        content = trees.read(self.spec["run_dir"], name, _LONGEST_RECORD)
        return None if content is None else content.decode("utf-8", "replace").strip()


def members_missing(state, expected):
    """Names in ``expected`` that this node does not see."""
    return sorted(set(expected) - set(state["members"]))


def sharing_missing(state, expected):
    """Names in ``expected`` with which this node does not share its tables; none where the release has no Mnesia."""
    store = state["store"]
    if store is None or store["state"] == ABSENT or len(expected) < 2:
        return []
    return sorted(set(expected) - set(store["running"]))


def node_info(module, runner):
    """The module ``node_info``."""
    options = module.params
    if options["connections_function"]:
        function_name(options["connections_function"])
    wait_for_others(options["node"])
    observer = Observer(options["node"], options["health"], runner, options["predicted_next"])
    expected = Expected.of(options)
    state = observer.observe_until(
        expected.met, options["wait_seconds"], connections_function=options["connections_function"]
    )
    checks = look_around(module, runner)
    if options["assert_healthy"] and not expected.met(state):
        raise not_healthy(expected, state)
    on_disk = [] if state["running"] else members_on_disk(options["node"]["owned_dirs"])
    return {"changed": False, **expected.missed(state), **state, "checks": checks, "members_on_disk": on_disk}


@dataclass(frozen=True)
class Expected:
    """What is expected of a node besides its health.

    :param members: node names that it must see.
    :param sharing: node names with which it must share its tables.
    """

    members: list
    sharing: list

    @classmethod
    def of(cls, options):
        members = options["expect_members"]
        return cls(members, members if options["expect_shared_tables"] else [])

    def missed(self, state):
        """Return what the modules report."""
        return {
            "missing_members": members_missing(state, self.members),
            "not_sharing": sharing_missing(state, self.sharing),
        }

    def met(self, state):
        return state["health"]["healthy"] and not state["epmd_error"] and not any(self.missed(state).values())


def not_healthy(expected, state):
    """Return the error that says what of ``expected`` is not so."""
    missed = expected.missed(state)
    return OpsError(
        unhealthy_message(state, missed["missing_members"], missed["not_sharing"]),
        kind="health",
        state=json.loads(json.dumps(state, default=str)),
    )


def unhealthy_message(state, missing, not_sharing=()):
    """Say what is wrong with a node in one sentence."""
    problems = []
    if not state["health"]["healthy"]:
        problems.append(f"is not healthy: {state['health']['detail']}")
    if state["epmd_error"]:
        problems.append(f"cannot be found by others: {state['epmd_error']}")
    # Of a node that does not run, or cannot be asked because of epmd, nobody expects that it sees others.
    if missing and state["running"] and not (state["epmd_error"] and state["distribution_error"]):
        seen = state["distribution_error"] or f"it sees {', '.join(state['members'])}"
        problems.append(f"does not see {', '.join(missing)} ({seen})")
    if not_sharing and not missing:
        store = state["store"]
        problems.append(
            f"does not share its tables with {', '.join(not_sharing)} (its schema has {', '.join(store['members'])}, "
            f"of which it takes {', '.join(store['running']) or 'none'} for running)"
        )
    return f"{state['name']} {' and '.join(problems)}"
