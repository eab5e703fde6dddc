# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ipaddress import ip_network

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Completed
from ansible_collections.erlmcp.ops.plugins.module_utils._firewall import ufw
from ansible_collections.erlmcp.ops.plugins.module_utils._firewall.rules import Plan, Rule, State
from ansible_collections.erlmcp.ops.plugins.module_utils._firewall.ufw import Ufw, commands

# As ufw 0.36.2 writes them.
USER_RULES = """\
*filter
:ufw-user-input - [0:0]
### RULES ###

### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in comment=65726c6d63703a20737368
-A ufw-user-input -p tcp --dport 22 -j ACCEPT

### tuple ### limit tcp 2222 0.0.0.0/0 any 0.0.0.0/0 in
### tuple ### allow_log tcp 9100:9105 0.0.0.0/0 any 10.0.0.2 in comment=c3a9
### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 OpenSSH - in
### tuple ### deny any any 0.0.0.0/0 any 10.0.0.0/8 in_eth0
### tuple ### deny any any 10.0.0.9 any 10.0.0.0/8 in
### tuple ### allow any any 0.0.0.0/0 53 0.0.0.0/0 in
### tuple ### deny tcp 25 0.0.0.0/0 any 0.0.0.0/0 out
### tuple ### route:allow tcp 80 0.0.0.0/0 any 0.0.0.0/0 in_eth0!out_eth1
### END RULES ###
"""
USER6_RULES = "### tuple ### allow tcp 22 ::/0 any ::/0 in comment=65726c6d63703a20737368\n"
ANY = ip_network("0.0.0.0/0")


class FakeRunner:
    def __init__(self, rc=0):
        self.rc = rc
        self.ran = []

    def run(self, argv, env=None):
        self.ran.append(argv)
        return Completed(self.rc, "", "no")


@pytest.fixture(name="root")
def _root(tmp_path, monkeypatch):
    monkeypatch.setattr(ufw.shutil, "which", lambda name, path: name)
    (tmp_path / "etc/ufw").mkdir(parents=True)
    (tmp_path / "etc/default").mkdir()
    (tmp_path / "proc/sys/net/ipv6").mkdir(parents=True)
    (tmp_path / "etc/ufw/ufw.conf").write_text("# ENABLED=maybe\nENABLED=yes\nLOGLEVEL=low\n")
    (tmp_path / "etc/default/ufw").write_text(
        'IPV6=yes\nDEFAULT_INPUT_POLICY="DROP"\nDEFAULT_OUTPUT_POLICY="ACCEPT"\nIPT_MODULES=""\n'
    )
    (tmp_path / "etc/ufw/user.rules").write_text(USER_RULES)
    (tmp_path / "etc/ufw/user6.rules").write_text(USER6_RULES)
    return tmp_path


def test_observe_rules(root):
    assert list(Ufw(FakeRunner(), str(root)).observe().rules[:-1]) == [
        Rule("allow", "tcp", "22", ANY, "erlmcp: ssh"),
        Rule("limit", "tcp", "2222", ANY),
        Rule("allow", "tcp", "9100:9105", ip_network("10.0.0.2"), "é"),
        Rule("allow", "tcp", "22", ANY),
        Rule("deny", "any", "any", ip_network("10.0.0.0/8"), partial=True),
        Rule("deny", "any", "any", ip_network("10.0.0.0/8"), partial=True),
        Rule("allow", "any", "any", ANY, partial=True),
    ]


def test_observe(root):
    state = Ufw(FakeRunner(), str(root)).observe()
    assert (state.active, state.in_use) == (True, True)
    assert (state.incoming, state.outgoing, state.ipv6) == ("deny", "allow", True)
    assert [str(each.source) for each in state.rules if each.own] == ["0.0.0.0/0", "::/0"]


def test_enabled_but_not_loaded_is_in_use_and_not_active(root):
    state = Ufw(FakeRunner(rc=1), str(root)).observe()
    assert (state.active, state.in_use) == (False, True)


def test_kernel_that_cannot_be_asked(root):
    with pytest.raises(OpsError, match="iptables failed: no"):
        Ufw(FakeRunner(rc=4), str(root)).observe()


