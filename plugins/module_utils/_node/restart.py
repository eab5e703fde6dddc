# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One safe restart of one node: gate, drain, stop, activate, start, wait until healthy and rejoined."""

from __future__ import annotations

import contextlib
import time

from .._backup.under_way import STAGED, read_state, the_playbook
from .._checks.row import LAID_DOWN, OTHER_NODE
from .._core.errors import OpsError
from .._erlang.node import Unreachable
from .._erlang.terms import Atom, format_term
from .._release.proof import note_proven
from .drain import Drain
from .exclusion import node_lock
from .observe import Observer, members_missing, unhealthy_message
from .ready import connect_missing
from .settling import Settling
from .start_again import refuse_stop

# The reference release looks for its peers each second.
_MEETING_SECONDS = 5


def plan(state, forced_reasons=()):
    """Name the steps that bring the node to what is on disk.

    :param state: what :class:`Observer` says.
    :param forced_reasons: reasons besides those of the node: a restart asked for, or, in check mode, what earlier
        tasks would have laid down.
    :return: (reasons, steps), both lists; no reasons means no steps.
    """
    reasons = state["restart_required"] + [each for each in forced_reasons if each not in state["restart_required"]]
    if not reasons:
        return [], []
    steps = ["reload unit definitions"]
    if state["running"]:
        # An unhealthy node serves nobody: restarting it takes nothing away, and it may be the repair.
        if state["health"]["healthy"]:
            steps += ["check the other members", "drain"]
        steps += ["stop"]
    if state["release"]["next"]:
        steps += [f"switch release to {state['release']['next']}"]
    if state["config"]["next"]:
        steps += [f"switch config to {state['config']['next']}"]
    return reasons, [*steps, "start", "wait until healthy"]


def node_restart(module, runner):
    """The module ``node_restart``."""
    options = module.params
    observer = Observer(options["node"], options["health"], runner, options["predicted_next"])
    restart = Restart(observer, options)
    before = observer.observe()
    reasons, steps = plan(before, options["reasons"])
    if steps:
        refuse_half_restored(options["data_dir"], observer.node.name)
    if module.check_mode and steps:
        # Of what is predicted more was laid down than can be seen.
        restart.check_can_start(before, (*LAID_DOWN, OTHER_NODE) if options["predicted_next"] else ())
    if module.check_mode or not steps:
        return _result(before, reasons, steps)
    with node_lock(options["node"], "restart"):
        # What was true before the lock was had may have been changed by a run whose controller was killed.
        before = observer.observe()
        reasons, steps = plan(before, options["reasons"])
        result = _result(before, reasons, steps)
        if not steps:
            return result
        started = time.monotonic()
        state = restart.apply(before)
    seconds = round(time.monotonic() - started, 1)
    return {**result, "drained": restart.drain.outcome, "seconds": seconds, "state": state}


def _result(before, reasons, steps):
    return {"changed": bool(steps), "reasons": reasons, "steps": steps, "diff": _diff(before, reasons, steps)}


def refuse_half_restored(data_dir, name):
    """Refuse to start a node while a restore is under way: on the other nodes it may not be where it is here.

    :param data_dir: of the node, ``None`` to look at nothing.
    """
    state = read_state(data_dir) if data_dir else None
    if state and state["phase"] != STAGED:
        raise OpsError(
            f"a restore of {', '.join(state['together'] or [name])} has not ended, and is {state['phase']} on {name}, "
            f"which must not start before all of them can: run {the_playbook(state)} on these nodes, which ends it",
            kind="restore",
            phase=state["phase"],
        )


