# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Wait until a node serves and sees its cluster. What it does not see by itself it is connected to."""

from __future__ import annotations

import json
import os

from .._cluster.peers import connect
from .._config.live import named_peers
from .._core.errors import OpsError
from .._erlang.listeners import listeners, unnamed
from .._erlang.node import PASSING, function_name
from .._tls.lifetime import lifetime
from .around import look_around, look_closely
from .exclusion import wait_for_others
from .observe import Expected, Observer, members_missing, not_healthy

# A release that connects by itself has done so by then: the reference release looks for its peers each second.
_PATIENCE_SECONDS = 2


def node_ready(module, runner):
    """The module ``node_ready``."""
    options = module.params
    if options["connections_function"]:
        function_name(options["connections_function"])
    wait_for_others(options["node"])
    observer = Observer(options["node"], options["health"], runner)
    expected = Expected.of(options)

    def lost(state):
        return options["expect_pid"] is not None and state["pid"] != options["expect_pid"]

    def observe(seconds):
        return observer.observe_until(
            lambda state: expected.met(state) or lost(state),
            seconds,
            connections_function=options["connections_function"],
        )

    state = observe(min(options["wait_seconds"], _PATIENCE_SECONDS))
    connected = (
        [] if lost(state) else connect_missing(observer, state, expected.members, options["ports"], module.check_mode)
    )
    if connected and module.check_mode:
        state["members"] = sorted({*state["members"], *connected})
    elif not (expected.met(state) or lost(state)):
        state = observe(options["wait_seconds"])
    report = _report(module, observer, state, runner)
    if options["required"] and lost(state):
        raise OpsError(
            f"{state['name']} does not stay up: process {options['expect_pid']}, as which it was started, has ended. "
            f"See journalctl -u {observer.unit.name}",
            kind="health",
            state=json.loads(json.dumps(state, default=str)),
        )
    if options["required"] and not expected.met(state):
        raise not_healthy(expected, state)
    for text in _unnamed_listeners(observer.node, state, options["known_ports"]):
        module.warn(text)
    return {
        "changed": bool(connected),
        "connected": connected,
        "diff": _diff(state["name"], connected),
        **expected.missed(state),
        **state,
        **report,
    }


def _report(module, observer, state, runner):
    """Warn of what is not right, or, where nothing is required, report all that can be seen."""
    options = module.params
    if options["required"]:
        return {"checks": look_around(module, runner)}
    rows = look_closely(observer, state, options["watched_services"], runner)
    journal = [] if state["health"]["healthy"] else observer.unit.last_lines()
    certificate = lifetime(options["health"]["tls_dir"], options["tls_renew_days"], runner)
    return {"checks": [row.as_dict() for row in rows], "journal": journal, "certificate": certificate}


def connect_missing(observer, state, members, ports, check_mode):
    """Connect a node to the members that its config names and that it does not see; return their names.

    Not to one with which it shares its tables: Mnesia connects to those itself, unless it takes them for down. Then
    rows may differ, and what to do is the operator's choice (playbook repair_partition).
    """
    missing = members_missing(state, members)
    if not (missing and ports) or state["distribution_error"] is not None:
        return []
    with open(os.path.join(observer.spec["config_dir"], "sys.config"), "rb") as stream:
        named = named_peers(stream.read())
    sharing = set(observer.store.members) if observer.store else set()
    names = sorted(named.intersection(missing) - sharing)
    return connect(observer.node, names, ports, check_mode)


def _unnamed_listeners(node, state, ports):
    """Say what the release has opened that nobody has named."""
    if not ports or state["distribution_error"] is not None:
        return []
    try:
        found = listeners(node)
    except OpsError as error:
        if error.kind not in PASSING:
            raise
        return []
    return [
        f"{node.name} listens on {each['address']} port {each['port']}, which "
        f"{'its application ' + each['application'] if each['application'] else 'one of its processes'} has opened and "
        "the inventory does not name. Close it, or bind it to 127.0.0.1, with erlmcp_node_config; the role "
        "erlmcp_firewall lets nobody in there"
        for each in unnamed(found, ports)
    ]


def _diff(name, connected):
    if not connected:
        return {}
    return {"before": "", "after": f"{name}: connected to {', '.join(connected)}\n"}
