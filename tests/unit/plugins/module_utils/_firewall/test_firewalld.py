# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ipaddress import ip_address, ip_network
from xml.etree import ElementTree

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Completed
from ansible_collections.erlmcp.ops.plugins.module_utils._firewall import firewalld
from ansible_collections.erlmcp.ops.plugins.module_utils._firewall.firewalld import (
    Firewalld,
    denials,
    let_in,
    parse_policy,
    policy,
    rich_rule,
    used_zones,
)
from ansible_collections.erlmcp.ops.plugins.module_utils._firewall.rules import Plan, Rule, SshAccess, plan

RULES = (
    Rule("allow", "tcp", "2222", ip_network("0.0.0.0/0"), "erlmcp: ssh"),
    Rule("allow", "tcp", "9100:9105", ip_network("10.0.0.0/8"), "erlmcp: distribution"),
    Rule("allow", "udp", "53", ip_network("2001:db8::3"), "erlmcp: a -- b.c"),
)
# As firewalld 1.3.3 and 2.3.1 print them.
RICH = [
    'rule family="ipv4" port port="2222" protocol="tcp" accept',
    'rule family="ipv4" source address="10.0.0.0/8" port port="9100-9105" protocol="tcp" accept',
    'rule family="ipv6" source address="2001:db8::3" port port="53" protocol="udp" accept',
]
ANY = [ip_network("0.0.0.0/0"), ip_network("::/0")]
SSH = [Rule("allow", "tcp", "22", source) for source in ANY]


def zone(name="public", target="default", interfaces="", services="dhcpv6-client ssh", ports="", rules=()):
    """A zone as firewalld 1.3.3 lists it; 2.3.1 writes ``public (default, active)`` and adds priorities."""
    head = f"""\
{name}
  target: {target}
  icmp-block-inversion: no
  interfaces: {interfaces}
  sources: 
  services: {services}
  ports: {ports}
  protocols: 
  forward: yes
  masquerade: no
  forward-ports: 
  source-ports: 
  icmp-blocks: 
  rich rules: 
"""  # noqa: W291
    return head + "".join(f"\t{rule}\n" for rule in rules)


class FakeRunner:
    """A firewalld that knows zones as text, and one policy: in its file, and live."""

    def __init__(self, root, running=True):
        self.root = root
        self.running = running
        self.live = None
        self.zones = {"live": zone("block", "%%REJECT%%", services="") + "\n" + zone()}
        self.zones["permanent"] = self.zones["live"]
        self.ran = []

    def load(self):
        path = self.root / firewalld.FILE
        self.live = [rich_rule(rule) for rule in parse_policy(path.read_text())] if path.exists() else None

    def run(self, argv):
        command = " ".join(argv)
        asks = argv[-1] in ("--state", "--list-all-zones", "--list-rich-rules")
        if not asks:
            self.ran.append(command)
        if argv[0] == "firewall-cmd" and not self.running:
            return Completed(252, "", "FirewallD is not running")
        if argv[-1] == "--list-all-zones":
            live = argv == ["firewall-cmd", "--list-all-zones"]
            return Completed(0, self.zones["live" if live else "permanent"], "")
        if argv[-1] == "--list-rich-rules":
            listed = "\n".join(self.live or []) + "\n"
            return Completed(140, "", "INVALID_POLICY") if self.live is None else Completed(0, listed, "")
        if command == "firewall-cmd --reload":
            self.load()
        if command == "systemctl enable --now firewalld":
            (self.root / firewalld.BOOT_LINK).touch()
            if not self.running:
                self.load()
            self.running = True
        if command == "systemctl disable --now firewalld":
            (self.root / firewalld.BOOT_LINK).unlink()
            self.running, self.live = False, None
        for change in argv[2:]:
            verb, _equals, rule = change.partition("-rich-rule=")
            if verb in ("--add", "--remove") and not rule:
                return Completed(122, "", "INVALID_RULE: empty rule")
            if verb == "--add":
                self.live.append(rule)
            if verb == "--remove":
                self.live.remove(rule)
        return Completed(0, "success\n", "")


