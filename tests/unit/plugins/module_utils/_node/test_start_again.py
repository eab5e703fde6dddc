# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What keeps a node from starting again is named with its command, which is run as it is told; else nothing is said."""

from __future__ import annotations

import getpass
import json
import os
import socket
import subprocess
from types import SimpleNamespace

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Completed, Runner
from ansible_collections.erlmcp.ops.plugins.module_utils._core.slots import Slots
from ansible_collections.erlmcp.ops.plugins.module_utils._node import start_again
from ansible_collections.erlmcp.ops.plugins.module_utils._node.around import look_around
from ansible_collections.erlmcp.ops.plugins.module_utils._node.start_again import around, laid_down, refuse_stop
from ansible_collections.erlmcp.ops.plugins.module_utils._release.whole import damaged_files, note_files

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


class FakeSystemd:
    """A fake: every unit is as the test says."""

    def __init__(self, active):
        self.active = active

    def run(self, argv, **_options):
        said = "no space" if argv[0] == "journalctl" else f"ActiveState={self.active}\nResult=exit-code\n"
        return Completed(0, said, "")


def look(*directories, user="nobody", ports=()):
    node = {"name": "a@h", "user": user, "service": "erlmcp", "owned_dirs": [*map(str, directories)], "ports": [*ports]}
    return around(node, None)


def codes(rows):
    return [row.code for row in rows]


@pytest.fixture(name="data")
def _data(tmp_path):
    """A directory of the account, with what root may have there."""
    for name in ("mnesia", "lost+found", ".erlmcp-spool/below"):
        (tmp_path / "data" / name).mkdir(parents=True)
    (tmp_path / "data/mnesia/item.DCD").touch()
    (tmp_path / "data/mnesia/schema.DAT").touch()
    (tmp_path / "data/link").symlink_to(tmp_path / "outside")
    (tmp_path / "outside").touch()
    for name in (".", "mnesia", "mnesia/item.DCD", "mnesia/schema.DAT", "link"):
        os.lchown(tmp_path / "data" / name, 65534, 65534)
    tmp_path.chmod(0o755)
    return tmp_path / "data"


@ROOT_ONLY
def test_what_the_account_owns_and_what_is_roots_is_not_told_of(data):
    assert look(data, data / "missing") == []
    assert look(data, user="no such account") == []


@ROOT_ONLY
def test_what_the_account_cannot_write_is_named_and_the_command_gives_it_back(data):
    for number in range(4):
        (data / f"mnesia/restored {number}\n").touch(0o644)
    os.lchown(data / "link", 0, 0)
    useless, strange = look(data)
    assert (useless.code, useless.state) == ("ERLMCP_NOT_WRITABLE", "CRIT")
    assert useless.evidence.startswith(f"{data}/mnesia/restored 0\\x0a (root:root 0644), ")
    assert " and 1 more cannot be written by nobody" in useless.evidence
    assert (strange.code, strange.state) == ("ERLMCP_NOT_OWNED", "WARN")
    assert strange.evidence == f"{data}/link (root:root 0777) is not owned by nobody"
    subprocess.run(["sh", "-c", useless.remedy.removeprefix("Give it back: ")], check=True)
    assert look(data) == []
    assert (data.parent / "outside").stat().st_uid == 0
    assert (data / ".erlmcp-spool/below").stat().st_uid == 0


@ROOT_ONLY
def test_what_belongs_to_another_and_can_be_used_is_a_warning(data):
    (data / "mnesia/shared").touch()
    (data / "mnesia/shared").chmod(0o666)
    assert codes(look(data)) == ["ERLMCP_NOT_OWNED"]


@ROOT_ONLY
@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("dump.gz", b"somebody's dump", "ERLMCP_NOT_OWNED"),
        ("audit", b"\0\0\0\0\0\xab\xcd\xef", "ERLMCP_NOT_WRITABLE"),
        ("node.log", b"", "ERLMCP_NOT_WRITABLE"),
    ],
)
def test_only_what_a_node_needs_keeps_it_from_starting(data, name, content, code):
    (data / name).write_bytes(content)
    (data / name).chmod(0o600)
    assert codes(look(data)) == [code]


@ROOT_ONLY
def test_tables_may_lie_at_the_top(tmp_path):
    os.chown(tmp_path, 65534, 65534)
    (tmp_path / "schema.DAT").touch(0o600)
    assert codes(look(tmp_path)) == ["ERLMCP_NOT_WRITABLE"]


@ROOT_ONLY
@pytest.mark.parametrize(("name", "mode"), [("mnesia", 0o600), ("mnesia/item.DCD", 0o200), ("mnesia/item.DCD", 0)])
def test_modes_that_lock_the_account_out_are_named_and_the_command_mends_them(data, name, mode):
    # What the test runs as the account has to get there.
    for parent in data.parents:
        if parent.owner() == "root" and parent.is_relative_to("/tmp/pytest-of-root"):
            parent.chmod(0o755)
    (data / name).chmod(mode)
    (row,) = look(data)
    assert row.code == "ERLMCP_NOT_WRITABLE"
    subprocess.run(["sh", "-c", row.remedy.removeprefix("Give it back: ")], check=False, capture_output=True)
    assert look(data) == []


