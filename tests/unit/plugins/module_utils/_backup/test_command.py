# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command on the host, with fake actions in the place of the real ones."""

from __future__ import annotations

import json
import os
import sys
from types import SimpleNamespace

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._backup import command
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Completed

PACKAGE = command.__name__.rpartition(".")[0]
NODE = {"name": "erlmcp@n1.test", "home_dir": "/etc/erlmcp/home"}
TABLES = [{"name": "a", "rows": 3}, {"name": "b", "rows": 4}]
RESULTS = {
    "backup": {
        "changed": True,
        "archive": "/store/x",
        "size": 1024**2,
        "seconds": 1.5,
        "downtime_seconds": 0.0,
        "tables": TABLES,
        "steps": ["write the archive"],
        "warnings": ["one file is a pipe"],
    },
    "backup_info": {
        "backups": [
            {"name": "x", "size": 2 * 1024**2, "verified": {"level": "tables"}, "copied": None, "problem": None},
            {"name": "longer", "size": 0, "verified": None, "copied": {"destination": "off:"}, "problem": "is cut off"},
        ],
        "safety_copies": [{"path": "/var/lib/erlmcp.before-restore-1", "size": 0}],
    },
    "backup_verify": {"results": [{"archive": "/store/x", "level": "tables", "tables": TABLES}]},
    "backup_prune": {"removed": ["x"], "removed_safety_copies": [], "kept": [{}, {}], "freed_bytes": 1024**2},
    "backup_copy": {"changed": True, "archive": "/store/x", "destination": "off:"},
    "restore": {"archive": "/store/x", "downtime_seconds": 2.5, "safety_copy": "/var/lib/erlmcp.before-restore-1"},
    "restore_drill": {"archive": "/store/x", "start_seconds": 1.1, "seconds": 9.9, "tables": TABLES},
}


class FakeActions:
    """Takes the place of the modules with the actions; ``calls`` is what they were called with."""

    def __init__(self, monkeypatch):
        self.calls = []
        self.fail = lambda: None
        for verb in command.VERBS.values():
            _spec, module, function = verb.action
            fake = SimpleNamespace(**{function: self._action(function)})
            monkeypatch.setitem(sys.modules, f"{PACKAGE}.{module}", fake)

    def _action(self, function):
        def action(module, runner):
            self.calls.append((function, module, runner))
            self.fail()
            return RESULTS[function]

        return action

    @property
    def params(self):
        return self.calls[-1][1].params


@pytest.fixture(name="actions")
def _actions(monkeypatch):
    return FakeActions(monkeypatch)


@pytest.fixture(name="settings")
def _settings(tmp_path, monkeypatch):
    def write(name="erlmcp", **options):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps({"node": NODE, "host": "n1.test", **options}))
        return path

    monkeypatch.setattr(command, "SETTINGS_DIR", str(tmp_path))
    write()
    return write


def run(*argv, runner="the runner"):
    return command.run(list(argv), runner)


def test_an_action_gets_settings_and_defaults_as_from_ansible(actions, settings):
    settings(keep_days=3, store_dir="/store", recipients=["age1x"])
    assert run("backup") == 0
    function, module, runner = actions.calls[0]
    assert (function, module.check_mode, runner) == ("backup", False, "the runner")
    assert module.params["store_dir"] == "/store"
    assert module.params["recipients"] == ["age1x"]
    assert module.params["method"] == "hot"
    assert module.params["node"]["service"] == "erlmcp"
    assert module.params["health"]["status_key"] == "status"
    assert module.params["health"]["url"] is None
    assert "keep_days" not in module.params
    run("prune")
    assert actions.params["keep_days"] == 3


def test_the_command_line_goes_before_the_settings(actions, settings):
    settings(method="hot")
    run("backup", "--method", "stop")
    assert actions.params["method"] == "stop"


def test_another_service_and_another_file(actions, settings):
    settings("second", store_dir="/second")
    path = settings("third", store_dir="/third")
    run("--service", "second", "list")
    assert actions.params["store_dir"] == "/second"
    run("list", "--settings", str(path))
    assert actions.params["store_dir"] == "/third"