@pytest.fixture(name="root")
def _root(tmp_path, monkeypatch):
    monkeypatch.setattr(firewalld.shutil, "which", lambda name, path: name)
    (tmp_path / "etc/firewalld/services").mkdir(parents=True)
    (tmp_path / "etc/firewalld/zones").mkdir()
    (tmp_path / "etc/firewalld/firewalld.conf").write_text("# DefaultZone=x\nDefaultZone=public\n")
    (tmp_path / "etc/firewalld/lockdown-whitelist.xml").touch()
    (tmp_path / "etc/systemd/system/multi-user.target.wants").mkdir(parents=True)
    (tmp_path / firewalld.BOOT_LINK).touch()
    (tmp_path / "proc/sys/net/ipv6").mkdir(parents=True)
    return tmp_path


@pytest.fixture(name="runner")
def _runner(root):
    return FakeRunner(root)


@pytest.fixture(name="firewall")
def _firewall(root, runner):
    return Firewalld(runner, str(root))


def carry_out(firewall, *rules):
    """Plan and apply as the module does, and return the state after."""
    firewall.apply(plan(list(rules), firewall.observe(), SshAccess(), True))
    state = firewall.observe()
    assert not plan(list(rules), state, SshAccess(), True).changes
    return state


def test_policy_is_xml_and_is_read_back():
    text = policy(RULES)
    tree = ElementTree.fromstring(text)
    assert (tree.tag, tree.get("target"), int(tree.get("priority")) > 0) == ("policy", "CONTINUE", True)
    assert len(tree.findall("rule")) == len(RULES)
    assert tree.findall("rule")[1].find("source").get("address") == "10.0.0.0/8"
    assert tuple(parse_policy(text)) == RULES


def test_rich_rule_is_what_firewalld_prints():
    assert [rich_rule(rule) for rule in RULES] == RICH


def test_first_run_reloads_and_later_ones_change_what_runs(firewall, runner):
    assert carry_out(firewall, *RULES).active
    assert runner.ran[0] == "firewall-cmd --reload"
    runner.ran.clear()
    assert carry_out(firewall, RULES[0]).active
    assert carry_out(firewall, *RULES).active
    assert [" ".join(command.split()[:3]) for command in runner.ran] == [
        "firewall-cmd --policy=erlmcp_ops --remove-rich-rule=rule",
        "firewall-cmd --policy=erlmcp_ops --add-rich-rule=rule",
    ]
    assert sorted(runner.live) == sorted(RICH)


def test_not_running_it_is_laid_down_before_it_is_started(firewall, runner, root):
    runner.running = False
    (root / firewalld.BOOT_LINK).unlink()
    assert not firewall.observe().in_use
    assert carry_out(firewall, *RULES).active
    assert runner.ran == ["systemctl reload dbus", "systemctl enable --now firewalld"]
    assert runner.live == RICH


@pytest.mark.parametrize(
    "damage",
    [
        lambda root, runner: runner.live.pop(),
        lambda root, runner: runner.live.append('rule family="ipv4" port port="1" protocol="tcp" accept'),
        lambda root, runner: setattr(runner, "live", None),
        lambda root, runner: (root / firewalld.FILE).unlink(),
        lambda root, runner: (root / firewalld.FILE).write_text(policy(RULES[:1])),
        lambda root, runner: (root / firewalld.BOOT_LINK).unlink(),
    ],
    ids="taken_from added_to policy_gone no_file other_file no_link".split(),
)
def test_every_difference_is_healed(firewall, runner, root, damage):
    carry_out(firewall, *RULES)
    damage(root, runner)
    assert not firewall.observe().active
    assert carry_out(firewall, *RULES).active
    assert sorted(runner.live) == sorted(RICH)


def test_killed_before_what_runs_was_changed(firewall, root):
    carry_out(firewall, RULES[0])
    (root / firewalld.FILE).write_text(policy(RULES))
    assert carry_out(firewall, *RULES).active


def test_disabled_leaves_no_trace_and_firewalld_on(firewall, runner, root):
    carry_out(firewall, *RULES)
    runner.ran.clear()
    firewall.apply(plan([], firewall.observe(), SshAccess(ports=(22,)), False))
    assert (runner.live, runner.running) == ([], True)
    assert not (root / firewalld.FILE).exists()
    assert len(runner.ran) == 1
    assert carry_out(firewall, *RULES).active


def test_retired_it_is_off_before_the_rules_go(firewall, runner, root):
    carry_out(firewall, *RULES)
    runner.ran.clear()
    firewall.apply(Plan(disable=True, removed=RULES))
    assert runner.ran == ["systemctl disable --now firewalld"]
    assert not (root / firewalld.FILE).exists()
    state = firewall.observe()
    assert (state.active, state.in_use) == (False, False)


