# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The backend nftables: one table that is ours, from one file.

The file is written the way ``nft`` lists the table, so that file and kernel are compared as text, and every difference
between what is wanted, what filters and what will filter after a boot is seen. Loading it is one transaction of the
kernel. A unit of our own loads it at boot, whether nftables.service is used on the host or not; where it is,
``/etc/nftables.conf`` may flush everything, so a drop-in lets that service load the file again afterwards.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from ipaddress import ip_network

from .._core.errors import OpsError
from .._core.files import link_atomically, read_if_there, write_atomically
from .._core.runner import SEARCH_PATH
from .chains import input_chains, unclear_chains
from .rules import OWNER, Rule, State

TABLE = "inet erlmcp_ops"
FILE = "etc/nftables.d/erlmcp_ops.nft"
UNIT = "etc/systemd/system/erlmcp-firewall.service"
DROP_IN = "etc/systemd/system/nftables.service.d/erlmcp.conf"
BOOT_LINK = "etc/systemd/system/sysinit.target.wants/erlmcp-firewall.service"

# Declared first, because deleting what is not there is an error.
_REPLACE = f"table {TABLE}\ndelete table {TABLE}\n"
_ICMPV6 = ("echo-request", "mld-listener-query", "nd-router-advert", "nd-neighbor-solicit", "nd-neighbor-advert")
# Besides what belongs to open connections: what finds neighbours and routers, ping, and the answers of DHCP servers,
# without which the host would lose its addresses.
_HEAD = f"""\
table {TABLE} {{
\tchain input {{
\t\ttype filter hook input priority filter; policy drop;
\t\tct state established,related accept
\t\tiif "lo" accept
\t\ticmp type echo-request accept
\t\ticmpv6 type {{ {", ".join(_ICMPV6)} }} accept
\t\tudp sport 67 udp dport 68 accept
\t\tip6 saddr fe80::/10 udp sport 547 udp dport 546 accept
"""
_TAIL = "\t}\n}\n"
_RULE = re.compile(
    rf"""^\t\t(?:meta nfproto ipv(?P<family>[46])|ip6? saddr (?P<source>\S+)) """
    rf"""(?P<protocol>tcp|udp) dport (?P<ports>[\d-]+) accept comment "(?P<comment>{OWNER}[^"]*)"$""",
    re.MULTILINE,
)
_UNIT = f"""\
# Made by Ansible (erlmcp.ops.firewall).
[Unit]
Description=Firewall rules of erlmcp.ops
DefaultDependencies=no
After=nftables.service
Before=network-pre.target shutdown.target
Wants=network-pre.target
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/nft -f /{FILE}
"""
_DROP_IN = f"""\
# Made by Ansible (erlmcp.ops.firewall): nftables.conf may flush what is loaded.
[Service]
ExecStart=/usr/sbin/nft -f /{FILE}
ExecReload=/usr/sbin/nft -f /{FILE}
"""


class Nftables:
    """nftables on this host.

    :param runner: a :class:`Runner`.
    :param root: where the host's files are.
    """

    name = "nftables"
    switch_off = f"nft delete table {TABLE}"

    def __init__(self, runner, root="/"):
        self.runner = runner
        self.root = root

    @property
    def installed(self):
        return shutil.which("nft", path=SEARCH_PATH) is not None

    def observe(self):
        """Return the :class:`State`; without nft, that of a fresh installation."""
        if not self.installed:
            return State(ours=True)
        written = self._read(FILE)
        listed = self.runner.run(["nft", "list", "table", *TABLE.split()])
        loaded = listed.out if listed.ok else ""
        others = self._ruleset()
        rules = tuple(dict.fromkeys([*parse_rules(loaded), *parse_rules(written)]))
        return State(
            active=loaded == listing(rules) and written == _REPLACE + loaded and self._loads_at_boot(),
            in_use=bool(loaded or written),
            rules=rules,
            chains=input_chains(others, TABLE),
            unclear=unclear_chains(others, TABLE),
            ours=True,
        )

    def apply(self, plan):
        """Carry out the :class:`Plan`: the whole table is replaced, or goes."""
        if plan.disable:
            self._remove()
        else:
            self._replace(listing(plan.rules))

    def _replace(self, table):
        self._run(["nft", "-f", "-"], _REPLACE + table)
        self._write(FILE, _REPLACE + table)
        self._write(UNIT, _UNIT)
        self._write(DROP_IN, _DROP_IN)
        self._run(["systemctl", "daemon-reload"])
        # Last, because it stands for all that was done before.
        os.makedirs(os.path.dirname(self._path(BOOT_LINK)), exist_ok=True)
        link_atomically(self._path(BOOT_LINK), f"/{UNIT}")

    def _remove(self):
        for file in (BOOT_LINK, UNIT, DROP_IN):
            self._unlink(file)
        self._run(["systemctl", "daemon-reload"])
        self._run(["nft", "-f", "-"], _REPLACE)
        # Last, because it says that there is something of ours.
        self._unlink(FILE)

    def _loads_at_boot(self):
        return self._read(UNIT) == _UNIT and self._read(DROP_IN) == _DROP_IN and os.path.islink(self._path(BOOT_LINK))

    def _ruleset(self):
        listed = self.runner.run(["nft", "-j", "list", "ruleset"])
        return listed.out if listed.ok else '{"nftables": []}'

    def _run(self, argv, stdin=""):
        done = self.runner.run(argv, stdin)
        if not done.ok:
            raise OpsError(f"{' '.join(argv)} failed: {(done.err or done.out).strip()}", kind="firewall", argv=argv)

    def _path(self, file):
        return os.path.join(self.root, file)

    def _read(self, file):
        return (read_if_there(self._path(file)) or b"").decode("utf-8", "replace")

    def _write(self, file, text):
        os.makedirs(os.path.dirname(self._path(file)), exist_ok=True)
        write_atomically(self._path(file), text.encode())

    def _unlink(self, file):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path(file))


def listing(rules):
    """Return our table with these rules, exactly as ``nft list table`` prints it."""
    return _HEAD + "".join(f'\t\t{_matches(rule)} accept comment "{rule.comment}"\n' for rule in rules) + _TAIL


def parse_rules(text):
    """Return our rules in what :func:`listing` or ``nft list table`` has made, in their order."""
    return [
        Rule(
            "allow",
            found["protocol"],
            found["ports"].replace("-", ":"),
            ip_network(found["source"] or {"4": "0.0.0.0/0", "6": "::/0"}[found["family"]]),
            found["comment"],
        )
        for found in _RULE.finditer(text)
    ]


def _matches(rule):
    version = rule.source.version
    sender = (
        f"ip{'' if version == 4 else version} saddr {rule.address}"
        if rule.source.prefixlen
        else (f"meta nfproto ipv{version}")
    )
    return f"{sender} {rule.protocol} dport {rule.ports.replace(':', '-')}"