@pytest.mark.parametrize("argv", [("--check", "backup"), ("backup", "--check")])
def test_check_mode_is_handed_on_and_told(actions, settings, capsys, argv):
    assert run(*argv) == 0
    assert actions.calls[0][1].check_mode
    assert capsys.readouterr().out == "A run would:\n- write the archive\n"


def test_a_restore_as_an_operator_asks_for_it(actions, settings, tmp_path):
    settings(members=["config", "data", "logs"])
    (tmp_path / "key").write_text("AGE-SECRET-KEY-1X\n")
    run(
        "restore",
        "x.tar.zst",
        "--identity-file",
        str(tmp_path / "key"),
        "--node-name",
        "a@b=c@d",
        "--node-name",
        "e@f=g@h",
    )
    assert actions.params["archive"] == "x.tar.zst"
    assert actions.params["members"] == ["config", "data"]
    assert actions.params["node_map"] == {"a@b": "c@d", "e@f": "g@h"}
    assert actions.params["identity"] == "AGE-SECRET-KEY-1X\n"
    assert actions.calls[-1][1].no_log_values == {"AGE-SECRET-KEY-1X\n"}
    run("restore", "latest", "--data-only", "--allow-newer")
    assert (actions.params["members"], actions.params["allow_newer"]) == (["data"], True)
    run("restore", "latest", "--config-only")
    assert actions.params["members"] == ["config"]
    run("restore", "--undo")
    assert actions.params["state"] == "reverted"