@pytest.mark.parametrize("file", ["zones/public.xml", "services/x.xml", "direct.xml"])
def test_what_others_have_set_up(firewall, root, file):
    carry_out(firewall, *RULES)
    assert firewall.observe().foreign == ""
    (root / "etc/firewalld" / file).touch()
    assert firewall.observe().foreign.endswith(file)


def test_default_zone_that_lets_in_everything_is_replaced(firewall, runner, root):
    (root / "etc/firewalld/firewalld.conf").write_text("DefaultZone=trusted\n")
    runner.zones = dict.fromkeys(("live", "permanent"), zone("trusted", "ACCEPT", services=""))
    planned = plan(list(RULES), firewall.observe(), SshAccess(), True)
    assert planned.deny_incoming
    firewall.apply(planned)
    assert runner.ran.index("firewall-cmd --set-default-zone=public") > runner.ran.index("firewall-cmd --reload")


def test_not_installed_is_observed_as_fresh(monkeypatch, tmp_path):
    monkeypatch.setattr(firewalld.shutil, "which", lambda name, path: None)
    state = Firewalld(FakeRunner(tmp_path), str(tmp_path)).observe()
    assert (state.active, state.rules) == (False, tuple(SSH))


def test_command_that_fails(firewall, runner):
    run = runner.run
    runner.run = lambda argv: Completed(1, "", "no") if argv[-1] == "--reload" else run(argv)
    with pytest.raises(OpsError, match="firewall-cmd --reload failed: no"):
        carry_out(firewall, *RULES)


class TestZones:
    def test_those_that_connections_come_in_by(self):
        text = "\n".join([zone("block"), zone("dmz", interfaces="eth1"), zone("public (default, active)")])
        assert [each["text"].split()[0] for each in used_zones(text, "public")] == ["dmz", "public"]

    def test_let_in_is_what_all_let_in(self):
        text = zone("dmz", interfaces="eth1", ports="80/tcp 9100-9105/tcp 53/udp", services="ssh") + "\n"
        text += zone(ports="53/udp 9100-9105/tcp") + "\n" + zone("docker", "ACCEPT", interfaces="docker0", services="")
        found = let_in(used_zones(text, "public"))
        assert {(rule.protocol, rule.ports) for rule in found} == {("tcp", "22"), ("udp", "53"), ("tcp", "9100:9105")}
        assert {rule.source for rule in found} == set(ANY)

    def test_redefined_ssh_is_unknown(self):
        assert let_in(used_zones(zone(), "public"), ssh_is_redefined=True) == []

    def test_what_is_let_in_for_now_only_does_not_count(self, firewall, runner):
        assert firewall.observe().rules == tuple(SSH)
        runner.zones["permanent"] = zone(services="")
        assert firewall.observe().rules == ()

    @pytest.mark.parametrize(
        ("rule", "denied"),
        [
            (
                'rule family="ipv4" source address="192.0.2.7" port port="22" protocol="tcp" drop',
                ["deny 22/tcp from 192.0.2.7/32"],
            ),
            (
                'rule family="ipv4" source address="192.0.2.7/24" service name="ssh" reject',
                ["deny 22/tcp from 192.0.2.0/24"],
            ),
            (
                'rule priority="-1" family="ipv6" log prefix="no" level="info" reject type="icmp6-addr-unreachable"',
                ["deny any/any from ::/0"],
            ),
            (
                'rule port port="20-25" protocol="tcp" reject',
                ["deny 20:25/tcp from 0.0.0.0/0", "deny 20:25/tcp from ::/0"],
            ),
            ('rule family="ipv4" service name="http" drop', []),
            ('rule family="ipv4" source ipset="bad" drop', []),
            ('rule family="ipv4" source address="192.0.2.7" accept', []),
        ],
    )
    def test_denials(self, rule, denied):
        found = denials(used_zones(zone(rules=[rule]), "public"))
        assert [str(each) for each in found] == denied
        assert all(each.partial for each in found)

    def test_zone_that_would_keep_out_the_client_once_it_is_on_is_refused(self, firewall, runner):
        runner.running = False
        runner.zones["permanent"] = zone(rules=['rule family="ipv4" source address="192.0.2.7" drop'])
        ssh = SshAccess((22,), ip_address("192.0.2.7"), 22)
        with pytest.raises(OpsError, match="would cut off ssh from 192.0.2.7 to port 22"):
            plan([], firewall.observe(), ssh, True)
