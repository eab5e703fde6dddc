# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What other chains of nftables do to a new connection. Pure: no I/O.

In nftables a connection has to get through every chain of the hook: one that drops wins over all that accept. Only
what is certain is read from the chains of others. Where a rule is not understood, reading stops. A chain that drops
what no rule lets in is named then.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import ip_network

from .rules import Rule

_FAMILIES = {"ip": ["0.0.0.0/0"], "ip6": ["::/0"], "inet": ["0.0.0.0/0", "::/0"]}
_IGNORED = {"match", "counter", "log"}
_NO_TCP_OR_UDP = {"icmp", "ipv6-icmp", "icmpv6", "igmp"}


def input_chains(ruleset, own_table):
    """Return pairs of a name and a tuple of :class:`Rule`, of which the first that matches decides.

    :param ruleset: output of ``nft -j list ruleset``.
    :param own_table: family and name of the table that is left out.
    """
    return tuple((name, read.rules) for name, read in _chains(ruleset, own_table) if read.rules)


def unclear_chains(ruleset, own_table):
    """Return the names of the chains that drop what no rule lets in, and have a rule that is not understood."""
    return tuple(name for name, read in _chains(ruleset, own_table) if read.is_unclear)


@dataclass(frozen=True)
class _Read:
    """What is certain of a chain.

    :param rules: tuple of :class:`Rule`.
    :param stopped: whether a rule was not understood.
    :param drops: whether what no rule lets in is dropped.
    """

    rules: tuple
    stopped: bool
    drops: bool

    @property
    def is_unclear(self):
        return self.stopped and self.drops


def _chains(ruleset, own_table):
    items = json.loads(ruleset)["nftables"]
    rules = [item["rule"] for item in items if "rule" in item]
    found = []
    for chain in (item["chain"] for item in items if "chain" in item):
        table = f"{chain['family']} {chain['table']}"
        if table == own_table or chain.get("hook") != "input" or chain["family"] not in _FAMILIES:
            continue
        place = (chain["family"], chain["table"], chain["name"])
        expressions = [rule["expr"] for rule in rules if (rule["family"], rule["table"], rule["chain"]) == place]
        found.append((f"chain {chain['name']} of table {table}", _read(expressions, chain)))
    return found


def _read(expressions, chain):
    rules, stop = _certain(expressions, chain)
    return _Read(tuple(rules), bool(stop), chain.get("policy") == "drop")


def _certain(expressions, chain):
    """Return the list of rules, and whether reading has stopped at one that is not understood."""
    found = []
    for expression in expressions:
        matches = [part["match"] for part in expression if "match" in part]
        keys = {key for part in expression for key in part} - _IGNORED
        ports = [port for port in map(_ports, matches) if port]
        if keys == {"accept"}:
            if any(map(_is_no_new_connection, matches)):
                continue
            if not ports:
                # Whatever is new gets in, or some of it.
                return found, any(not _is_new(match) for match in matches)
            # It may ask for more, and let in less: then nothing is certain for these ports.
            found += _rules("allow", *ports[0], chain)
        elif keys and keys <= {"drop", "reject"}:
            if not matches:
                return found + _rules("deny", "any", "any", chain), False
            if len(matches) == len(ports) == 1:
                found += _rules("deny", *ports[0], chain)
        elif keys:
            return found, True
    return found + (_rules("deny", "any", "any", chain) if chain.get("policy") == "drop" else []), False


def _rules(action, protocol, ports, chain):
    return [Rule(action, protocol, ports, ip_network(source)) for source in _FAMILIES[chain["family"]]]


def _ports(match):
    """Protocol and ports, as in a :class:`Rule`, when it is for destination ports and nothing else."""
    payload = _payload(match)
    values = _values(match)
    if match["op"] != "==" or payload.get("field") != "dport" or payload["protocol"] not in ("tcp", "udp", "th"):
        return None
    if not all(isinstance(value, int) or (isinstance(value, dict) and "range" in value) for value in values):
        return None
    ports = [":".join(map(str, value["range"])) if isinstance(value, dict) else str(value) for value in values]
    return ("any" if payload["protocol"] == "th" else payload["protocol"]), ",".join(ports)


def _is_new(match):
    return isinstance(match["left"], dict) and match["left"].get("ct") == {"key": "state"}


def _is_no_new_connection(match):
    """Whether it matches neither TCP nor UDP, or nothing that comes new and from elsewhere."""
    left = match["left"] if isinstance(match["left"], dict) else {}
    values = [value for value in _values(match) if isinstance(value, str)]
    if match["op"] not in ("==", "in") or len(values) != len(_values(match)):
        return False
    if left.get("ct") == {"key": "state"}:
        return "new" not in values and "untracked" not in values
    payload = _payload(match)
    if left.get("meta") == {"key": "l4proto"} or payload in (
        {"protocol": "ip", "field": "protocol"},
        {"protocol": "ip6", "field": "nexthdr"},
    ):
        return _NO_TCP_OR_UDP.issuperset(values)
    return (
        left.get("meta") in ({"key": "iif"}, {"key": "iifname"})
        and values == ["lo"]
        or (payload.get("protocol") in ("icmp", "icmpv6"))
    )


def _payload(match):
    left = match["left"]
    return left.get("payload", {}) if isinstance(left, dict) else {}


def _values(match):
    right = match["right"]
    if isinstance(right, dict) and "set" in right:
        right = right["set"]
    return right if isinstance(right, list) else [right]
