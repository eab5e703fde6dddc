# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The backend firewalld: one policy that is ours, from one file.

Rich rules carry no comment, so what is ours is told by where it is. A zone of our own would take traffic away from the
zones of others, and services of our own in their zones would need a reload for every change, which loses what others
have set up at run time only, such as bans. A policy lets in across all zones and takes nothing away: it is tried after
the rules of the zone, so whom those keep out stays out, and what it does not let in goes on to the target of the zone.
Its file is replaced in one step, and names the rules in the description. Only its first arrival takes a reload; rules
are then added to and taken from what runs.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
import shutil
from ipaddress import ip_network

from .._core.errors import OpsError
from .._core.files import read_if_there, write_atomically
from .._core.runner import SEARCH_PATH
from .rules import OWNER, Rule, State

POLICY = "erlmcp_ops"
FILE = f"etc/firewalld/policies/{POLICY}.xml"
BOOT_LINK = "etc/systemd/system/multi-user.target.wants/firewalld.service"

_DESCRIBED = re.compile(rf"^({OWNER}.+): allow (\S+)/(\S+) from (\S+)$", re.MULTILINE)
# Others are not read: they ask for more, so whom they keep out is unknown.
_DENIAL = re.compile(
    r"^\trule "
    r'(?:priority="\S+" )?(?:family="ipv(?P<family>[46])" )?(?:source address="(?P<source>\S+)" )?'
    r'(?:service name="(?P<service>\S+)" |port port="(?P<ports>\S+)" protocol="(?P<protocol>\S+)" )?'
    r"(?:log .*)?(?:drop|reject)\b",
    re.MULTILINE,
)
_FRESH_ZONE = {"target": "default", "services": "dhcpv6-client ssh", "ports": ""}
_ANY = {"4": "0.0.0.0/0", "6": "::/0"}


class Firewalld:
    """firewalld on this host.

    :param runner: a :class:`Runner`.
    :param root: where the host's files are.
    """

    name = "firewalld"
    switch_off = "systemctl disable --now firewalld"

    def __init__(self, runner, root="/"):
        self.runner = runner
        self.root = root

    @property
    def installed(self):
        return shutil.which("firewall-cmd", path=SEARCH_PATH) is not None

    def observe(self):
        """Return the :class:`State`; without firewalld, that of a fresh installation, whose zone lets in ssh."""
        if not self.installed:
            return State(rules=tuple(let_in([_FRESH_ZONE])))
        running = self._running()
        at_boot = os.path.lexists(self._path(BOOT_LINK))
        zones = used_zones(self._list_zones(running), self._default_zone())
        written = self._read(FILE)
        rules = parse_policy(written)
        in_step = written == (policy(rules) if rules else "") and set(self._live() or ()) == set(map(rich_rule, rules))
        return State(
            active=running and at_boot and in_step,
            in_use=running or at_boot,
            incoming="allow" if any(zone["target"] == "ACCEPT" for zone in zones) else "deny",
            ipv6=os.path.exists(self._path("proc/sys/net/ipv6")),
            rules=(*denials(zones), *let_in(zones, self._ssh_is_redefined()), *rules),
            foreign=self._foreign(),
        )

    def apply(self, plan):
        """Carry out the :class:`Plan`; what is wanted is added before anything is taken away."""
        if plan.disable:
            self._run("systemctl", "disable", "--now", "firewalld")
        running = self._running()
        live = self._live() if running else None
        wanted = [rich_rule(rule) for rule in plan.rules]
        if wanted:
            os.makedirs(os.path.dirname(self._path(FILE)), exist_ok=True)
            write_atomically(self._path(FILE), policy(plan.rules).encode())
        if running and wanted and live is None:
            self._run("firewall-cmd", "--reload")
        if live is not None:
            self._change_live("add", [rule for rule in wanted if rule not in live])
        if plan.deny_incoming:
            self._run("firewall-cmd" if running else "firewall-offline-cmd", "--set-default-zone=public")
        if plan.enable:
            # Where packages may not start or reload services, D-Bus does not know polkit yet, and firewalld would hang.
            self._run("systemctl", "reload", "dbus")
            self._run("systemctl", "enable", "--now", "firewalld")
            # systemctl does not wait for the rules, this does.
            self._run("firewall-cmd", "--state")
        if live is not None:
            self._change_live("remove", [rule for rule in live if rule not in wanted])
        if not wanted:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path(FILE))

    def _change_live(self, verb, rules):
        if rules:
            self._run("firewall-cmd", f"--policy={POLICY}", *(f"--{verb}-rich-rule={rule}" for rule in rules))

    def _running(self):
        return self.runner.run(["firewall-cmd", "--state"]).ok

    def _live(self):
        """The rules of our policy that filter now, or ``None`` when firewalld does not run or has no such policy."""
        done = self.runner.run(["firewall-cmd", f"--policy={POLICY}", "--list-rich-rules"])
        return done.out.strip().splitlines() if done.ok else None

    def _list_zones(self, running):
        if not running:
            return self._run("firewall-offline-cmd", "--list-all-zones")
        # A service that is gone from either is not let in for good.
        return "\n".join(self._run("firewall-cmd", *when, "--list-all-zones") for when in ([], ["--permanent"]))

    def _default_zone(self):
        found = re.findall(r"^DefaultZone=(\S+)", self._read("etc/firewalld/firewalld.conf"), re.MULTILINE)
        return found[-1] if found else "public"

    def _ssh_is_redefined(self):
        return os.path.exists(self._path("etc/firewalld/services/ssh.xml"))

    def _foreign(self):
        """A file that neither the package nor we have made."""
        files = [
            file
            for pattern in ("direct.xml", "*/*.xml")
            for file in glob.glob(self._path(f"etc/firewalld/{pattern}"))
            if file != self._path(FILE)
        ]
        return min(files, default="")

    def _run(self, *argv):
        done = self.runner.run(list(argv))
        if not done.ok:
            raise OpsError(f"{' '.join(argv)} failed: {(done.err or done.out).strip()}", kind="firewall", argv=argv)
        return done.out

    def _path(self, file):
        return os.path.join(self.root, file)

    def _read(self, file):
        return (read_if_there(self._path(file)) or b"").decode("utf-8", "replace")


