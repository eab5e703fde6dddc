# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.module_utils._firewall import firewall as topic
from ansible_collections.erlmcp.ops.plugins.module_utils._firewall.firewall import firewall
from ansible_collections.erlmcp.ops.plugins.module_utils._firewall.rules import SshAccess, State


class FakeBackend:
    """A firewall in memory. ``deaf`` takes every plan and does nothing."""

    name = "fake"

    def __init__(self, installed=True, deaf=False):
        self.installed = installed
        self.deaf = deaf
        self.state = State()

    def observe(self):
        return self.state

    def apply(self, plan):
        if not self.deaf:
            kept = [rule for rule in self.state.rules if rule not in plan.removed]
            self.state = State(active=self.state.active or plan.enable, rules=(*kept, *plan.added))


class FakeModule:
    def __init__(self, check_mode=False, enabled=True, rules=({"name": "mcp", "port": "5005"},)):
        defaults = {"protocol": "tcp", "sources": ["10.0.0.0/8"], "enabled": True}
        self.params = {"backend": "fake", "enabled": enabled, "rules": [{**defaults, **rule} for rule in rules]}
        self.check_mode = check_mode
        self.warnings = []

    def warn(self, text):
        self.warnings.append(text)


@pytest.fixture(name="run")
def _run(monkeypatch):
    def run(backend, **options):
        monkeypatch.setitem(topic.BACKENDS, "fake", lambda runner: backend)
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
        "before": "firewall: off\ndefault: deny incoming, allow outgoing\n",
        "after": (
            "firewall: on\ndefault: deny incoming, allow outgoing\n"
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
