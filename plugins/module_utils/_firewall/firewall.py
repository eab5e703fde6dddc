# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module ``firewall``: observe, plan, apply, look again."""

from __future__ import annotations

import os
import socket

from .._core.errors import OpsError
from .firewalld import Firewalld
from .nftables import Nftables
from .rules import client_address, plan, retirement, wanted_rules
from .ssh import observe_ssh
from .ufw import Ufw

# In the order in which `auto` prefers them.
BACKENDS = {"ufw": Ufw, "firewalld": Firewalld, "nftables": Nftables}


def firewall(module, runner):
    """Bring the host's firewall to the rules asked for, and return what changed."""
    options = module.params
    enabled = options["enabled"]
    states = {backend: backend.observe() for backend in (make(runner) for make in BACKENDS.values())}
    chosen = choose(options["backend"], states)
    if enabled and not chosen.installed and not module.check_mode:
        raise OpsError(
            f"{chosen.name} is not installed on this host: install the package {chosen.name}, "
            f"or use the role erlmcp.ops.erlmcp_firewall, which does",
            kind="firewall",
        )
    ssh = observe_ssh(runner, os.environ)
    wanted = wanted_rules(options["rules"], resolve, states[chosen].ipv6) if enabled else []
    plans = {chosen: plan(wanted, states[chosen], ssh, enabled)}
    for other in states:
        if other is chosen:
            continue
        if enabled:
            plans[other] = retirement(states[other], other.name, other.switch_off, chosen.name)
        else:
            plans[other] = plan([], states[other], ssh, False)
    changed = any(planned.changes for planned in plans.values())
    opened = sorted({port for planned in plans.values() for port in planned.ssh_opened})
    for port in opened:
        module.warn(
            f"No rule lets ssh in on port {port}{_from(ssh, port)}, so it is opened to everybody as 'ssh'. "
            f"Give a rule for it to narrow that."
        )
    for name in states[chosen].unclear if enabled and changed else ():
        module.warn(
            f"{name}, which is not ours, drops what no rule of it lets in, and this collection does not understand all "
            f"of its rules. What it drops stays closed: see that it lets in {', '.join(_closed(wanted))}"
        )
    if changed and not module.check_mode:
        _apply(plans)
        left = plan(wanted, chosen.observe(), ssh, enabled)
        if left.changes:
            # firewalld before 2.0 empties iptables, and with it ufw, when it stops.
            _apply({chosen: left})
            left = plan(wanted, chosen.observe(), ssh, enabled)
        if left.changes:
            raise OpsError(
                f"{chosen.name} took the commands without an error, yet the rules are not what was asked for: "
                f"does something else manage it at the same time?",
                kind="firewall",
            )
    planned = plans[chosen]
    return {
        "changed": changed,
        "pending": changed,
        "backend": chosen.name,
        "installed": chosen.installed,
        "enabled": (states[chosen].active or planned.enable) and not planned.disable,
        "added": [rule.as_dict() for each in plans.values() for rule in each.added],
        "removed": [rule.as_dict() for each in plans.values() for rule in each.removed],
        "kept": [rule.as_dict() for rule in planned.kept],
        "ssh_ports": list(ssh.ports),
        "ssh_opened": opened,
        "diff": _diff(states, {each: plans[each] for each in plans if each is chosen or plans[each].changes}),
    }


def choose(name, states):
    """Return the backend of this name; for ``auto`` the one in use, else one that is installed, else the first.

    :param states: dict from backend to :class:`State`, in the order of preference.
    """
    if name != "auto":
        return next(backend for backend in states if backend.name == name)
    in_use = [backend for backend, state in states.items() if state.in_use]
    installed = [backend for backend in states if backend.installed]
    return [*in_use, *installed, *states][0]


def resolve(name):
    """Return the addresses of a host name as this host sees them, as text; empty when there are none."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return list(dict.fromkeys(str(client_address(address[0])) for *_kind, address in found))


def _closed(rules):
    return list(dict.fromkeys(f"{rule.ports}/{rule.protocol}" for rule in rules if rule.action == "allow"))


def _from(ssh, port):
    return f" from {ssh.client}" if port == ssh.client_port else ""


def _apply(plans):
    """The one that is wanted comes first, so that it is complete before another one goes."""
    for backend, planned in plans.items():
        if planned.changes:
            backend.apply(planned)


def _diff(states, plans):
    return {
        "before": "".join(_before(backend.name, states[backend]) for backend in plans),
        "after": "".join(_after(backend.name, states[backend], plans[backend]) for backend in plans),
    }


def _before(name, state):
    return _listing(name, [rule for rule in state.rules if rule.own], state.active, state.incoming, state.outgoing)


def _after(name, state, planned):
    own = [rule for rule in state.rules if rule.own and rule not in planned.removed]
    return _listing(
        name,
        [*own, *planned.added],
        (state.active or planned.enable) and not planned.disable,
        "deny" if planned.deny_incoming else state.incoming,
        "allow" if planned.allow_outgoing else state.outgoing,
    )


def _listing(name, rules, active, incoming, outgoing):
    lines = [
        f"{name}: {'on' if active else 'off'}",
        f"default: {incoming} incoming, {outgoing} outgoing",
        *sorted(f"{rule.name}: {rule}" for rule in rules),
    ]
    return "\n".join(lines) + "\n"
