# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules as data: what is asked for, and the plan that gets a firewall there. Pure: no I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from .._core.errors import OpsError

# What marks a rule as ours; every other rule is somebody else's and is left alone.
OWNER = "erlmcp: "

_ANY = (ip_network("0.0.0.0/0"), ip_network("::/0"))
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.-]*")
_HOST_NAME = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?\.?")


@dataclass(frozen=True)
class Rule:
    """One rule for incoming connections, from one network.

    :param action: ``allow`` or ``limit`` let in; ``deny`` or ``reject`` keep out.
    :param protocol: ``tcp``, ``udp``, another protocol or ``any``.
    :param ports: ``22``, ``9100:9105``, several of these with commas between, or ``any``.
    :param source: an ``ipaddress`` network.
    :param comment: whose it is.
    :param partial: it also asks for an interface, a destination or a source port.
    """

    action: str
    protocol: str
    ports: str
    source: object
    comment: str = ""
    partial: bool = False

    @property
    def key(self):
        """What tells two rules apart for the firewall; it keeps one comment for each."""
        return self.protocol, self.ports, self.source

    @property
    def lets_in(self):
        return self.action in ("allow", "limit")

    @property
    def own(self):
        return self.action == "allow" and not self.partial and self.comment.startswith(OWNER)

    @property
    def name(self):
        return self.comment[len(OWNER) :] if self.comment.startswith(OWNER) else self.comment

    @property
    def address(self):
        """The source as firewalls print it: a host has no length of a prefix."""
        return str(self.source.network_address if self.source.prefixlen == self.source.max_prefixlen else self.source)

    def covers_port(self, protocol, low, high):
        return self.protocol in (protocol, "any") and any(
            first <= low and high <= last for first, last in _ranges(self.ports)
        )

    def covers(self, other):
        """Whether everything that ``other`` matches is matched by this rule."""
        return (
            all(self.covers_port(other.protocol, *each) for each in _ranges(other.ports))
            and self.source.version == other.source.version
            and other.source.subnet_of(self.source)
        )

    def as_dict(self):
        return {"name": self.name, "port": self.ports, "protocol": self.protocol, "source": str(self.source)}

    def __str__(self):
        return f"{self.action} {self.ports}/{self.protocol} from {self.source}"


@dataclass(frozen=True)
class State:
    """What a firewall says of itself. The defaults are those of a fresh installation.

    :param active: it filters now and will after a boot, both with the same rules of ours.
    :param in_use: it filters now or will after a boot.
    :param incoming: ``allow``, ``deny`` or ``reject``: what happens where no rule matches.
    :param rules: tuple of :class:`Rule` in the order in which they are tried.
    :param chains: pairs of a name and a tuple of :class:`Rule`: what else a connection has to get through.
    :param unclear: names of chains that drop what no rule lets in, and have a rule that is not understood.
    :param foreign: one thing that others have set up in it, as text; empty when there is none.
    :param ours: it is nothing but our rules, and goes with them.
    """

    active: bool = False
    in_use: bool = False
    incoming: str = "deny"
    outgoing: str = "allow"
    ipv6: bool = True
    rules: tuple = ()
    chains: tuple = ()
    unclear: tuple = ()
    foreign: str = ""
    ours: bool = False


@dataclass(frozen=True)
class SshAccess:
    """How the host is reached.

    :param ports: every TCP port that must stay open for ssh.
    :param client: address of the client whose session this run belongs to, or ``None``.
    :param client_port: the port of this host that the client is connected to.
    """

    ports: tuple = ()
    client: object = None
    client_port: int | None = None


@dataclass(frozen=True)
class Plan:
    """What has to change. Rules are in the order in which they are added.

    :param kept: rules that are wanted and let in already, by a rule of ours or of somebody else.
    :param rules: all that the firewall holds of ours afterwards.
    """

    added: tuple = ()
    removed: tuple = ()
    kept: tuple = ()
    rules: tuple = ()
    deny_incoming: bool = False
    allow_outgoing: bool = False
    enable: bool = False
    disable: bool = False
    ssh_opened: tuple = ()

    @property
    def changes(self):
        return bool(
            self.added or self.removed or self.deny_incoming or self.allow_outgoing or self.enable or self.disable
        )