@ROOT_ONLY
def test_what_the_account_only_reads_is_its_own_choice(data):
    (data / "mnesia/item.DCD").chmod(0o400)
    assert look(data) == []


@ROOT_ONLY
def test_the_directory_itself_is_given_back_by_site(data):
    os.chown(data, 0, 0)
    (row,) = look(data)
    assert (row.code, row.remedy) == ("ERLMCP_NOT_WRITABLE", "The playbook site gives it back")


@ROOT_ONLY
def test_no_more_is_looked_at_than_is_bearable(data, monkeypatch):
    (data / "mnesia/restored").touch()
    monkeypatch.setattr(start_again, "_LOOKED_AT", 2)
    assert look(data) == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, None),
        ({"f_bavail": 63}, "ERLMCP_DISK_FULL"),
        ({"f_favail": 99}, "ERLMCP_DISK_FULL"),
        # Makes inodes when it needs them.
        ({"f_files": 0, "f_favail": 0}, None),
        ({"f_flag": os.ST_RDONLY}, "ERLMCP_DISK_READ_ONLY"),
    ],
)
def test_a_disk_without_room_is_named(tmp_path, monkeypatch, changes, code):
    disk = {"f_bavail": 64, "f_frsize": 1024**2, "f_files": 1000, "f_favail": 100, "f_flag": 0, **changes}
    monkeypatch.setattr(os, "statvfs", lambda _path: SimpleNamespace(**disk))
    assert codes(look(tmp_path, user=getpass.getuser())) == ([code] if code else [])


def test_a_port_that_somebody_else_has_is_named_with_who_that_is():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (row,) = look(ports=[port])
    assert (row.code, row.state) == ("ERLMCP_PORT_TAKEN", "CRIT")
    assert f"port {port} of the node is taken by process {os.getpid()} (" in row.evidence
    assert look(ports=[port]) == []


class FakeObserver:
    """A fake node, whose release, config and cookie are files of the test."""

    def __init__(self, root):
        self.node = SimpleNamespace(name="a@h", runner=Runner())
        self.releases = Slots(str(root), "releases")
        self.configs = Slots(str(root / "etc"), "sets")
        self.spec = {
            "name": "a@h",
            "name_type": "long",
            "release_name": "erlmcp",
            "user": getpass.getuser(),
            "service": "no-such-erlmcp",
            "home_dir": str(root),
            "install_dir": str(root),
            "config_dir": str(root / "etc"),
            "owned_dirs": [],
            "ports": [],
        }
        self.has_started_so = True
        self.unit = SimpleNamespace(state=lambda: SimpleNamespace(is_laid_down=self.has_unit))
        self.has_unit = True

    def runs_with_its_config(self):
        return self.has_started_so


@pytest.fixture(name="observer")
def _observer(tmp_path):
    (tmp_path / "releases/1/bin").mkdir(parents=True)
    (tmp_path / "releases/1/bin/erlmcp").write_text("start")
    (tmp_path / "releases/1/bin/link").symlink_to("erlmcp")
    note_files(str(tmp_path / "releases/1"))
    (tmp_path / "etc/sets/one").mkdir(parents=True)
    for name in ("sys.config", "vm.args", "env.sh"):
        (tmp_path / "etc/sets/one" / name).write_text("'")
    observer = FakeObserver(tmp_path)
    for slots, name in ((observer.releases, "1"), (observer.configs, "one")):
        slots.stage(name)
        slots.activate()
    (tmp_path / ".erlang.cookie").write_text("cookie")
    (tmp_path / ".erlang.cookie").chmod(0o400)
    return observer


def test_of_a_node_that_could_start_again_nothing_is_said(observer):
    assert laid_down(observer) == []
    refuse_stop(observer, "")


@pytest.mark.parametrize(
    "damage",
    [
        lambda release: (release / "bin/erlmcp").unlink(),
        lambda release: (release / "bin/erlmcp").write_text("other"),
        lambda release: os.utime(release / "bin/erlmcp", (1, 1)),
        lambda release: ((release / "bin/link").unlink(), (release / "bin/link").symlink_to("other")),
        lambda release: (release / ".erlmcp-files.json").write_text("{"),
    ],
    ids=["missing", "shorter", "touched", "another link", "list broken"],
)
def test_a_damaged_release_is_named(observer, tmp_path, damage):
    damage(tmp_path / "releases/1")
    (row,) = laid_down(observer)
    assert (row.code, row.state) == ("ERLMCP_RELEASE_DAMAGED", "CRIT")
    with pytest.raises(
        OpsError, match=r"^a@h is left running, because it could not start again: release 1 .* Way out$"
    ):
        refuse_stop(observer, "Way out")
    refuse_stop(observer, "Way out", ["ERLMCP_RELEASE_DAMAGED"])


