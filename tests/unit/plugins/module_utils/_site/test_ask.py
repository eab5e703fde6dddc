# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Questions are asked of real plans, on files and accounts of this machine."""

from __future__ import annotations

import grp
import os
import pwd
from types import SimpleNamespace

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Completed, Runner
from ansible_collections.erlmcp.ops.plugins.module_utils._site import ask as asking
from ansible_collections.erlmcp.ops.plugins.module_utils._site.ask import ask
from ansible_collections.erlmcp.ops.plugins.module_utils._site.kinds import kind

OWNER = pwd.getpwuid(os.geteuid())
GROUP = grp.getgrgid(OWNER.pw_gid).gr_name
OTHER_GROUP = next(each.gr_name for each in grp.getgrall() if each.gr_gid != OWNER.pw_gid)
ACCOUNT = {"user": OWNER.pw_name, "group": GROUP, "home": OWNER.pw_dir, "shell": OWNER.pw_shell}


@pytest.fixture(name="module")
def _module():
    return SimpleNamespace(no_log_values=set(), warn=lambda _text: None)


def file(path, **options):
    return {"path": str(path), "owner": OWNER.pw_name, "group": GROUP, **options}


def question(role, module, **options):
    return {"role": role, "module": module, "options": options}


def test_what_is_as_wanted_is_left_out_and_nothing_is_changed(module, tmp_path):
    there, missing = tmp_path / "there", tmp_path / "missing"
    there.write_text("x")
    there.chmod(0o644)
    questions = [
        question("a", "fileset", entries=[file(there, content="x")], programs=["sh"]),
        question("b", "fileset", entries=[file(missing, content="x")], programs=["no-such-program"]),
        question("b", "fileset", entries=[file(there, content="y")]),
        question("c", "account", **ACCOUNT),
    ]
    differs, refusals, _answers = ask(module, questions, Runner())
    assert differs == {"b": [str(missing), "program no-such-program is missing", str(there)]}
    assert refusals == []
    assert list(tmp_path.iterdir()) == [there]
    assert there.read_text() == "x"


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"user": "no-such-account"}, "account no-such-account is missing"),
        ({"group": "no-such-group"}, "group no-such-group is missing"),
        ({"shell": "/bin/elsewhere"}, f"shell of account {OWNER.pw_name}"),
        ({"group": OTHER_GROUP}, f"group of account {OWNER.pw_name}"),
    ],
)
def test_an_account_that_is_another_one(module, changed, named):
    differs, *_others = ask(module, [question("a", "account", **{**ACCOUNT, **changed})], Runner())
    assert differs == {"a": [named]}


def test_an_account_gets_no_other_home_while_it_is_at_work(module, monkeypatch):
    asked = [question("a", "account", **{**ACCOUNT, "home": "/elsewhere"})]
    differs, refusals, _answers = ask(module, asked, Runner())
    assert not differs
    assert f"account {OWNER.pw_name} has {OWNER.pw_dir} for its home" in str(refusals[0])
    monkeypatch.setattr(os, "listdir", lambda _path: ["self", "999999999"])
    assert ask(module, asked, Runner())[:2] == ({"a": [f"home of account {OWNER.pw_name}"]}, [])


class Dpkg:
    """dpkg-query as it answers for one package that is there, one that was removed, and one it never heard of."""

    def run(self, argv, **_options):
        assert argv[-3:] == ["there", "removed", "unknown"]
        return Completed(1, "there installed\nremoved config-files\n", "no packages found matching unknown")


def test_packages_that_are_not_installed(module):
    differs, *_others = ask(module, [question("a", "packages", names=["there", "removed", "unknown"])], Dpkg())
    assert differs == {"a": ["package removed is missing", "package unknown is missing"]}


def test_all_refusals_are_told_together_and_the_first_one_gives_the_kind(module, tmp_path, monkeypatch):
    (tmp_path / "directory").mkdir()
    entries = [file(tmp_path / "directory", content="x")]
    module.params = {
        "questions": [question("a", "fileset", entries=entries), question("b", "fileset", entries=[{"path": "x"}])],
        "node_info": {},
    }
    monkeypatch.setattr(asking, "node_info", lambda *_arguments: pytest.fail("the node was asked all the same"))
    with pytest.raises(OpsError, match="(?s)move it away.*'x' is not an absolute path") as raised:
        asking.site_info(module, Runner())
    assert raised.value.kind == "conflict"