def wanted_rules(rules, resolve, ipv6):
    """Turn the option ``rules`` into :class:`Rule` objects, one per source network.

    :param rules: list of dicts with ``name``, ``port``, ``protocol``, ``sources``, ``enabled``.
    :param resolve: function from a host name to a list of addresses as text, empty when it does not resolve.
    :param ipv6: whether the firewall handles IPv6.
    :raises OpsError: names the rule and the value that is wrong.
    """
    names = set()
    found = {}
    for rule in rules:
        name = rule["name"]
        if not _NAME.fullmatch(name):
            raise _invalid(name, "its name may hold letters, digits, spaces and . _ - only, letter or digit first")
        if name in names:
            raise _invalid(name, "two rules have this name; rename or join them (sources is a list)")
        names.add(name)
        if not rule["enabled"]:
            continue
        ports = _ports(name, rule["port"])
        for source in rule["sources"]:
            networks = [net for net in _networks(name, source, resolve) if ipv6 or net.version == 4]
            if not networks:
                raise _invalid(name, f"{source!r} is IPv6 only, and IPv6 is switched off in this firewall")
            for network in networks:
                each = Rule("allow", rule["protocol"], ports, network, OWNER + name)
                found.setdefault(each.key, each)
    return list(found.values())


def plan(wanted, state, ssh, enabled):
    """Find the way from ``state`` to ``wanted`` without ever keeping ssh out.

    :param wanted: list of :class:`Rule`; none when ``enabled`` is false.
    :param state: :class:`State`.
    :param ssh: :class:`SshAccess`.
    :param enabled: false takes our rules away and leaves the firewall as on or off as it is.
    :raises OpsError: when somebody else's rule would undo a wanted one, or keep this run's ssh client out.
    """
    _refuse_conflicts(wanted, state)
    wanted = _ssh_first(wanted, ssh.ports)
    opened = ()
    if enabled or (state.in_use and not state.ours):
        opened = _ssh_ports_kept_out(wanted, state, ssh, enabled)
        wanted = _ssh_rules(opened, state.ipv6) + wanted
        _refuse_to_cut_off(wanted, state, ssh, enabled)
    others = {rule.key for rule in state.rules if not rule.own and not rule.partial and rule.lets_in}
    own = {rule.key: rule for rule in state.rules if rule.own}
    added = [rule for rule in wanted if rule.key not in others and own.get(rule.key) != rule]
    return Plan(
        added=tuple(added),
        removed=tuple(rule for rule in own.values() if rule not in wanted),
        kept=tuple(rule for rule in wanted if rule not in added),
        rules=tuple(rule for rule in wanted if rule in added or rule.key in own),
        deny_incoming=enabled and state.incoming == "allow",
        allow_outgoing=enabled and state.outgoing != "allow",
        enable=enabled and not state.active,
        disable=not enabled and state.in_use and state.ours,
        ssh_opened=tuple(opened),
    )


def retirement(state, name, switch_off, successor):
    """Find the way out of a firewall whose place another one takes: off, and without our rules.

    :param state: :class:`State` of the firewall that goes.
    :param name: its name.
    :param switch_off: the command that switches it off by hand.
    :param successor: name of the one that comes.
    :raises OpsError: when it is on and others have set up something in it, which would go on filtering or be lost.
    """
    if state.in_use and state.foreign:
        raise OpsError(
            f"{name} is on too, and what {successor} lets in it would still keep out. It is not switched off, because "
            f"it holds what others have set up: '{state.foreign}'. Move that to {successor} and run '{switch_off}', or "
            f"keep {name} (erlmcp_firewall_backend: {name})",
            kind="firewall",
        )
    return Plan(removed=tuple(rule for rule in state.rules if rule.own), disable=state.in_use)


def _ports(name, port):
    bounds = port.split(":")
    if all(re.fullmatch(r"[0-9]{1,5}", each) for each in bounds):
        numbers = [int(each) for each in bounds]
        rising = len(numbers) == 1 or (len(numbers) == 2 and numbers[0] < numbers[1])
        if rising and all(1 <= each <= 65535 for each in numbers):
            return ":".join(str(each) for each in numbers)
    raise _invalid(name, f"{port!r} is no port: give 1 to 65535, or a rising range like '9100:9105'")