def policy(rules):
    """Return the file of our policy."""
    return "".join(
        f"{line}\n"
        for line in [
            '<?xml version="1.0" encoding="utf-8"?>',
            '<policy priority="100" target="CONTINUE">',
            "  <short>erlmcp.ops</short>",
            "  <description>Made by Ansible (erlmcp.ops.firewall).",
            *(f"{rule.comment}: {rule}" for rule in rules),
            "  </description>",
            '  <ingress-zone name="ANY"/>',
            '  <egress-zone name="HOST"/>',
            *map(_xml, rules),
            "</policy>",
        ]
    )


def parse_policy(text):
    """Return the rules that the description of our policy names, in their order."""
    return [
        Rule("allow", protocol, ports, ip_network(source), comment)
        for comment, ports, protocol, source in _DESCRIBED.findall(text)
    ]


def rich_rule(rule):
    """Return a rule as firewalld prints it."""
    source = f'source address="{rule.address}" ' if rule.source.prefixlen else ""
    return (
        f'rule family="ipv{rule.source.version}" {source}'
        f'port port="{_dashed(rule.ports)}" protocol="{rule.protocol}" accept'
    )


def used_zones(text, default):
    """Return the zones that connections may come in by, in the output of ``--list-all-zones``.

    :param default: name of the default zone.
    """
    zones = []
    for block in re.split(r"\n+(?=\S)", text.strip()):
        name, _newline, body = block.partition("\n")
        zone = dict(re.findall(r"^  (\S+): *(.*)$", body, re.MULTILINE), text=block)
        if name.split()[0] == default or zone["interfaces"] or zone["sources"]:
            zones.append(zone)
    return zones


def denials(zones):
    """Return the rules by which zones keep out; each holds for some interfaces only."""
    rules = []
    for found in _DENIAL.finditer("\n".join(zone["text"] for zone in zones)):
        protocol, ports = found["protocol"] or "any", (found["ports"] or "any").replace("-", ":")
        if found["service"]:
            if found["service"] != "ssh":
                continue
            protocol, ports = "tcp", "22"
        sources = [found["source"]] if found["source"] else [_ANY[each] for each in found["family"] or "46"]
        rules += [Rule("deny", protocol, ports, ip_network(each, strict=False), partial=True) for each in sources]
    return rules


def let_in(zones, ssh_is_redefined=False):
    """Return the rules for the ports that every zone lets in which does not let in everything.

    :param ssh_is_redefined: the service ``ssh`` is not the one that firewalld brings.
    """
    listed = []
    for zone in zones:
        if zone["target"] != "ACCEPT":
            ssh = "ssh" in zone["services"].split() and not ssh_is_redefined
            listed.append({*zone["ports"].split(), *(["22/tcp"] if ssh else [])})
    common = sorted(set.intersection(*listed)) if listed else []
    return [
        Rule("allow", port.partition("/")[2], port.partition("/")[0].replace("-", ":"), ip_network(source))
        for port in common
        for source in _ANY.values()
    ]


def _xml(rule):
    source = f'<source address="{rule.address}"/>' if rule.source.prefixlen else ""
    return (
        f'  <rule family="ipv{rule.source.version}">{source}'
        f'<port port="{_dashed(rule.ports)}" protocol="{rule.protocol}"/><accept/></rule>'
    )


def _dashed(ports):
    return ports.replace(":", "-")