class Restart:
    """Carries out a restart that was planned.

    :param observer: an :class:`.observe.Observer`.
    :param options: the options of the module ``node_restart``.
    """

    def __init__(self, observer, options):
        self.observer = observer
        self.options = options
        self.drain = Drain(observer.node, options["drain"])
        self.started = None

    def apply(self, before):
        if self._has_served(before):
            # A run that was killed may have started the node and not seen it healthy.
            note_proven(self.observer.releases)
        self.observer.unit.reload_definitions()
        if before["running"]:
            before = self._gate(before)
            if before["health"]["healthy"]:
                self._drain_and_stop()
            else:
                self._stop()
        self.observer.releases.activate()
        self.observer.configs.activate()
        try:
            return self._start(before)
        except OpsError as failure:
            if not self.options["revert"]:
                raise
            raise self._revert(before, failure) from failure

    def _has_served(self, before):
        """Whether the node is healthy with the current release, and not only for the moment."""
        uptime = before["figures"].get("uptime_seconds", 0)
        return (
            before["health"]["healthy"]
            and before["release"]["running"] == before["release"]["current"]
            and uptime >= self.observer.health_options["settle_seconds"]
        )

    def _start(self, before):
        self.started = time.time()
        self.observer.unit.start(self.options["start_timeout_seconds"])
        state = self._wait(before)
        note_proven(self.observer.releases)
        return state

    def _revert(self, before, failure):
        """Put the node back on what it ran before, and say so in the failure that is raised."""
        releases, configs = self.observer.releases, self.observer.configs
        switched = []
        # A release with which the node served until now is not the cause. What a run that was killed has switched is.
        served = before["health"]["healthy"] and before["release"]["running"] == releases.state().current
        if not served:
            switched.append(releases)
        if before["config"]["next"]:
            switched.append(configs)
        if not switched or any(each.state().previous is None for each in switched):
            return failure
        name, release = self.observer.node.name, releases.state().previous if releases in switched else None
        what = f"release {release}" if release else "the config before"
        try:
            self._stop()
            for each in switched:
                each.revert()
            self._start(before)
        except OpsError as second:
            return OpsError(
                f"{name} was put back on {what}, with which it does not serve either: {second} First it failed so: "
                f"{failure}",
                kind="health",
                **failure.details,
            )
        return OpsError(
            f"{name} was put back on {what} and serves again. It had failed: {failure}",
            kind="reverted",
            **failure.details,
        )

    def _gate(self, before):
        """Refuse to take down a node that serves while others are not well; return what is true of it after that.

        A node that crashes again and again serves at one moment and not at the next. Then nothing is taken away.
        """
        if not (self.options["gate"] and before["health"]["healthy"]):
            return before
        self.check_can_start(before)
        others = [name for name in self.options["members"] if name != self.observer.node.name]
        try:
            if members_missing(before, others):
                before = self._meet(others)
            if before["health"]["healthy"]:
                self._check_asked(before, others)
                self._check_members(before, others)
                self._check_copies(before)
        except Unreachable:
            before = self.observer.observe()
            if before["health"]["healthy"]:
                raise
        return before

    def check_can_start(self, before, repaired=()):
        """Refuse to take down a node that serves and could not start again.

        :param repaired: codes of what is put right before it starts.
        """
        if self.options["gate"] and before["running"] and before["health"]["healthy"]:
            refuse_stop(self.observer, "To restart it all the same, set erlmcp_cluster_restart_gate: false", repaired)

    def _meet(self, others):
        """Give a node that has just started the time to find the others; connect it to whom it does not look for."""

        def decided(state):
            return not state["health"]["healthy"] or not members_missing(state, others)

        before = self.observer.observe_until(decided, _MEETING_SECONDS)
        if connect_missing(self.observer, before, others, self.options["ports"], check_mode=False):
            before = self.observer.observe()
        return before

    def _check_asked(self, before, others):
        """Refuse to take down a node that nobody can ask how the others are. They are not to blame for that."""
        if others and before["distribution_error"]:
            raise OpsError(
                f"{self.observer.node.name} is left running, because it cannot be asked how the other members are: "
                f"{before['epmd_error'] or before['distribution_error']}. To restart it all the same, set "
                "erlmcp_cluster_restart_gate: false",
                kind="gate",
                problems=[before["epmd_error"] or before["distribution_error"]],
            )

    def _check_members(self, before, others):
        """Refuse to take down a second node.

        The node's own view is not enough: a member counts when it answers and runs the application.
        """
        problems = [f"{name} is not connected" for name in members_missing(before, others)]
        connected = [name for name in others if name in before["members"]]
        if connected:
            problems += self._members_not_serving(connected)
        if self.observer.store:
            # Started while its tables are split, a node joins both sides and hides that they differ.
            problems += [f"{name} is taken for down by its tables" for name in self.observer.store.taken_for_down()]
        if problems:
            raise OpsError(
                f"{self.observer.node.name} is left running, because another member is not well: "
                f"{'; '.join(problems)}. Repair that member first, or take the risk with "
                "erlmcp_cluster_restart_gate: false",
                kind="gate",
                problems=problems,
            )

    def _members_not_serving(self, names):
        application = format_term(Atom(self.options["application"]))
        listed = format_term([Atom(name) for name in names])
        answer = self.observer.node.evaluate(
            f"[{{N, case rpc:call(N, application, which_applications, [], 5000) of "
            f"Apps when is_list(Apps) -> lists:keymember({application}, 1, Apps); _ -> unreachable end}} "
            f"|| N <- {listed}]",
            timeout=30,
        )
        return [
            f"{name} does not answer" if serving == "unreachable" else f"{name} does not run {application}"
            for name, serving in answer
            if serving is not True
        ]

    def _check_copies(self, before):
        """Refuse to take down the only running copy of a table that the nodes share."""
        store = self.observer.store
        if store is None or len(store.members) < 2:
            return
        name = self.observer.node.name
        last = sorted(
            table for table, each in store.tables.items() if name in each.copies and not each.runs_besides(name, store)
        )
        if last:
            raise OpsError(
                f"{name} is left running, because no other node that runs has a copy of {', '.join(last)}. Give them "
                "another copy (erlmcp_cluster_copies), or take the risk with erlmcp_cluster_restart_gate: false",
                kind="gate",
                tables=last,
            )

    def _drain_and_stop(self):
        draining = self.drain.start()
        try:
            self._stop()
        except BaseException:
            if draining:
                self.drain.undo()
            raise

    def _stop(self):
        self.observer.unit.stop(self.options["stop_timeout_seconds"])

    def _wait(self, before):
        """Wait until the node is healthy, with the members and tables that it had before, and stays so."""
        deadline = time.monotonic() + self.options["start_timeout_seconds"]
        settling = Settling(self.observer.health_options["settle_seconds"])
        members_before = set(before["members"]) - {self.observer.node.name}
        sharing_before = set(before["store"]["running"]) if before["store"] else set()
        while True:
            state = self.observer.observe()
            missing = members_missing(state, members_before)
            sharing = sharing_before <= set((state["store"] or {"running": []})["running"])
            if state["health"]["healthy"]:
                self._connect(state)
            if settling.look(state, state["health"]["healthy"] and not missing and sharing):
                return state
            if not settling.begun and (self.observer.gave_up(state) or time.monotonic() >= deadline):
                raise self._failure(state, missing)
            time.sleep(0.3)

    def _connect(self, state):
        # A release without clustering of its own does not look for its peers. Nobody waits for one that is down.
        names = members_missing(state, self.options["members"])
        if names and state["distribution_error"] is None:
            listed = format_term([Atom(name) for name in names])
            # One that has crashed since is seen so the next time.
            with contextlib.suppress(Unreachable):
                self.observer.node.evaluate(f"[spawn(net_kernel, connect_node, [N]) || N <- {listed}]")

    def _failure(self, state, missing):
        waited = self.observer.waited(state, self.options["start_timeout_seconds"])
        journal = self.observer.unit.journal(self.started)
        previous = state["config"]["previous"]
        way_back = (
            f" The previous config {previous} is kept: run the playbook revert_config."
            if previous and not self.options["revert"]
            else ""
        )
        return OpsError(
            f"{unhealthy_message(state, missing)} ({waited}). The roll stops here: "
            "nodes whose turn had not come keep what they ran."
            f"{way_back} From journalctl -u {self.observer.unit.name}:\n{journal}",
            kind="health",
            health=state["health"],
            release=state["release"],
            config=state["config"],
            missing_members=missing,
        )


def _diff(before, reasons, steps):
    if not steps:
        return {}
    running = "running" if before["running"] else "stopped"
    return {
        "before": f"{before['name']}: {running}\n",
        "after": "".join(
            [f"{before['name']}: restarted because of {', '.join(reasons)}\n", *(f"- {s}\n" for s in steps)]
        ),
    }