def _networks(name, source, resolve):
    if source == "any":
        return list(_ANY)
    if _HOST_NAME.fullmatch(source):
        addresses = resolve(source)
        if not addresses:
            raise _invalid(
                name,
                f"the host name {source!r} does not resolve on this host; add it to DNS or /etc/hosts there, "
                f"or give its address",
            )
        return [ip_network(each) for each in addresses]
    try:
        return [ip_network(source)]
    except ValueError as error:
        raise _invalid(
            name,
            f"{source!r} is no source ({error}); give 'any', an address, a network like 10.0.0.0/8, or a host name",
        ) from error


def _invalid(name, problem):
    return OpsError(f"firewall rule {name!r}: {problem}", kind="firewall", rule=name)


def _ranges(ports):
    if ports == "any":
        return [(0, 65535)]
    bounds = [each.split(":") for each in ports.split(",")]
    return [(int(each[0]), int(each[-1])) for each in bounds]


def _ssh_first(rules, ports):
    return sorted(rules, key=lambda rule: not any(rule.covers_port("tcp", port, port) for port in ports))


def _ssh_rules(ports, ipv6):
    sources = _ANY if ipv6 else _ANY[:1]
    return [Rule("allow", "tcp", str(port), source, f"{OWNER}ssh") for port in ports for source in sources]


def _outcome(wanted, state):
    """The rules as they are tried once the plan is applied: new ones come last."""
    keys = {rule.key for rule in wanted}
    stay = [rule for rule in state.rules if not rule.own or rule.key in keys]
    there = {rule.key for rule in stay if not rule.partial}
    return stay + [rule for rule in wanted if rule.key not in there]


def _ssh_ports_kept_out(wanted, state, ssh, enabled):
    rules = _outcome(wanted, state)
    policy_lets_in = not enabled and state.incoming == "allow"
    return [port for port in ssh.ports if not _ssh_gets_in(rules, port, ssh, policy_lets_in)]


def _ssh_gets_in(rules, port, ssh, policy_lets_in):
    if port != ssh.client_port:
        return policy_lets_in or any(
            rule.lets_in and not rule.partial and rule.covers_port("tcp", port, port) for rule in rules
        )
    decisive = _decisive_rule(rules, port, ssh.client)
    return decisive.lets_in if decisive else policy_lets_in


def _decisive_rule(rules, port, client):
    """The first rule that matches. Whether a partial one does is unknown: one that keeps out counts, to be safe."""
    for rule in rules:
        if rule.partial and rule.lets_in:
            continue
        if rule.covers_port("tcp", port, port) and client in rule.source:
            return rule
    return None


def _refuse_conflicts(wanted, state):
    for rule in wanted:
        blocker = _blocker(rule, _outcome(wanted, state))
        if blocker:
            raise _invalid(
                rule.name,
                f"it would have no effect, because the firewall holds a rule of somebody else before it: "
                f"'{blocker}'. Delete that rule by hand, or take this one off the list",
            )
        for chain, rules in state.chains:
            blocker = _blocker(rule, rules)
            if blocker:
                raise _invalid(
                    rule.name,
                    f"it would have no effect, because {chain} of somebody else keeps out the same: '{blocker}'. "
                    f"Let it in there too, delete that chain by hand, or take this rule off the list",
                )


def _blocker(rule, rules):
    """The first of ``rules`` that keeps out all that ``rule`` lets in, unless it is let in before."""
    for earlier in rules:
        if not earlier.partial and earlier.covers(rule):
            return None if earlier.lets_in else earlier
    return None


def _refuse_to_cut_off(wanted, state, ssh, enabled):
    for port in _ssh_ports_kept_out(wanted, state, ssh, enabled):
        decisive = _decisive_rule(_outcome(wanted, state), port, ssh.client)
        if decisive:
            reason, action = f"somebody else's rule '{decisive}'", "Delete or narrow that rule by hand"
        else:
            reason, action = "its having IPv6 switched off", "Switch that on, or connect over IPv4"
        raise OpsError(
            f"the firewall is left as it is, because {reason} would cut off ssh from {ssh.client} to port {port}. "
            f"{action}",
            kind="ssh",
            client=str(ssh.client),
            port=port,
        )


def client_address(text):
    """Return the address in ``text``, as the firewall sees it: no zone, and IPv4 when it is mapped into IPv6."""
    address = ip_address(text.split("%")[0])
    return getattr(address, "ipv4_mapped", None) or address