def test_secrets_are_known_and_everything_else_may_be_shown(module, tmp_path):
    module.no_log_values = {"all", "of", "it"}
    module.params = {
        "questions": [question("a", "fileset", entries=[file(tmp_path / "cookie", secret="hush", mode="0400")])],
        "node_info": {},
    }
    with pytest.raises(OpsError, match="node_info: missing required arguments: node"):
        asking.site_info(module, Runner())
    assert module.no_log_values == {"hush"}


def answers(monkeypatch, **results):
    """Let questions of these kinds be answered with what a module would return, or would raise."""

    def load(name):
        spec, _answer, texts = kind(name)

        def answer(_module, _runner):
            if isinstance(results[name], Exception):
                raise results[name]
            return results[name]

        return dict.fromkeys(spec, {"type": "raw"}), answer, texts

    monkeypatch.setattr(asking, "kind", load)


REFUSED = OpsError("sys.config line 3: no", kind="config", problems=["line 3"], by_release=True)
SAME = {"changed": False, "version": "2"}
OTHER = {"needs_archive": True, "state": {"damaged": []}}
BOTH = [question("erlmcp_release", "release"), question("erlmcp_node", "config")]


def test_another_release_has_to_accept_the_config(module, monkeypatch):
    answers(monkeypatch, release=OTHER, config={"steps": []})
    differs, *_others = ask(module, BOTH, None)
    assert differs == {
        "erlmcp_release": ["the archive is not installed"],
        "erlmcp_node": ["another release judges the config"],
    }


@pytest.mark.parametrize(("release", "refused"), [(SAME, [REFUSED]), (OTHER, [])], ids=["same", "other"])
def test_a_config_that_the_old_release_refuses_may_be_for_the_new_one(module, monkeypatch, release, refused):
    answers(monkeypatch, release=release, config=REFUSED)
    differs, refusals, _answers = ask(module, BOTH, None)
    assert refusals == refused
    assert ("erlmcp_node" in differs) is not bool(refused)


FIREWALL = {"changed": False, "installed": True, "backend": "ufw"}
NO_FILES = {"changed": True, "changed_paths": [], "started_units": [], "stopped_units": [], "missing_programs": []}


@pytest.mark.parametrize(
    ("name", "result", "texts"),
    [
        ("release", {"changed": True, "version": "2"}, ["release 2 waits or is pruned"]),
        ("config", {"steps": ["stage"]}, ["stage"]),
        ("certificate", {"changed": True, "due": ["missing"]}, ["certificate: missing"]),
        ("certificate", {"changed": True, "due": []}, ["certificate: its files"]),
        ("certificate", {"changed": False, "due": ["expires"]}, []),
        ("firewall", {"changed": True, "installed": True, "backend": "ufw"}, ["rules of ufw"]),
        ("firewall", {"changed": False, "installed": True, "backend": "ufw"}, []),
        ("audit_rules", {"changed": True}, ["audit rules"]),
        ("audit_rules", {"changed": False}, []),
        ("fileset", NO_FILES, ["units are to be read anew"]),
        (
            "fileset",
            {**NO_FILES, "changed_paths": ["/a"], "started_units": ["b.timer"], "stopped_units": ["c.timer"]},
            ["/a", "b.timer is not running", "c.timer is running"],
        ),
    ],
)
def test_what_a_module_would_change_makes_its_role_due(module, monkeypatch, name, result, texts):
    answers(monkeypatch, **{name: result})
    differs, *_others = ask(module, [question("a", name, **({"enabled": True} if name == "firewall" else {}))], None)
    assert differs == ({"a": texts} if texts else {})


@pytest.mark.parametrize(("enabled", "differs"), [(True, {"a": ["ufw is not installed"]}), (False, {})])
def test_a_firewall_that_is_not_wanted_need_not_be_installed(module, monkeypatch, enabled, differs):
    answers(monkeypatch, firewall={"changed": False, "installed": False, "backend": "ufw"})
    assert ask(module, [question("a", "firewall", enabled=enabled)], None)[:2] == (differs, [])


def test_what_a_role_would_ask_again_is_passed_on(module, monkeypatch):
    answers(monkeypatch, firewall=FIREWALL, release=SAME, config=REFUSED)
    asked = [*BOTH, question("erlmcp_firewall", "firewall", enabled=True)]
    assert ask(module, asked, None)[2] == {"firewall": FIREWALL, "release": SAME}


def test_what_cannot_be_asked_is_named(module):
    with pytest.raises(OpsError, match="'restore' cannot be asked, only account, .*release"):
        ask(module, [question("a", "restore")], Runner())