@pytest.mark.parametrize(
    "argv",
    [
        ("restore",),
        ("restore", "x", "--undo"),
        ("restore", "x", "--data-only", "--config-only"),
        ("restore", "x", "--node-name", "a"),
        ("backup", "--method", "warm"),
        ("--service", "a", "--settings", "b", "list"),
        ("burn",),
        (),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(actions, settings, argv):
    with pytest.raises(SystemExit) as stopped:
        run(*argv)
    assert stopped.value.code == 2
    assert not actions.calls


def test_verify_takes_an_archive_or_all(actions, settings):
    run("verify")
    assert (actions.params["archive"], actions.params["all"], actions.params["level"]) == ("latest", False, "tables")
    assert actions.params["host"] == "n1.test"
    run("verify", "x", "--level", "bytes")
    assert (actions.params["archive"], actions.params["level"]) == ("x", "bytes")
    run("verify", "--all")
    assert actions.params["all"]


def test_a_list_shows_archives_of_every_host(actions, settings, capsys):
    run("list")
    assert actions.params["host"] is None
    assert capsys.readouterr().out.splitlines() == [
        "ARCHIVE  SIZE     VERIFIED  COPIED TO  PROBLEM",
        "x        2.0 MiB  tables    -          -",
        "longer   0.0 MiB  -         off:       is cut off",
        "moved aside: /var/lib/erlmcp.before-restore-1, 0.0 MiB",
    ]


@pytest.mark.parametrize(
    ("verb", "told"),
    [
        ("backup", "/store/x: 1.0 MiB in 1.5 s, 7 rows in 2 tables"),
        ("verify", "/store/x: good (tables), 7 rows in 2 tables"),
        ("prune", "removed: x\n2 kept, 1.0 MiB freed"),
        ("copy", "/store/x copied to and proven at off:"),
        ("restore x", "/store/x is in service, the node was down for 2.5 s; what it replaced is kept in /var/lib/erl"),
        ("drill", "/store/x: healthy after 1.1 s, 7 rows in 2 tables; 9.9 s in all"),
    ],
)
def test_people_are_told_in_a_line(actions, settings, capsys, verb, told):
    settings(tool="rclone", destination="off:")
    assert run(*verb.split()) == 0
    assert capsys.readouterr().out.startswith(told)


def test_programs_get_the_whole_result(actions, settings, capsys):
    run("backup", "--json")
    captured = capsys.readouterr()
    assert json.loads(captured.out) == RESULTS["backup"]
    assert captured.err == ""
    run("backup")
    assert capsys.readouterr().err == "erlmcp-ops: warning: one file is a pipe\n"


@pytest.mark.parametrize(("kind", "status"), [("archive", 1), ("locked", 75)])
def test_a_refusal_is_a_message_and_a_status(actions, settings, capsys, kind, status):
    def fail():
        raise OpsError("a restore (process 7) is at work", kind=kind)

    actions.fail = fail
    assert run("--json", "backup") == status
    captured = capsys.readouterr()
    assert captured.err == "erlmcp-ops: a restore (process 7) is at work\n"
    assert captured.out == ""


def test_nobody_but_root(actions, settings, monkeypatch, capsys):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert run("list") == 77
    assert "root" in capsys.readouterr().err
    assert not actions.calls


@pytest.mark.parametrize(
    ("options", "verb", "message"),
    [
        ({"keep_days": "3"}, "prune", "keep_days is not of type int"),
        ({"keep_days": True}, "prune", "keep_days is not of type int"),
        ({"method": "warm"}, "backup", "method is 'warm', and not one of hot, cold, stop"),
        ({"members": ["data", "music"]}, "backup", "members[1] is 'music'"),
        ({"exclude": [3]}, "backup", "exclude[0] is not of type str"),
        ({"exclude": [None]}, "backup", "exclude[0] is missing"),
        ({"keep_dayz": 3}, "list", "there is no option keep_dayz"),
        ({"node": {"name": "a@b"}}, "backup", "node.home_dir is missing"),
        ({"node": {**NODE, "nome": "x"}}, "backup", "there is no option node.nome"),
        ({"health": {"required_level": "x"}}, "backup", "health.required_level is 'x'"),
        ({"host": None}, "backup", "host is missing"),
        ({}, "copy", "tool is missing"),
    ],
)
def test_bad_settings_name_the_file_and_the_option(actions, settings, capsys, options, verb, message):
    path = settings(**options)
    assert run(verb) == 1
    assert capsys.readouterr().err.startswith(f"erlmcp-ops: {path}: {message}")
    assert not actions.calls


@pytest.mark.parametrize(("text", "message"), [("{", "cannot be read"), ("[]", "holds no JSON object")])
def test_a_file_that_is_no_json_is_named(actions, settings, capsys, text, message):
    path = settings()
    path.write_text(text)
    assert run("list") == 1
    assert f"{path} {message}" in capsys.readouterr().err


def test_an_identity_that_is_not_there_is_named(actions, settings, capsys):
    assert run("verify", "--identity-file", "/nowhere/key") == 1
    assert "--identity-file: /nowhere/key" in capsys.readouterr().err


class FakeShell:
    """A Runner whose shell command ends with ``status``."""

    def __init__(self, status=0):
        self.status = status
        self.calls = []

    def run(self, argv, stdin, timeout):
        self.calls.append((argv, stdin))
        return Completed(self.status, "", "no route to host")


@pytest.fixture(name="metrics")
def _metrics(monkeypatch):
    written = []
    fake = SimpleNamespace(write_metrics=lambda directory, updates: written.append((directory, list(updates))))
    monkeypatch.setitem(sys.modules, f"{PACKAGE}.metrics", fake)
    return written


def test_a_failure_is_logged_counted_and_told(settings, metrics, capsys):
    settings(metrics_dir="/metrics", failure_command="mail -s x root")
    shell = FakeShell()
    assert run("failed", runner=shell) == 0
    out = capsys.readouterr().out
    assert out.startswith("<2>The scheduled backup of erlmcp on host ")
    assert "systemctl start erlmcp-backup.service" in out
    assert metrics == [("/metrics", ["erlmcp_backup_last_failure_timestamp_seconds"])]
    assert shell.calls == [(["/bin/sh", "-c", "mail -s x root"], out[3:])]


def test_a_failure_is_logged_whatever_the_settings_are(settings, metrics, capsys):
    settings().write_text("{")
    assert run("failed", runner=FakeShell()) == 1
    assert capsys.readouterr().out.startswith("<2>")


def test_a_failure_command_that_fails_is_told(settings, metrics, capsys):
    settings(failure_command="mail")
    assert run("failed", runner=FakeShell(3)) == 1
    assert "erlmcp_backup_failure_command ended with status 3: no route to host" in capsys.readouterr().err
