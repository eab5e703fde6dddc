# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Both halves of module ``backup_fetch``, with a function call in place of a connection."""

from __future__ import annotations

import os
import shutil
from types import SimpleNamespace

import pytest
from ansible_collections.erlmcp.ops.plugins.action import backup_fetch as topic
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.pieces import backup_fetch, read_piece
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.store import Store
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.tests.unit.plugins.module_utils._backup.stored_archives import publish

CONTENT = bytes(range(256)) * 10
PIECE = 1000


class Action(topic.ActionModule):
    """The plugin with the module's real code in place of a host, and a record of what was asked."""

    def __init__(self, store, dest, check_mode):
        self.context = SimpleNamespace(no_log=False)
        super().__init__(
            task=SimpleNamespace(args={"store_dir": store, "dest_dir": dest}, check_mode=check_mode, async_val=0),
            connection=SimpleNamespace(_play_context=self.context, _shell=SimpleNamespace(tmpdir="/")),
            play_context=None,
            loader=None,
            templar=None,
            shared_loader_obj=None,
        )
        self.pieces = []
        self.meanwhile = lambda number: None

    def _execute_module(self, module_name, module_args, task_vars):
        piece = module_args["piece"]
        if piece:
            assert self.context.no_log, "-vvv prints it"
            self.meanwhile(len(self.pieces))
            self.pieces.append((os.path.basename(piece["path"]), piece["offset"]))
        try:
            return backup_fetch(SimpleNamespace(params={"archive": "latest", "host": None, **module_args}))
        except OpsError as error:
            return {"failed": True, "msg": str(error), "module_stdout": "a piece"}


@pytest.fixture(name="name")
def _name(tmp_path, monkeypatch):
    monkeypatch.setattr(topic, "_PIECE_BYTES", PIECE)
    (tmp_path / "store").mkdir(mode=0o700)
    return publish(Store(str(tmp_path / "store")), content=CONTENT)


@pytest.fixture(name="fetch")
def _fetch(tmp_path, name):
    def fetch(check_mode=False, meanwhile=None):
        action = Action(str(tmp_path / "store"), str(tmp_path / "here"), check_mode)
        action.meanwhile = meanwhile or action.meanwhile
        answer = action.run(task_vars={})
        assert not action.context.no_log
        return answer, action.pieces

    return fetch


class Killed(BaseException):
    """The run ends between two pieces."""


def kill_at(number):
    def kill(pieces):
        if pieces == number:
            raise Killed

    return kill


def test_an_archive_comes_whole_and_the_file_beside_it_last(fetch, tmp_path, name):
    predicted, asked = fetch(check_mode=True)
    assert (predicted["changed"], asked) == (True, [])
    assert not (tmp_path / "here").exists()
    done, asked = fetch()
    assert asked == [(name, 0), (name, 1000), (name, 2000), (f"{name}.json", 0)]
    assert done == predicted
    assert done["diff"]["after"] == f"{name} is in {tmp_path / 'here'}\n"
    for each in (name, f"{name}.json"):
        assert (tmp_path / "here" / each).read_bytes() == (tmp_path / "store" / each).read_bytes()
        assert (tmp_path / "here" / each).stat().st_mode & 0o777 == 0o600
    again, asked = fetch()
    assert (again["changed"], again["fetched_bytes"], asked) == (False, 0, [])


def test_what_was_cut_off_is_gone_on_with(fetch, tmp_path, name):
    with pytest.raises(Killed):
        fetch(meanwhile=kill_at(2))
    assert not (tmp_path / "here" / name).exists()
    _done, asked = fetch()
    assert asked == [(name, 2000), (f"{name}.json", 0)]
    assert (tmp_path / "here" / name).read_bytes() == CONTENT


def test_what_came_of_another_archive_of_that_name_is_not_gone_on_with(fetch, tmp_path, name):
    with pytest.raises(Killed):
        fetch(meanwhile=kill_at(2))
    shutil.rmtree(tmp_path / "store")
    (tmp_path / "store").mkdir(mode=0o700)
    publish(Store(str(tmp_path / "store")), content=CONTENT[::-1])
    _done, asked = fetch()
    assert asked[0] == (name, 0)
    assert (tmp_path / "here" / name).read_bytes() == CONTENT[::-1]
    assert os.listdir(tmp_path / "here/.partial") == []


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (lambda path: path.write_bytes(CONTENT[:-5] + b"other"), "has changed while it was fetched"),
        (lambda path: path.unlink(), "is gone while it was fetched"),
    ],
    ids=["changed", "gone"],
)
def test_an_archive_that_is_another_one_meanwhile_is_refused(fetch, tmp_path, name, what, message):
    def meanwhile(number):
        if number == 1:
            what(tmp_path / "store" / name)

    answer, _asked = fetch(meanwhile=meanwhile)
    assert answer["failed"]
    assert message in answer["msg"]
    assert "module_stdout" not in answer
    assert not (tmp_path / "here" / name).exists()


def test_bytes_that_are_not_those_of_the_archive_are_removed(fetch, tmp_path, name):
    with pytest.raises(Killed):
        fetch(meanwhile=kill_at(2))
    (partial,) = (tmp_path / "here/.partial").iterdir()
    partial.write_bytes(b"x" * partial.stat().st_size)
    answer, _asked = fetch()
    assert f"{name} has come with other bytes than it was made with" in answer["msg"]
    assert not partial.exists()
    assert not (tmp_path / "here" / name).exists()
    assert "failed" not in fetch()[0]


def test_more_than_there_is_to_come_is_of_something_else(fetch, tmp_path, name):
    with pytest.raises(Killed):
        fetch(meanwhile=kill_at(2))
    (partial,) = (tmp_path / "here/.partial").iterdir()
    partial.write_bytes(b"x" * (len(CONTENT) + 1))
    _done, asked = fetch()
    assert asked[0] == (name, 0)
    assert (tmp_path / "here" / name).read_bytes() == CONTENT


def test_two_runs_that_fetch_the_same(fetch, name):
    refused = []

    def meanwhile(number):
        if number == 1 and not refused:
            refused.append(None)
            refused[0] = fetch()[0]

    answer, _asked = fetch(meanwhile=meanwhile)
    assert f"{name} is on its way to " in refused[0]["msg"]
    assert "failed" not in answer


def test_a_directory_without_room_is_named(fetch, tmp_path, monkeypatch):
    monkeypatch.setattr(Store, "free_bytes", lambda self: 100)
    answer, asked = fetch()
    assert f"bytes are still to come to {tmp_path / 'here'} on the control node, and 100 are free" in answer["msg"]
    assert asked == []


def test_a_directory_that_cannot_be_written_is_named(fetch, tmp_path):
    (tmp_path / "here").write_text("a file")
    answer, _asked = fetch()
    assert f"dest_dir: {tmp_path / 'here'}" in answer["msg"]
    assert "name another directory" in answer["msg"]


@pytest.mark.parametrize("path", ["/etc/shadow", "/etc/shadow.json"])
def test_only_archives_are_read(path):
    with pytest.raises(OpsError, match=f"{path} is no archive"):
        read_piece(path, 0, 10, "")


def test_a_link_in_place_of_an_archive_is_not_followed(tmp_path, name):
    path = tmp_path / "store" / name
    path.unlink()
    path.symlink_to("/etc/shadow")
    with pytest.raises(OSError, match="symbolic links"):
        read_piece(str(path), 0, 10, "")
