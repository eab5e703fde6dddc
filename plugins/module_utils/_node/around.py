# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is true of a node's host besides the health of the node: one :class:`Row` for each thing that is not right."""

from __future__ import annotations

from .._backup.under_way import STAGED, read_state, the_playbook
from .._checks.row import CRIT, OTHER_NODE, WARN, Row
from .._cluster.lock import RUN_DIR, look_at_lock
from .._core.errors import OpsError
from .._erlang.node import PASSING
from .._security.text import printable
from .start_again import around, laid_down
from .strain import near_limits, near_memory, read_memory
from .unit import Unit

AROUND_SPEC = {
    "watched_services": {"type": "list", "elements": "str", "default": []},
}

# A transaction that changes nothing takes milliseconds. It passes through both processes that all transactions need.
_MNESIA_SECONDS = 5
_MNESIA = f"""
case whereis(mnesia_tm) of
    undefined -> absent;
    _ ->
        {{_, Ref}} = spawn_monitor(fun() -> exit(element(1, mnesia:transaction(fun() ->
            mnesia:read(schema, schema) end))) end),
        receive {{'DOWN', Ref, process, _, Answer}} -> Answer after {_MNESIA_SECONDS}000 -> hangs end
end
"""


def look_around(module, runner):
    """Return rows of what no role lays down, as dicts; warn of them too.

    :param module: whose options are those of :data:`AROUND_SPEC`, and ``node``.
    """
    node = module.params["node"]
    rows = [*around(node, runner), *_services(module.params["watched_services"], runner)]
    for row in rows:
        module.warn(f"{node['name']}: {row}")
    return [row.as_dict() for row in rows]


def look_closely(observer, state, watched_services, runner):
    """Return the rows of everything that can be seen from the host, what is in the way of a start first.

    :param observer: an :class:`.observe.Observer` that has just observed ``state``.
    :param watched_services: names of services that must not have failed.
    """
    node = observer.spec
    start = laid_down(observer)
    if any(row.code == OTHER_NODE for row in start):
        return start
    return [
        row
        for row in (
            *around(node, runner),
            *start,
            *(_restore(directory) for directory in node["owned_dirs"]),
            _mnesia(observer, state),
            *_unit(observer.unit, state),
            *near_limits(state["name"], state["figures"]),
            *_memory(observer.unit, state),
            _lock(node["service"]),
            *_services(watched_services, runner),
        )
        if row
    ]


def _services(services, runner):
    for unit in (Unit(service, runner) for service in services):
        state = unit.state()
        if state.active == "failed":
            yield Row(
                "ERLMCP_SERVICE_FAILED",
                WARN,
                f"{unit.name} has failed ({state.result}){_said(unit.last_word())}: journalctl -u {unit.name} "
                "tells more",
                f"Once that is mended: systemctl start {unit.name}",
            )


def _said(text):
    return f" after it said: {printable(text)}" if text else ""


def _memory(unit, state):
    found = read_memory(state["pid"], unit) if state["running"] else None
    return near_memory(state["name"], *found) if found else []


def _restore(data_dir):
    state = read_state(data_dir)
    if not state or state["phase"] == STAGED:
        return None
    return Row(
        "ERLMCP_RESTORE_NOT_ENDED",
        CRIT,
        f"a restore of {data_dir} has not ended, and is {state['phase']}",
        f"Unless one is at work now, {the_playbook(state)} ends it, on all nodes that it was for",
    )


def _mnesia(observer, state):
    if state["distribution_error"] or not (state["store"] and state["store"]["state"] == "running"):
        return None
    try:
        answer = observer.node.evaluate(" ".join(_MNESIA.split()), timeout=2 * _MNESIA_SECONDS)
    except OpsError as error:
        if error.kind not in PASSING:
            raise
        return None
    if str(answer) != "hangs":
        return None
    return Row(
        "ERLMCP_MNESIA_HANGS",
        CRIT,
        f"Mnesia of {state['name']} has not ended a transaction within {_MNESIA_SECONDS} s",
        "Restart this node: ansible-playbook erlmcp.ops.restart -e erlmcp_cluster_force=true --limit {host}",
    )


def _unit(service, state):
    name, unit = service.name, state["unit"]
    if not unit["enabled"]:
        yield Row(
            "ERLMCP_UNIT_DISABLED",
            WARN,
            f"{name} is not enabled, so the node does not start when the host boots",
            "The playbook site enables it",
        )
    restarts = unit["automatic_restarts"]
    if restarts and state["running"]:
        yield Row(
            "ERLMCP_RESTARTED",
            WARN,
            f"systemd has started {name} again {restarts} times since somebody started it{_said(service.last_end())}",
            f"See more: journalctl -u {name}. The count begins anew with the next restart by a playbook",
        )
    if state["running"] and state["restart_required"]:
        yield Row(
            "ERLMCP_RESTART_DUE",
            WARN,
            f"a restart is due, because of {', '.join(state['restart_required'])}: what runs is not what is laid down",
            "Restart the nodes that are due, one at a time: ansible-playbook erlmcp.ops.roll",
        )


def _lock(service):
    record = look_at_lock(RUN_DIR, service)
    if record is None:
        return None
    return Row(
        "ERLMCP_LOCKED",
        WARN,
        f"{record['holder']['user']}@{record['holder']['host']} is at work: {record['what']}, since {record['since']}",
        f"Ask who that is. The lock ends at {record['expires']}; of a run that was killed, the next one on that "
        "control node takes it over",
    )