def test_a_release_of_an_older_version_of_the_collection_is_not_judged(tmp_path):
    (tmp_path / "file").touch()
    assert damaged_files(str(tmp_path)) == []
    note_files(str(tmp_path))
    assert sorted(json.loads((tmp_path / ".erlmcp-files.json").read_text())) == ["file"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda cookie: cookie.unlink(), "is missing"),
        (lambda cookie: (cookie.chmod(0o600), cookie.write_text(""))[:0], "is empty"),
        (lambda cookie: cookie.chmod(0o440), "'s alone"),
        (lambda cookie: cookie.chmod(0), "'s alone"),
    ],
    ids=["missing", "empty", "readable", "unreadable"],
)
def test_a_cookie_with_which_erlang_does_not_start_is_named(observer, tmp_path, change, told):
    change(tmp_path / ".erlang.cookie")
    (row,) = laid_down(observer)
    assert row.code == "ERLMCP_COOKIE"
    assert told in row.evidence


def test_a_config_that_nobody_has_started_with_is_tried(observer, tmp_path):
    observer.has_started_so = False
    (row,) = laid_down(observer)
    assert row.code == "ERLMCP_CONFIG_BROKEN"
    assert "vm.args line 1: the quote ' is not closed" in row.evidence
    (tmp_path / "etc/sets/one/vm.args").unlink()
    assert "vm.args is missing" in laid_down(observer)[0].evidence
    observer.configs.stage("one")
    observer.has_started_so = True
    assert laid_down(observer) == []


def test_a_release_or_a_config_directory_that_is_gone_is_named_once(observer, tmp_path):
    (tmp_path / "etc").rename(tmp_path / "moved")
    (row,) = laid_down(observer)
    assert (row.code, row.state) == ("ERLMCP_CONFIG_BROKEN", "CRIT")
    assert f"no config is in {tmp_path}/etc" in row.evidence
    (tmp_path / "moved").rename(tmp_path / "etc")
    (tmp_path / "releases/1").rename(tmp_path / "gone")
    assert codes(laid_down(observer)) == ["ERLMCP_RELEASE_DAMAGED"]


def test_where_nothing_was_laid_down_nothing_is_missing(tmp_path):
    observer = FakeObserver(tmp_path)
    observer.has_unit = False
    assert laid_down(observer) == []


@pytest.mark.parametrize("line", ["-name b@h", "-sname 'b@h'"])
def test_the_host_of_another_node_is_named_and_nothing_there_is_stopped(observer, tmp_path, line):
    (tmp_path / "etc/sets/one/vm.args").write_text(f"-name a@h\n{line}\n")
    (tmp_path / ".erlang.cookie").unlink()
    (row,) = laid_down(observer)
    assert (row.code, row.state) == ("ERLMCP_OTHER_NODE", "CRIT")
    assert f"({socket.gethostname()}) is b@h, and the inventory takes it for that of a@h" in row.evidence
    with pytest.raises(OpsError, match="is b@h"):
        refuse_stop(observer, "")
    # It gets another name with the config that waits.
    (tmp_path / "etc/sets/two").mkdir()
    (tmp_path / "etc/sets/two/vm.args").write_text("-name a@h\n")
    observer.configs.stage("two")
    assert codes(laid_down(observer)) == ["ERLMCP_COOKIE"]


def test_what_an_operator_has_laid_down_elsewhere_is_not_gone(observer, tmp_path):
    (tmp_path / "by-hand").mkdir()
    (tmp_path / "current").unlink()
    (tmp_path / "current").symlink_to("by-hand")
    (tmp_path / "etc/current").unlink()
    assert codes(laid_down(observer)) == ["ERLMCP_CONFIG_BROKEN"]
    (tmp_path / "etc/sys.config").write_text("[].")
    assert laid_down(observer) == []


def test_a_service_that_has_failed_is_named_and_warned_of():
    def warned(active):
        texts = []
        node = {"name": "a@h", "user": "nobody", "owned_dirs": [], "ports": []}
        params = {"node": node, "watched_services": ["logrotate"]}
        rows = look_around(SimpleNamespace(params=params, warn=texts.append), FakeSystemd(active))
        return [row["code"] for row in rows], texts

    assert warned("inactive") == ([], [])
    (code,), (text,) = warned("failed")
    assert code == "ERLMCP_SERVICE_FAILED"
    assert text == (
        "a@h: logrotate.service has failed (exit-code) after it said: no space: journalctl -u logrotate.service "
        "tells more. Once that is mended: systemctl start logrotate.service"
    )
