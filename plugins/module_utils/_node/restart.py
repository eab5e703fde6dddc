# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One safe restart of one node: gate, drain, stop, activate, start, wait until healthy and rejoined."""

from __future__ import annotations

import time

from .._core.errors import OpsError
from .._erlang.node import Unreachable, function_name
from .._erlang.terms import Atom, format_term
from .observe import Observer, members_missing, unhealthy_message


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
    for name in ("start", "undo", "count"):
        if options["drain"][name]:
            function_name(options["drain"][name])
    observer = Observer(options["node"], options["health"], runner, options["predicted_next"])
    before = observer.observe()
    reasons, steps = plan(before, options["reasons"])
    result = {"changed": bool(steps), "reasons": reasons, "steps": steps, "diff": _diff(before, reasons, steps)}
    if module.check_mode or not steps:
        return result
    started = time.monotonic()
    restart = Restart(observer, options)
    state = restart.apply(before)
    return {**result, "drained": restart.drained, "seconds": round(time.monotonic() - started, 1), "state": state}


class Restart:
    """Carries out a restart that was planned."""

    def __init__(self, observer, options):
        self.observer = observer
        self.options = options
        self.drained = "not needed"
        self.started = None

    def apply(self, before):
        self.observer.unit.reload_definitions()
        if before["running"]:
            if before["health"]["healthy"]:
                self._check_members(before)
                self._drain_and_stop()
            else:
                self._stop()
        self.observer.releases.activate()
        self.observer.configs.activate()
        self.started = time.time()
        self.observer.unit.start(self.options["start_timeout_seconds"])
        return self._wait(set(before["members"]) - {self.observer.node.name})

    def _check_members(self, before):
        """Refuse to take down a second node.

        The node's own view is not enough: a member counts when it answers and runs the application.
        """
        if not self.options["gate"]:
            return
        others = [name for name in self.options["members"] if name != self.observer.node.name]
        problems = [f"{name} is not connected" for name in members_missing(before, others)]
        connected = [name for name in others if name in before["members"]]
        if connected:
            problems += self._members_not_serving(connected)
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

    def _drain_and_stop(self):
        draining = self._drain()
        try:
            self._stop()
        except BaseException:
            if draining:
                self._call(self.options["drain"]["undo"])
            raise

    def _stop(self):
        self.observer.unit.stop(self.options["stop_timeout_seconds"])

    def _drain(self):
        drain = self.options["drain"]
        if not drain["start"] or not self._call(drain["start"])[0]:
            self.drained = "the release cannot drain"
            return False
        try:
            deadline = time.monotonic() + drain["timeout_seconds"]
            while True:
                called, count = self._call(drain["count"]) if drain["count"] else (False, None)
                if not called or count == 0:
                    self.drained = "no session was open" if called else "sessions cannot be counted"
                    return True
                if time.monotonic() >= deadline:
                    self.drained = f"{count} sessions were still open after {drain['timeout_seconds']} s"
                    return True
                time.sleep(0.2)
        except BaseException:
            self._call(drain["undo"])
            raise

    def _call(self, function):
        if not function:
            return False, None
        try:
            return self.observer.node.call_if_exported(function)
        except Unreachable:
            return False, None

    def _wait(self, members_before):
        """Wait until the node is healthy and sees again the members it saw before the stop."""
        deadline = time.monotonic() + self.options["start_timeout_seconds"]
        while True:
            state = self.observer.observe()
            missing = members_missing(state, members_before)
            if state["health"]["healthy"]:
                self._connect(state)
                if not missing:
                    return state
            gave_up = self.observer.gave_up(state)
            if gave_up or time.monotonic() >= deadline:
                raise self._failure(state, missing, gave_up)
            time.sleep(0.3)

    def _connect(self, state):
        # A release without clustering of its own does not look for its peers. Nobody waits for one that is down.
        names = members_missing(state, self.options["members"])
        if names and state["distribution_error"] is None:
            listed = format_term([Atom(name) for name in names])
            self.observer.node.evaluate(f"[spawn(net_kernel, connect_node, [N]) || N <- {listed}]")

    def _failure(self, state, missing, gave_up):
        restarts = state["unit"]["automatic_restarts"]
        waited = f"{restarts} automatic restarts" if gave_up else f"{self.options['start_timeout_seconds']} s"
        journal = self.observer.unit.journal(self.started)
        previous = state["config"]["previous"]
        way_back = f" The previous config {previous} is kept: run the playbook revert_config." if previous else ""
        return OpsError(
            f"{unhealthy_message(state, missing)} (after {waited}). The roll stops here: "
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