def test_not_enabled_is_not_active_though_loaded(root):
    (root / "etc/ufw/ufw.conf").write_text("ENABLED=no\n")
    state = Ufw(FakeRunner(), str(root)).observe()
    assert (state.active, state.in_use) == (False, False)


@pytest.mark.parametrize(
    "line",
    [
        "allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in",
        "deny tcp 25 0.0.0.0/0 any 0.0.0.0/0 out",
        "route:allow tcp 80 0.0.0.0/0 any 0.0.0.0/0 in_eth0!out_eth1",
    ],
)
def test_what_others_have_set_up(root, line):
    own = f"### tuple ### {USER_RULES.split('### tuple ### ')[1]}"
    (root / "etc/ufw/user.rules").write_text(own)
    assert Ufw(FakeRunner(), str(root)).observe().foreign == ""
    (root / "etc/ufw/user.rules").write_text(f"{own}### tuple ### {line}\n")
    assert Ufw(FakeRunner(), str(root)).observe().foreign == line


def test_ipv6_off(root):
    (root / "etc/default/ufw").write_text("IPV6='no'\nDEFAULT_INPUT_POLICY=accept\nDEFAULT_OUTPUT_POLICY=REJECT\n")
    state = Ufw(FakeRunner(), str(root)).observe()
    assert (state.incoming, state.outgoing, state.ipv6) == ("allow", "reject", False)
    assert all(each.source.version == 4 for each in state.rules)


def test_kernel_without_ipv6(root):
    (root / "proc/sys/net/ipv6").rmdir()
    assert not Ufw(FakeRunner(), str(root)).observe().ipv6


def test_setting_that_is_missing(root):
    (root / "etc/default/ufw").write_text("IPV6=yes\n")
    with pytest.raises(OpsError, match="/etc/default/ufw does not set DEFAULT_INPUT_POLICY, DEFAULT_OUTPUT_POLICY"):
        Ufw(FakeRunner(), str(root)).observe()


def test_file_that_is_missing(root):
    (root / "etc/ufw/user.rules").unlink()
    with pytest.raises(OpsError, match="/etc/ufw/user.rules cannot be read"):
        Ufw(FakeRunner(), str(root)).observe()


def test_not_installed_is_observed_as_fresh(monkeypatch):
    monkeypatch.setattr(ufw.shutil, "which", lambda name, path: None)
    assert Ufw(FakeRunner()).observe() == State()


def test_commands_add_then_enable_then_remove():
    ssh = Rule("allow", "tcp", "22", ANY, "erlmcp: ssh")
    dns = Rule("allow", "udp", "53", ip_network("::1"), "erlmcp: d")
    planned = Plan(
        added=(ssh, dns),
        removed=(Rule("allow", "tcp", "9100:9105", ip_network("10.0.0.0/8"), "erlmcp: old"),),
        deny_incoming=True,
        allow_outgoing=True,
        enable=True,
    )
    assert [" ".join(argv) for argv in commands(planned)] == [
        "ufw allow proto tcp from 0.0.0.0/0 to any port 22 comment erlmcp: ssh",
        "ufw allow proto udp from ::1 to any port 53 comment erlmcp: d",
        "ufw default deny incoming",
        "ufw default allow outgoing",
        "ufw --force enable",
        "ufw delete allow proto tcp from 10.0.0.0/8 to any port 9100:9105 comment erlmcp: old",
    ]


def test_commands_switch_off_before_rules_go():
    planned = Plan(disable=True, removed=(Rule("allow", "tcp", "22", ANY, "erlmcp: ssh"),))
    assert [argv[1] for argv in commands(planned)] == ["disable", "delete"]


def test_renamed_rule_is_not_deleted():
    old, new = (Rule("allow", "tcp", "22", ANY, comment) for comment in ("erlmcp: old", "erlmcp: new"))
    planned = Plan(added=(new,), removed=(old,))
    assert [argv[1] for argv in commands(planned)] == ["allow"]


def test_command_that_fails_stops_the_rest():
    runner = FakeRunner(rc=1)
    with pytest.raises(OpsError, match="ufw --force enable failed: no"):
        Ufw(runner).apply(Plan(enable=True, removed=(Rule("allow", "tcp", "22", ANY, "erlmcp: old"),)))
    assert len(runner.ran) == 1
