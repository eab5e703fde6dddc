# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.module_utils._firewall.rules import (
    Rule,
    SshAccess,
    State,
    client_address,
    plan,
    retirement,
    wanted_rules,
)

NO_SSH = SshAccess()
SSH = SshAccess(ports=(22,), client=ip_address("192.0.2.7"), client_port=22)


def option(name="mcp", port="5005", **more):
    return {"name": name, "port": port, "protocol": "tcp", "sources": ["any"], "enabled": True, **more}


def rule(ports="5005", source="0.0.0.0/0", comment="erlmcp: mcp", **more):
    defaults = {"action": "allow", "protocol": "tcp"}
    return Rule(**{**defaults, **more}, ports=ports, source=ip_network(source), comment=comment)


def wanted(*options, addresses=(), ipv6=True):
    return wanted_rules(options, lambda name: list(addresses), ipv6)


def on(*rules, **more):
    return State(active=True, in_use=True, rules=rules, **more)


class TestWantedRules:
    def test_any_is_one_rule_a_family(self):
        assert wanted(option()) == [rule(), rule(source="::/0")]

    def test_any_is_ipv4_where_ipv6_is_off(self):
        assert wanted(option(), ipv6=False) == [rule()]

    @pytest.mark.parametrize(
        ("source", "network"),
        [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("10.1.2.3", "10.1.2.3/32"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("2001:DB8:0::1", "2001:db8::1/128"),
        ],
    )
    def test_address_and_network(self, source, network):
        assert wanted(option(sources=[source])) == [rule(source=network)]

    def test_host_name_becomes_its_addresses(self):
        found = wanted(option(sources=["node1.example.com"]), addresses=["10.0.0.1", "2001:db8::1"])
        assert [str(each.source) for each in found] == ["10.0.0.1/32", "2001:db8::1/128"]

    def test_host_name_that_does_not_resolve(self):
        with pytest.raises(OpsError, match=r"rule 'mcp': the host name 'node9' does not resolve .* /etc/hosts"):
            wanted(option(sources=["node9"]))

    @pytest.mark.parametrize("source", ["10.0.0.1/8", "10.0.0", "10.0.0.256", "10.0.0.0/33", "::1::", "", "a b", "-x"])
    def test_bad_source(self, source):
        with pytest.raises(OpsError, match=r"rule 'mcp': .* is no source"):
            wanted(option(sources=[source]), addresses=["10.0.0.1"])

    @pytest.mark.parametrize("port", ["0", "65536", "http", "9105:9100", "22:22", "1:2:3", "-1", "", "22,23", "²"])
    def test_bad_port(self, port):
        with pytest.raises(OpsError, match="rule 'mcp': .* is no port"):
            wanted(option(port=port))

    @pytest.mark.parametrize(("port", "ports"), [("1", "1"), ("65535", "65535"), ("0022", "22"), ("7:9105", "7:9105")])
    def test_good_port(self, port, ports):
        assert {each.ports for each in wanted(option(port=port))} == {ports}

    def test_two_rules_of_one_name(self):
        with pytest.raises(OpsError, match="rule 'mcp': two rules have this name"):
            wanted(option(), option(port="5006"))

    @pytest.mark.parametrize("name", ["", "it's", "a\nb", " x", "é"])
    def test_name_that_a_comment_cannot_hold(self, name):
        with pytest.raises(OpsError, match="its name may hold"):
            wanted(option(name))

    def test_disabled_rule_is_not_wanted_and_empty_sources_let_in_nobody(self):
        assert wanted(option(enabled=False), option("http", sources=[])) == []

    def test_same_source_twice_is_one_rule(self):
        assert len(wanted(option(sources=["10.0.0.1", "10.0.0.1/32"]), option("again", sources=["10.0.0.1"]))) == 1

    def test_ipv6_source_where_ipv6_is_off(self):
        with pytest.raises(OpsError, match="IPv6 is switched off"):
            wanted(option(sources=["2001:db8::1"]), ipv6=False)

    def test_host_name_of_both_families_where_ipv6_is_off(self):
        found = wanted(option(sources=["node1"]), addresses=["10.0.0.1", "2001:db8::1"], ipv6=False)
        assert [str(each.source) for each in found] == ["10.0.0.1/32"]


class TestPlan:
    def test_fresh_host(self):
        planned = plan(wanted(option()), State(), NO_SSH, True)
        assert planned.changes
        assert planned.enable
        assert not planned.deny_incoming
        assert planned.added == (rule(), rule(source="::/0"))

    def test_second_run_changes_nothing(self):
        rules = wanted(option())
        planned = plan(rules, on(*rules), NO_SSH, True)
        assert not planned.changes
        assert planned.kept == tuple(rules)

    def test_open_policies_are_closed(self):
        planned = plan([], on(incoming="allow", outgoing="deny"), NO_SSH, True)
        assert (planned.deny_incoming, planned.allow_outgoing, planned.enable) == (True, True, False)

    def test_refusing_policy_is_as_good_as_denying(self):
        assert not plan([], on(incoming="reject"), NO_SSH, True).changes

    def test_rule_no_longer_wanted_is_removed(self):
        planned = plan([], on(rule()), NO_SSH, True)
        assert planned.removed == (rule(),)

    def test_rules_of_others_are_left(self):
        others = [rule(comment=""), rule("1", comment="mine"), rule("2", action="deny"), rule("3", partial=True)]
        assert not plan([], on(*others), NO_SSH, True).changes

    @pytest.mark.parametrize("action", ["allow", "limit"])
    def test_equal_rule_of_somebody_else_is_used(self, action):
        planned = plan([rule()], on(rule(comment="mine", action=action)), NO_SSH, True)
        assert not planned.changes
        assert planned.kept == (rule(),)

    def test_partial_rule_of_somebody_else_does_not_serve(self):
        assert plan([rule()], on(rule(comment="", partial=True)), NO_SSH, True).added == (rule(),)

    def test_renamed_rule_is_added_in_place_of_the_old(self):
        old = rule(comment="erlmcp: old")
        planned = plan([rule()], on(old), NO_SSH, True)
        assert (planned.added, planned.removed) == ((rule(),), (old,))

    def test_changed_source_adds_and_removes(self):
        planned = plan([rule(source="10.0.0.0/8")], on(rule()), NO_SSH, True)
        assert (planned.added, planned.removed) == ((rule(source="10.0.0.0/8"),), (rule(),))

    @pytest.mark.parametrize(
        "blocker",
        [
            rule(comment="", action="deny"),
            rule("5000:5010", comment="", action="reject"),
            rule("any", comment="", action="deny", protocol="any"),
            rule("80,5005", comment="", action="deny"),
        ],
    )
    def test_rule_that_would_have_no_effect_is_refused(self, blocker):
        with pytest.raises(OpsError, match="rule 'mcp': it would have no effect"):
            plan([rule(source="10.0.0.0/8")], State(rules=(blocker,)), NO_SSH, True)

    @pytest.mark.parametrize(
        "harmless",
        [
            rule("5006", comment="", action="deny"),
            rule(comment="", action="deny", protocol="udp"),
            rule(comment="", action="deny", source="10.1.0.0/16"),
            rule(comment="", action="deny", source="::/0"),
            rule(comment="", action="deny", partial=True),
        ],
    )
    def test_rule_that_is_narrowed_is_not_refused(self, harmless):
        assert plan([rule(source="10.0.0.0/8")], State(rules=(harmless,)), NO_SSH, True).added

    def test_denial_after_the_rule_is_no_conflict(self):
        own = rule(source="10.0.0.0/8")
        assert not plan([own], on(own, rule(comment="", action="deny")), NO_SSH, True).changes

    def test_denial_of_what_somebody_else_has_let_in_before_is_no_conflict(self):
        others = (rule(comment=""), rule(comment="", action="deny", source="10.0.0.0/8"))
        assert plan([rule(source="10.0.0.0/8")], State(rules=others), NO_SSH, True).added

    def test_rule_that_another_chain_keeps_out_is_refused(self):
        chains = (("chain input of table ip x", (rule("22", comment=""), rule("any", action="deny", protocol="any"))),)
        with pytest.raises(OpsError, match="rule 'mcp': it would have no effect, because chain input of table ip x"):
            plan([rule()], State(chains=chains), NO_SSH, True)
        assert plan([rule("22")], State(chains=chains), NO_SSH, True).added

    def test_rules_are_all_that_is_ours_afterwards(self):
        state = on(rule("1", comment="theirs"), rule("2"), rule("3"))
        planned = plan([rule("1"), rule("2"), rule("4")], state, NO_SSH, True)
        assert planned.rules == (rule("2"), rule("4"))

    def test_disabled_takes_away_a_firewall_that_is_nothing_but_ours(self):
        planned = plan([], on(rule(), ours=True), SSH, False)
        assert (planned.disable, planned.removed, planned.added) == (True, (rule(),), ())
        assert not plan([], State(ours=True), SSH, False).changes
        assert not plan([], on(ours=True), NO_SSH, True).changes

    def test_disabled_takes_the_rules_away_and_leaves_the_state(self):
        planned = plan([], State(active=False, incoming="allow", outgoing="deny", rules=(rule(),)), SSH, False)
        assert (planned.added, planned.removed) == ((), (rule(),))
        assert (planned.enable, planned.deny_incoming, planned.allow_outgoing) == (False, False, False)


class TestSshIsNeverCutOff:
    def opened(self, rules, state=None, ssh=SSH, enabled=True):
        planned = plan(rules, state or State(), ssh, enabled)
        assert all(each.name == "ssh" for each in planned.added[: 2 * len(planned.ssh_opened)])
        return planned.ssh_opened

    def test_uncovered_port_is_opened_first(self):
        planned = plan([rule()], State(), SSH, True)
        assert planned.added == (rule("22", comment="erlmcp: ssh"), rule("22", "::/0", "erlmcp: ssh"), rule())
        assert planned.ssh_opened == (22,)

    def test_covered_port_is_left_alone_and_comes_first(self):
        ssh = rule("22", "192.0.2.0/24", "erlmcp: admins")
        planned = plan([rule(), ssh], State(), SSH, True)
        assert planned.added == (ssh, rule())
        assert planned.ssh_opened == ()

    @pytest.mark.parametrize(
        "useless",
        [
            rule("22", "198.51.100.0/24"),
            rule("22", "::/0"),
            rule("22", protocol="udp"),
            rule("23"),
        ],
    )
    def test_rule_that_does_not_cover_the_client(self, useless):
        assert self.opened([useless]) == (22,)

    def test_range_covers(self):
        assert self.opened([rule("20:30")]) == ()

    def test_rule_of_somebody_else_covers(self):
        assert self.opened([], State(rules=(rule("22", comment="", action="limit"),))) == ()

    def test_partial_rule_of_somebody_else_does_not_cover(self):
        assert self.opened([], State(rules=(rule("22", comment="", partial=True),))) == (22,)

    def test_own_rule_that_goes_does_not_cover(self):
        assert self.opened([], on(rule("22", "192.0.2.7/32", "erlmcp: old"))) == (22,)

    def test_opened_port_stays_open(self):
        first = plan([], State(), SSH, True)
        assert not plan([], on(*first.added), SSH, True).changes

    def test_port_where_the_client_is_not_needs_any_rule(self):
        ssh = replace(SSH, ports=(22, 2222), client_port=2222)
        here = rule("2222", "192.0.2.0/24")
        assert self.opened([here, rule("22", "198.51.100.0/24")], ssh=ssh) == ()
        assert self.opened([here], ssh=ssh) == (22,)

    def test_without_a_client_any_rule_will_do(self):
        ssh = SshAccess(ports=(22,))
        assert self.opened([rule("22", "198.51.100.0/24")], ssh=ssh) == ()
        assert self.opened([], ssh=ssh) == (22,)

    @pytest.mark.parametrize("partial", [True, False])
    def test_denial_of_the_client_is_refused(self, partial):
        denial = rule("22", "192.0.2.0/24", "", action="deny", partial=partial)
        with pytest.raises(OpsError, match=r"'deny 22/tcp from 192.0.2.0/24' would cut off ssh from 192.0.2.7 "):
            plan([rule("22")], State(rules=(denial,)), SSH, True)

    def test_denial_of_others_is_not_refused(self):
        denial = rule("22", "198.51.100.0/24", "", action="deny")
        assert self.opened([rule("22")], State(rules=(denial,))) == ()

    def test_denial_after_the_rule_is_not_refused(self):
        state = on(rule("22"), rule("22", "192.0.2.0/24", "", action="deny"))
        assert not plan([rule("22")], state, SSH, True).changes

    def test_client_by_ipv6_where_ipv6_is_off(self):
        ssh = replace(SSH, client=ip_address("2001:db8::1"))
        with pytest.raises(OpsError, match="its having IPv6 switched off would cut off ssh from 2001:db8::1"):
            plan([rule("22")], State(ipv6=False), ssh, True)

    def test_disabled_and_active_keeps_ssh_open(self):
        planned = plan([], on(rule("22", comment="erlmcp: admins")), SSH, False)
        assert planned.ssh_opened == (22,)
        assert rule("22", comment="erlmcp: ssh") in planned.added

    def test_disabled_and_due_to_filter_after_a_boot_keeps_ssh_open(self):
        assert self.opened([], State(in_use=True), enabled=False) == (22,)

    def test_disabled_and_open_to_all_needs_no_rule(self):
        assert not plan([], on(incoming="allow"), SSH, False).changes

    def test_disabled_and_inactive_needs_no_rule(self):
        assert not plan([], State(), SSH, False).changes


class TestRetirement:
    def retire(self, state):
        return retirement(state, "ufw", "ufw disable", "nftables")

    def test_on_goes_off_without_our_rules(self):
        planned = self.retire(on(rule()))
        assert (planned.disable, planned.removed, planned.rules) == (True, (rule(),), ())

    def test_off_loses_our_rules_only(self):
        planned = self.retire(State(rules=(rule(), rule("1", comment="theirs")), foreign="theirs"))
        assert (planned.disable, planned.removed) == (False, (rule(),))

    def test_off_without_our_rules_is_left_alone(self):
        assert not self.retire(State(foreign="theirs")).changes

    def test_on_with_rules_of_others_is_refused(self):
        with pytest.raises(OpsError, match="'theirs'. Move that to nftables and run 'ufw disable', or keep ufw"):
            self.retire(on(rule(), foreign="theirs"))


@pytest.mark.parametrize(
    ("text", "address"),
    [("192.0.2.7", "192.0.2.7"), ("::ffff:192.0.2.7", "192.0.2.7"), ("fe80::1%eth0", "fe80::1")],
)
def test_client_address(text, address):
    assert str(client_address(text)) == address
