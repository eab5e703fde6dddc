# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from types import SimpleNamespace

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.module_utils._firewall import firewall as topic
from ansible_collections.erlmcp.ops.plugins.module_utils._firewall.firewall import firewall
from ansible_collections.erlmcp.ops.plugins.module_utils._firewall.rules import Rule, SshAccess, State

OWN = Rule("allow", "tcp", "5005", ip_network("10.0.0.0/8"), "erlmcp: mcp")
ON = State(active=True, in_use=True)


class FakeBackend:
    """A firewall in memory. ``deaf`` takes every plan and does nothing; ``log`` notes who applies what."""

    switch_off = "fakectl off"

    def __init__(self, installed=True, deaf=False, name="fake", state=None, log=None):
        self.installed = installed
        self.deaf = deaf
        self.name = name
        self.state = state or State()
        self.log = [] if log is None else log

    def observe(self):
        return self.state

    def apply(self, plan):
        self.log.append((self.name, "off" if plan.disable else "on" if plan.enable else "rules"))
        if not self.deaf:
            kept = [rule for rule in self.state.rules if rule not in plan.removed]
            on = (self.state.in_use or plan.enable) and not plan.disable
            self.state = replace(self.state, active=on, in_use=on, rules=(*kept, *plan.added))


class FakeModule:
    def __init__(self, check_mode=False, enabled=True, backend="fake", rules=({"name": "mcp", "port": "5005"},)):
        defaults = {"protocol": "tcp", "sources": ["10.0.0.0/8"], "enabled": True}
        self.params = {"backend": backend, "enabled": enabled, "rules": [{**defaults, **rule} for rule in rules]}
        self.check_mode = check_mode
        self.warnings = []

    def warn(self, text):
        self.warnings.append(text)


@pytest.fixture(name="run")
def _run(monkeypatch):
    def run(*backends, **options):
        made = {backend.name: lambda runner, backend=backend: backend for backend in backends}
        monkeypatch.setattr(topic, "BACKENDS", made)
        monkeypatch.setattr(topic, "observe_ssh", lambda runner, environ: SshAccess(ports=(22,)))
        module = FakeModule(**options)
        return SimpleNamespace(**firewall(module, None), warnings=module.warnings)

    return run


def test_check_mode_predicts_what_the_run_changes_and_changes_nothing(run):
    backend = FakeBackend()
    predicted = run(backend, check_mode=True)
    assert backend.state == State()
    assert vars(run(backend)) == vars(predicted)
    assert [rule["name"] for rule in predicted.added] == ["ssh", "ssh", "mcp"]
    assert (predicted.enabled, predicted.ssh_opened, predicted.ssh_ports) == (True, [22], [22])
    assert "opened to everybody" in predicted.warnings[0]


def test_second_run_changes_nothing(run):
    backend = FakeBackend()
    run(backend)
    again = run(backend)
    assert not again.changed
    assert [rule["name"] for rule in again.kept] == ["ssh", "ssh", "mcp"]
    assert again.diff["before"] == again.diff["after"]


def test_diff_lists_the_rules(run):
    assert run(FakeBackend()).diff == {
        "before": "fake: off\ndefault: deny incoming, allow outgoing\n",
        "after": (
            "fake: on\ndefault: deny incoming, allow outgoing\n"
            "mcp: allow 5005/tcp from 10.0.0.0/8\n"
            "ssh: allow 22/tcp from 0.0.0.0/0\nssh: allow 22/tcp from ::/0\n"
        ),
    }


def test_fresh_host_is_predicted_and_refused(run):
    backend = FakeBackend(installed=False)
    assert run(backend, check_mode=True).changed
    with pytest.raises(OpsError, match=r"fake is not installed .* role erlmcp\.ops\.erlmcp_firewall"):
        run(backend)


def test_disabled_on_a_fresh_host_changes_nothing(run):
    result = run(FakeBackend(installed=False), enabled=False)
    assert (result.changed, result.enabled) == (False, False)


def test_disabled_does_not_resolve_names(run):
    rules = [{"name": "gone", "port": "1", "sources": ["gone.invalid"]}]
    assert not run(FakeBackend(), enabled=False, rules=rules).changed


def test_commands_without_an_effect_are_a_failure(run):
    with pytest.raises(OpsError, match="not what was asked for"):
        run(FakeBackend(deaf=True))


def test_resolve():
    # A name that resolves everywhere: a bare machine does not even know localhost.
    assert topic.resolve("127.0.0.1") == ["127.0.0.1"]
    assert topic.resolve("no-such-host.invalid") == []


class TestSeveral:
    @pytest.mark.parametrize(
        ("in_use", "installed", "chosen"),
        [("b", "ab", "b"), ("", "c", "c"), ("", "bc", "b"), ("", "", "a"), ("bc", "abc", "b")],
    )
    def test_auto_is_the_one_in_use_else_installed_else_the_first(self, run, in_use, installed, chosen):
        backends = [
            FakeBackend(name=name, installed=name in installed, state=ON if name in in_use else State())
            for name in "abc"
        ]
        result = run(*backends, backend="auto", check_mode=True)
        assert (result.backend, result.installed) == (chosen, chosen in installed)

    def test_successor_is_complete_before_the_other_goes(self, run):
        log = []
        new = FakeBackend(name="new", log=log)
        old = FakeBackend(name="old", log=log, state=replace(ON, rules=(OWN,)))
        predicted = run(new, old, backend="new", check_mode=True)
        assert log == []
        done = run(new, old, backend="new")
        assert vars(done) == vars(predicted)
        assert log == [("new", "on"), ("old", "off")]
        assert [rule["name"] for rule in done.removed] == ["mcp"]
        assert (old.state.in_use, old.state.rules) == (False, ())
        assert "old: on" in done.diff["before"]
        assert "old: off" in done.diff["after"]
        again = run(new, old, backend="new")
        assert not again.changed
        assert "old" not in again.diff["after"]

    def test_what_a_killed_run_left_in_one_that_is_off_is_taken_away(self, run):
        old = FakeBackend(name="old", state=State(rules=(OWN,), foreign="theirs"))
        assert run(FakeBackend(name="new"), old, backend="new").changed
        assert old.state.rules == ()
        assert old.log == [("old", "rules")]

    def test_one_that_holds_what_others_set_up_is_refused_before_anything_changes(self, run):
        new = FakeBackend(name="new")
        old = FakeBackend(name="old", state=replace(ON, foreign="allow 7777/tcp", rules=(OWN,)))
        with pytest.raises(OpsError, match=r"old is on too, .*'allow 7777/tcp'\. .* run 'fakectl off'"):
            run(new, old, backend="new")
        assert new.log == old.log == []

    def test_one_that_goes_and_takes_the_rules_of_the_successor_along(self, run):
        """As firewalld 1.x does to ufw."""
        log = []
        new = FakeBackend(name="new", log=log)
        old = FakeBackend(name="old", log=log, state=ON)
        forget = old.apply
        old.apply = lambda plan: (forget(plan), setattr(new, "state", replace(new.state, active=False)))
        assert run(new, old, backend="new").changed
        assert log == [("new", "on"), ("old", "off"), ("new", "on")]
        assert new.state.active

    def test_disabled_takes_the_rules_out_of_all_and_leaves_them_on_with_ssh(self, run):
        backends = [FakeBackend(name=name, state=replace(ON, rules=(OWN,))) for name in "ab"]
        result = run(*backends, backend="auto", enabled=False)
        assert result.ssh_opened == [22]
        assert len(result.warnings) == 1
        for backend in backends:
            assert backend.state.active
            assert {rule.name for rule in backend.state.rules} == {"ssh"}
