# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import shutil
import subprocess
from ipaddress import ip_network

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Completed, Runner
from ansible_collections.erlmcp.ops.plugins.module_utils._firewall import nftables
from ansible_collections.erlmcp.ops.plugins.module_utils._firewall.nftables import Nftables, listing, parse_rules
from ansible_collections.erlmcp.ops.plugins.module_utils._firewall.rules import Plan, Rule, SshAccess, State, plan

RULES = (
    Rule("allow", "tcp", "22", ip_network("0.0.0.0/0"), "erlmcp: ssh"),
    Rule("allow", "tcp", "22", ip_network("::/0"), "erlmcp: ssh"),
    Rule("allow", "tcp", "9100:9105", ip_network("10.0.0.0/8"), "erlmcp: distribution"),
    Rule("allow", "udp", "53", ip_network("10.0.0.3"), "erlmcp: a -- b.c"),
    Rule("allow", "tcp", "5005", ip_network("2001:db8::3"), "erlmcp: mcp"),
)
# As nft 1.0.6 and 1.1.3 print it.
LISTED = """\
table inet erlmcp_ops {
	chain input {
		type filter hook input priority filter; policy drop;
		ct state established,related accept
		iif "lo" accept
		icmp type echo-request accept
		icmpv6 type { echo-request, mld-listener-query, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept
		udp sport 67 udp dport 68 accept
		ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept
		meta nfproto ipv4 tcp dport 22 accept comment "erlmcp: ssh"
		meta nfproto ipv6 tcp dport 22 accept comment "erlmcp: ssh"
		ip saddr 10.0.0.0/8 tcp dport 9100-9105 accept comment "erlmcp: distribution"
		ip saddr 10.0.0.3 udp dport 53 accept comment "erlmcp: a -- b.c"
		ip6 saddr 2001:db8::3 tcp dport 5005 accept comment "erlmcp: mcp"
	}
}
"""  # noqa: E501


def wanted(*rules):
    return Plan(enable=True, rules=rules)


class FakeRunner:
    """An nft that lists what was loaded last, and a systemctl that notes it was called."""

    def __init__(self, fails=()):
        self.table = ""
        self.fails = fails
        self.ran = []

    def run(self, argv, stdin=""):
        self.ran.append(argv)
        if argv[:2] == ["nft", "-j"]:
            return Completed(0, '{"nftables": []}', "")
        if argv[:2] == ["nft", "list"]:
            return Completed(0 if self.table else 1, self.table, "")
        if argv[0] in self.fails:
            return Completed(1, "", "no")
        if argv == ["nft", "-f", "-"]:
            self.table = stdin.partition("delete table inet erlmcp_ops\n")[2]
        return Completed(0, "", "")


class PrivateRunner(Runner):
    """The real nft in a network namespace of its own."""

    def __init__(self, pid):
        self.pid = pid

    def run(self, argv, stdin=""):
        if argv[0] == "systemctl":
            return Completed(0, "", "")
        return super().run(["nsenter", "--net", f"--target={self.pid}", *argv], stdin)


@pytest.fixture(name="runner")
def _runner(monkeypatch):
    monkeypatch.setattr(nftables.shutil, "which", lambda name, path: name)
    return FakeRunner()


