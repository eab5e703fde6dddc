# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module ``firewall``: observe, plan, apply, look again."""

from __future__ import annotations

import os
import socket

from .._core.errors import OpsError
from .rules import client_address, plan, wanted_rules
from .ssh import observe_ssh
from .ufw import Ufw

BACKENDS = {"ufw": Ufw}


def firewall(module, runner):
    """Bring the host's firewall to the rules asked for, and return what changed."""
    options = module.params
    backend = BACKENDS[options["backend"]](runner)
    if options["enabled"] and not backend.installed and not module.check_mode:
        raise OpsError(
            f"{backend.name} is not installed on this host: install the package {backend.name}, "
            f"or use the role erlmcp.ops.erlmcp_firewall, which does",
            kind="firewall",
        )
    state = backend.observe()
    ssh = observe_ssh(runner, os.environ)
    wanted = wanted_rules(options["rules"], resolve, state.ipv6) if options["enabled"] else []
    planned = plan(wanted, state, ssh, options["enabled"])
    for port in planned.ssh_opened:
        module.warn(
            f"No rule lets ssh in on port {port}{_from(ssh, port)}, so it is opened to everybody as 'ssh'. "
            f"Give a rule for it to narrow that."
        )
    if planned.changes and not module.check_mode:
        backend.apply(planned)
        if plan(wanted, backend.observe(), ssh, options["enabled"]).changes:
            raise OpsError(
                f"{backend.name} took the commands without an error, yet the rules are not what was asked for: "
                f"does something else manage it at the same time?",
                kind="firewall",
            )
    return {
        "changed": planned.changes,
        "backend": backend.name,
        "enabled": state.active or planned.enable,
        "added": [rule.as_dict() for rule in planned.added],
        "removed": [rule.as_dict() for rule in planned.removed],
        "kept": [rule.as_dict() for rule in planned.kept],
        "ssh_ports": list(ssh.ports),
        "ssh_opened": list(planned.ssh_opened),
        "diff": _diff(state, planned),
    }


def resolve(name):
    """Return the addresses of a host name as this host sees them, as text; empty when there are none."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return list(dict.fromkeys(str(client_address(address[0])) for *_kind, address in found))


def _from(ssh, port):
    return f" from {ssh.client}" if port == ssh.client_port else ""


def _diff(state, planned):
    own = [rule for rule in state.rules if rule.own]
    after = [rule for rule in own if rule not in planned.removed] + list(planned.added)
    return {
        "before": _listing(own, state.active, state.incoming, state.outgoing),
        "after": _listing(
            after,
            state.active or planned.enable,
            "deny" if planned.deny_incoming else state.incoming,
            "allow" if planned.allow_outgoing else state.outgoing,
        ),
    }


def _listing(rules, active, incoming, outgoing):
    lines = [
        f"firewall: {'on' if active else 'off'}",
        f"default: {incoming} incoming, {outgoing} outgoing",
        *sorted(f"{rule.name}: {rule}" for rule in rules),
    ]
    return "\n".join(lines) + "\n"
