# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The backend ufw.

It is observed through its own files, not through its answers. ``ufw show added`` prints the same line for a rule of
IPv4, of IPv6 or of both, and hides part of what it knows; the ``### tuple ###`` lines are what ufw itself reads back
at every start, one per rule and family, with the comment. ufw has no other memory. Only whether the rules are loaded
has to be asked of the kernel.
"""

from __future__ import annotations

import os
import re
import shutil
from ipaddress import ip_network

from .._core.errors import OpsError
from .._core.runner import SEARCH_PATH
from .rules import Rule, State

_POLICIES = {"accept": "allow", "drop": "deny", "reject": "reject"}
_TUPLE = "### tuple ### "


class Ufw:
    """ufw on this host.

    :param runner: a :class:`Runner`.
    :param root: where the host's files are.
    """

    name = "ufw"
    switch_off = "ufw disable"

    def __init__(self, runner, root="/"):
        self.runner = runner
        self.root = root

    @property
    def installed(self):
        return shutil.which("ufw", path=SEARCH_PATH) is not None

    def observe(self):
        """Return the :class:`State`; without ufw, that of a fresh installation."""
        if not self.installed:
            return State()
        defaults = self._settings("etc/default/ufw", "IPV6", "DEFAULT_INPUT_POLICY", "DEFAULT_OUTPUT_POLICY")
        ipv6 = defaults["IPV6"] == "yes" and os.path.exists(self._path("proc/sys/net/ipv6"))
        files = ["etc/ufw/user.rules", "etc/ufw/user6.rules"] if ipv6 else ["etc/ufw/user.rules"]
        lines = [line for file in files for line in _lines(self._read(file))]
        in_use = self._settings("etc/ufw/ufw.conf", "ENABLED")["ENABLED"] == "yes"
        return State(
            active=in_use and self._loaded(),
            in_use=in_use,
            incoming=_POLICIES[defaults["DEFAULT_INPUT_POLICY"]],
            outgoing=_POLICIES[defaults["DEFAULT_OUTPUT_POLICY"]],
            ipv6=ipv6,
            rules=tuple(rule for rule in map(_parse_rule, lines) if rule),
            foreign=next((line for line in lines if not _is_own(line)), ""),
        )

    def apply(self, plan):
        """Carry out the :class:`Plan`; what is wanted is added before anything is taken away."""
        for argv in commands(plan):
            done = self.runner.run(argv)
            if not done.ok:
                raise OpsError(f"{' '.join(argv)} failed: {(done.err or done.out).strip()}", kind="firewall", argv=argv)

    def _loaded(self):
        # As ufw itself finds out. 1 says that there is no such chain.
        done = self.runner.run(["iptables", "-w", "10", "-n", "-L", "ufw-user-input"])
        if done.rc not in (0, 1):
            raise OpsError(f"iptables failed: {done.err.strip()}", kind="firewall")
        return done.ok

    def _path(self, file):
        return os.path.join(self.root, file)

    def _read(self, file):
        try:
            with open(self._path(file), encoding="utf-8") as stream:
                return stream.read()
        except OSError as error:
            raise OpsError(
                f"ufw is installed, but its file /{file} cannot be read ({error.strerror}); "
                f"run as root, or reinstall the package ufw",
                kind="firewall",
            ) from error

    def _settings(self, file, *names):
        # Read as leniently as ufw does: any case, quoted or not, the last one wins.
        found = re.findall(r"""^(\w+)=["']?(\w+)""", self._read(file), re.MULTILINE)
        values = {name.upper(): value.lower() for name, value in found}
        missing = [name for name in names if name not in values]
        if missing:
            raise OpsError(
                f"/{file} does not set {', '.join(missing)}; restore it from the package ufw", kind="firewall"
            )
        return values


def commands(plan):
    """Return the commands of a :class:`Plan` in their order, each a list of strings."""
    added = {rule.key for rule in plan.added}
    found = [["ufw", "disable"]] if plan.disable else []
    found += [["ufw", "allow", *_described(rule)] for rule in plan.added]
    if plan.deny_incoming:
        found.append(["ufw", "default", "deny", "incoming"])
    if plan.allow_outgoing:
        found.append(["ufw", "default", "allow", "outgoing"])
    if plan.enable:
        found.append(["ufw", "--force", "enable"])
    # ufw keeps one comment for a rule: adding it under a new name has replaced the old name already.
    found += [["ufw", "delete", "allow", *_described(rule)] for rule in plan.removed if rule.key not in added]
    return found


def _lines(text):
    return [line[len(_TUPLE) :] for line in text.splitlines() if line.startswith(_TUPLE)]


def _parse_rule(line):
    words, _separator, comment = line.partition(" comment=")
    action, protocol, ports, destination, source_port, source, *rest = words.split()
    direction, _separator, interface = rest[-1].partition("_")
    if direction != "in" or action.startswith("route:"):
        return None
    return Rule(
        action=action.partition("_")[0],
        protocol=protocol,
        ports=ports,
        source=ip_network(source),
        comment=bytes.fromhex(comment).decode("utf-8", "replace"),
        partial=bool(interface) or source_port != "any" or not destination.endswith("/0"),
    )


def _is_own(line):
    rule = _parse_rule(line)
    return rule is not None and rule.own


def _described(rule):
    # A rule from "any" would be two, one a family; with the network in full it is exactly the planned one.
    # The comment makes a deletion miss a rule that somebody has made his own since.
    return [
        *("proto", rule.protocol, "from", rule.address, "to", "any", "port", rule.ports),
        *("comment", rule.comment),
    ]