@pytest.fixture(name="private")
def _private():
    unshare = ["unshare", "--net"]
    if not shutil.which("nft") or subprocess.run([*unshare, "nft", "list", "ruleset"], check=False).returncode:
        pytest.skip("wants root and nft")
    with subprocess.Popen([*unshare, "sh", "-c", "echo; exec sleep 600"], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        yield PrivateRunner(process.pid)
        process.kill()


def test_listing_is_what_nft_prints_and_is_read_back():
    assert listing(RULES) == LISTED
    assert tuple(parse_rules(LISTED)) == RULES


def test_second_run_changes_nothing(runner, tmp_path):
    firewall = Nftables(runner, str(tmp_path))
    assert firewall.observe() == State(ours=True)
    firewall.apply(wanted(*RULES))
    state = firewall.observe()
    assert (state.active, state.in_use, state.rules) == (True, True, RULES)
    assert not plan(list(RULES), state, SshAccess(), True).changes


@pytest.mark.parametrize(
    "damage",
    [
        lambda root, runner: setattr(runner, "table", ""),
        lambda root, runner: setattr(runner, "table", runner.table.replace("policy drop", "policy accept")),
        lambda root, runner: setattr(runner, "table", runner.table.replace("\t}\n", "\t\ttcp dport 1 accept\n\t}\n")),
        lambda root, runner: (root / nftables.FILE).unlink(),
        lambda root, runner: (root / nftables.FILE).write_text("flush ruleset\n"),
        lambda root, runner: (root / nftables.UNIT).unlink(),
        lambda root, runner: (root / nftables.DROP_IN).write_text(""),
        lambda root, runner: (root / nftables.BOOT_LINK).unlink(),
    ],
    ids="flushed opened added_to no_file other_file no_unit other_drop_in no_link".split(),
)
def test_every_difference_is_healed(runner, tmp_path, damage):
    firewall = Nftables(runner, str(tmp_path))
    firewall.apply(wanted(*RULES))
    damage(tmp_path, runner)
    state = firewall.observe()
    assert (state.active, state.in_use) == (False, True)
    planned = plan(list(RULES), state, SshAccess(), True)
    assert planned.enable
    firewall.apply(planned)
    assert firewall.observe().active


@pytest.mark.parametrize("step", ["write_atomically", "link_atomically"])
def test_killed_run_is_finished_by_the_next(runner, tmp_path, monkeypatch, step):
    firewall = Nftables(runner, str(tmp_path))

    def killed(*_args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(nftables, step, killed)
        with pytest.raises(KeyboardInterrupt):
            firewall.apply(wanted(*RULES))
    state = firewall.observe()
    assert (state.active, state.in_use) == (False, True)
    firewall.apply(plan(list(RULES), state, SshAccess(), True))
    assert firewall.observe().active


def test_table_that_the_kernel_refuses_is_not_written(tmp_path):
    with pytest.raises(OpsError, match="nft -f - failed: no"):
        Nftables(FakeRunner(fails=["nft"]), str(tmp_path)).apply(wanted(*RULES))
    assert not list(tmp_path.iterdir())


def test_taken_away_nothing_is_left(runner, tmp_path):
    firewall = Nftables(runner, str(tmp_path))
    firewall.apply(wanted(*RULES))
    planned = plan([], firewall.observe(), SshAccess(ports=(22,)), False)
    assert planned.disable
    firewall.apply(planned)
    assert firewall.observe() == State(ours=True)
    assert not [path for path in tmp_path.rglob("*") if not path.is_dir()]
    firewall.apply(planned)


def test_not_installed_is_observed_as_fresh(monkeypatch):
    monkeypatch.setattr(nftables.shutil, "which", lambda name, path: None)
    assert Nftables(FakeRunner()).observe() == State(ours=True)


class TestInTheKernel:
    def test_second_run_changes_nothing(self, private, tmp_path):
        firewall = Nftables(private, str(tmp_path))
        for rules in (RULES, RULES[:2], ()):
            firewall.apply(wanted(*rules))
            state = firewall.observe()
            assert (state.active, state.rules) == (True, rules)
        assert private.run(["nft", "list", "table", "inet", "erlmcp_ops"]).out == listing(())

    def test_file_is_loaded_after_a_flush_and_again(self, private, tmp_path):
        firewall = Nftables(private, str(tmp_path))
        firewall.apply(wanted(*RULES))
        assert private.run(["nft", "flush", "ruleset"]).ok
        assert not firewall.observe().active
        for _again in range(2):
            assert private.run(["nft", "-f", str(tmp_path / nftables.FILE)]).ok
        assert firewall.observe().active

    def test_tables_of_others_are_left_and_read(self, private, tmp_path):
        theirs = """
        table inet filter {
            chain input {
                type filter hook input priority filter; policy drop;
                ct state established,related accept
                iifname "lo" accept
                meta l4proto { icmp, ipv6-icmp } accept
                tcp dport { 22, 9100-9105 } accept
            }
        }
        """
        assert private.run(["nft", "-f", "-"], theirs).ok
        firewall = Nftables(private, str(tmp_path))
        state = firewall.observe()
        assert plan(list(RULES[:3]), state, SshAccess(), True).added == RULES[:3]
        with pytest.raises(OpsError, match="rule 'mcp': .* chain input of table inet filter of somebody else"):
            plan(list(RULES[4:]), state, SshAccess(), True)
        firewall.apply(wanted(*RULES))
        firewall.apply(Plan(disable=True))
        assert private.run(["nft", "list", "tables"]).out == "table inet filter\n"
