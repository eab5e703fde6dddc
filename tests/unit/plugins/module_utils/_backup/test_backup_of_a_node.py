# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hot backups of real Erlang nodes, proven afterwards; systemctl alone is a fake."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._backup import backup as backup_module
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.command import Call, options_for
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.erlang_text import binary
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.spec import SPECS
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.verify import backup_verify
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Completed
from ansible_collections.erlmcp.ops.plugins.module_utils._node.observe import Observer
from ansible_collections.erlmcp.ops.tests.unit.plugins.module_utils._backup.erlang_nodes import (
    PrivateRunner,
    private_erlang,
)

NAME = "live@127.0.0.1"

OPEN = """
Self = self(),
spawn(fun() -> {ok, _} = file:open(unicode:characters_to_list(PATH), [write]), Self ! open, timer:sleep(infinity) end),
receive open -> ok end
"""
# Like a release that starts before Mnesia.
MNESIA_LATER = """
ok = mnesia:create_schema([node()]), ok = mnesia:start(),
{atomic, ok} = mnesia:create_table(item, [{disc_copies, [node()]}]),
[mnesia:dirty_write({item, Key, 0}) || Key <- lists:seq(1, 9)],
stopped = mnesia:stop(),
spawn(fun() -> timer:sleep(SECONDS * 1000), mnesia:start(), timer:sleep(infinity) end), ok
"""


class HostRunner(PrivateRunner):
    """A fake of systemd: the unit runs, and its process is the node's."""

    def __init__(self, port, pid):
        super().__init__(port)
        self.pid = pid

    def run(self, argv, stdin="", account=None, env=None, timeout=60, tied=False):
        if argv[0] == "systemctl":
            return Completed(0, f"LoadState=loaded\nActiveState=active\nSubState=running\nMainPID={self.pid}\n", "")
        return super().run(argv, stdin=stdin, account=account, env=env, timeout=timeout, tied=tied)


@pytest.fixture(scope="module", name="erlang")
def _erlang(tmp_path_factory):
    with private_erlang(tmp_path_factory.mktemp("home")) as started:
        yield started


class Host:
    """A running node, and what the modules are told of it."""

    def __init__(self, erlang, node, pid, root):
        self.node = node
        self.data = root / "data"
        self.store = root / "store"
        self.runner = HostRunner(erlang.port, pid)
        node_spec = {**erlang.spec(NAME), "service": "erlmcp", "run_dir": str(root), "release_name": "erlmcp"}
        self.settings = {
            "node": node_spec,
            "health": {"required_level": "ping", "application": "kernel", "settle_seconds": 0},
            "data_dir": str(self.data),
            "log_dir": str(root / "log"),
            "store_dir": str(self.store),
            "run_dir": str(root / "run"),
            "host": "h",
            "compression": "gzip",
            "start_timeout_seconds": 20,
        }

    def _call(self, spec, check_mode, options):
        return Call(options_for(SPECS[spec], {**self.settings, **options}, "the test"), check_mode)

    def backup(self, check_mode=False, **options):
        return backup_module.backup(self._call("backup", check_mode, options), self.runner)

    def verify(self):
        return backup_verify(self._call("backup_verify", False, {}), self.runner)["results"][0]

    def archives(self):
        return sorted(os.listdir(self.store)) if self.store.exists() else []

    def manifest(self):
        return json.loads(next(self.store.glob("*.gz.json")).read_text())["manifest"]


@pytest.fixture(name="host")
def _host(erlang, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "log").mkdir()
    with erlang.node(NAME, tmp_path / "data" / "mnesia") as (node, process):
        pid = int(node.evaluate("list_to_integer(os:getpid())"))
        assert pid == process.pid
        yield Host(erlang, node, pid, tmp_path)


class CrashesLater(Observer):
    """A fake: a node that is healthy when it was started, and is not the next time."""

    def __init__(self):
        verbs = dict.fromkeys(("stop", "start"), lambda _timeout: None)
        self.unit = SimpleNamespace(**verbs)
        self.looks = 0

    def observe(self, **_options):
        self.looks += 1
        health = {"healthy": self.looks == 1, "detail": "its application has ended"}
        return {"name": NAME, "pid": 42, "health": health}


def test_a_node_that_crashes_after_the_copy_is_not_called_healthy(erlang, tmp_path):
    settings = Host(erlang, None, 42, tmp_path).settings
    settings = {**settings, "method": "stop", "start_timeout_seconds": 1}
    settings["health"] = {**settings["health"], "settle_seconds": 1}
    (tmp_path / "run").mkdir()
    job = backup_module.Backup(options_for(SPECS["backup"], settings, "the test"), erlang.runner)
    job.observer = CrashesLater()
    with pytest.raises(OpsError, match="is not healthy since: its application has ended"), job._stopped():
        pass
    assert list((tmp_path / "run").iterdir()) == []


@pytest.mark.parametrize("files", [[], ["notes"]])
def test_a_node_without_tables_is_backed_up_while_it_runs(host, files):
    for name in files:
        (host.data / name).write_text("kept")
    assert host.backup()["tables"] == []
    manifest = host.manifest()
    assert (manifest["method"], manifest["mnesia"], manifest["tables"]) == ("hot", None, [])
    assert [each["name"] for each in manifest["files"]] == [f"data/{name}" for name in files]
    assert (host.verify()["level"], host.verify()["problem"]) == ("tables", None)


@pytest.mark.parametrize("check_mode", [True, False])
def test_a_file_that_the_node_has_open_is_refused(host, check_mode):
    host.node.evaluate(OPEN.replace("PATH", binary(host.data / "journal.bin")))
    with pytest.raises(OpsError, match=r"journal\.bin open for writing.*erlmcp_backup_method: stop"):
        host.backup(check_mode)
    assert host.archives() == []
    assert host.backup(exclude=["*.bin"])["tables"] == []


def test_a_file_that_is_opened_while_the_others_are_read_is_refused(host, monkeypatch):
    write = backup_module.write_archive

    def opened_meanwhile(*arguments, **options):
        host.node.evaluate(OPEN.replace("PATH", binary(host.data / "journal.bin")))
        return write(*arguments, **options)

    monkeypatch.setattr(backup_module, "write_archive", opened_meanwhile)
    with pytest.raises(OpsError, match=r"journal\.bin open for writing"):
        host.backup()
    assert host.archives() == []


def test_mnesia_that_starts_later_is_waited_for(host):
    host.node.evaluate(MNESIA_LATER.replace("SECONDS", "2"))
    assert [(each["name"], each["rows"]) for each in host.backup()["tables"]] == [("item", 9)]


def test_mnesia_that_does_not_start_in_time_is_told(host):
    host.node.evaluate(MNESIA_LATER.replace("SECONDS", "600"))
    with pytest.raises(OpsError, match=r"Mnesia does not run, and tables are there \(.*schema.DAT\) \(after 1 s\)"):
        host.backup(start_timeout_seconds=1)
    assert host.archives() == []


def test_that_there_are_no_tables_is_not_believed_before_the_application_runs(host):
    later = '{application, later, [{vsn, "1"}, {applications, [kernel, stdlib]}]}'
    host.node.evaluate(
        f"ok = application:load({later}), spawn(fun() -> timer:sleep(2000), application:start(later) end), ok"
    )
    slow = {"required_level": "ping", "application": "later", "settle_seconds": 0}
    with pytest.raises(OpsError, match="application later does not run"):
        host.backup(health=slow, start_timeout_seconds=0)
    assert host.backup(health=slow)["tables"] == []
