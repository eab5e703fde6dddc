# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import shutil
from types import SimpleNamespace

import pytest
from ansible.errors import AnsibleFileNotFound
from ansible_collections.erlmcp.ops.plugins.action.release import ActionModule
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.module_utils._core.slots import Slots
from ansible_collections.erlmcp.ops.plugins.module_utils._release import actions
from ansible_collections.erlmcp.ops.plugins.module_utils._release.proof import note_proven
from ansible_collections.erlmcp.ops.tests.unit.plugins.module_utils._release.release_archives import (
    entry,
    hooked_entries,
    pack,
    release_entries,
)

MACHINE = {"x86_64": 62, "aarch64": 183}.get(os.uname().machine, 62)
DEFAULTS = {
    "src": None,
    "checksum": None,
    "version": None,
    "release_name": "erlmcp",
    "stage": True,
    "keep": 3,
    "service": "erlmcp",
    "start_hooks": True,
    "state": "present",
    "archive_sha256": None,
}


class NoErl:
    def run(self, argv):
        raise OpsError(f"command not found: {argv[0]}")


class Action(ActionModule):
    """The plugin with the module's real code in place of a host, and a record of what would go over the wire."""

    def __init__(self, args, check_mode, temporary):
        shell = SimpleNamespace(tmpdir=str(temporary), join_path=os.path.join)
        super().__init__(
            task=SimpleNamespace(args=args, check_mode=check_mode, async_val=0),
            connection=SimpleNamespace(_shell=shell, has_pipelining=False),
            play_context=None,
            loader=None,
            templar=None,
            shared_loader_obj=None,
        )
        self.calls = []
        self.answers = []
        self.sent = []

    def _execute_module(self, module_name, module_args, task_vars):
        self.calls.append(module_args)
        params = {**DEFAULTS, **module_args}
        module = SimpleNamespace(params=params, check_mode=self._task.check_mode, warn=None)
        try:
            answer = actions.release(module, NoErl())
        except OpsError as error:
            answer = {"failed": True, "msg": str(error), "failure": error.as_dict()}
        self.answers.append(answer)
        return answer

    def _find_needle(self, dirname, needle):
        if not os.path.exists(needle):
            raise AnsibleFileNotFound(file_name=needle)
        return needle

    def _transfer_file(self, local_path, remote_path):
        self.sent.append(remote_path)
        shutil.copy(local_path, remote_path)

    def _fixup_perms2(self, paths):
        assert all(os.path.exists(path) for path in paths)


@pytest.fixture
def run(tmp_path):
    temporary = tmp_path / "remote_tmp"
    temporary.mkdir()

    def run(check_mode=False, **args):
        action = Action({"install_dir": str(tmp_path / "opt"), **args}, check_mode, temporary)
        return action.run(task_vars={}), action

    return run


@pytest.fixture
def src(tmp_path):
    path = tmp_path / "erlmcp-1.0.0.tar.gz"
    pack(path, release_entries(machine=MACHINE))
    return str(path)


def test_first_and_second_run(run, src, tmp_path):
    first, action = run(src=src)
    assert first["changed"]
    assert action.sent == [str(tmp_path / "remote_tmp/erlmcp-1.0.0.tar.gz")]
    assert (tmp_path / "opt/releases/1.0.0/bin/erlmcp").exists()
    second, action = run(src=src)
    assert not second["changed"]
    assert (len(action.calls), action.sent) == (1, [])


def test_what_was_asked_before_is_not_asked_again(run, src):
    asked = run(check_mode=True, src=src)[1].answers[0]
    result, action = run(src=src, asked=asked)
    assert result["changed"]
    assert (len(action.calls), len(action.sent)) == (1, 1)


@pytest.mark.parametrize("asked", [{}, {"needs_archive": True, "sha256": "of another archive"}, {"version": "1.0.0"}])
def test_an_answer_about_something_else_is_not_used(run, src, asked):
    result, action = run(src=src, asked=asked)
    assert result["changed"]
    assert (len(action.calls), len(action.sent)) == (2, 1)


def test_check_mode_sends_nothing_and_predicts(run, src, tmp_path):
    predicted, action = run(check_mode=True, src=src)
    assert (len(action.calls), action.sent) == (1, [])
    assert not (tmp_path / "opt").exists()
    assert predicted.pop("warnings") == []
    assert run(src=src)[0] == predicted


REFUSED = {
    "hostile": ([*release_entries(machine=MACHINE), entry("../evil")], {}, "leads out"),
    "no release": ([entry("README")], {}, "not a relx release"),
    "architecture": (release_entries(machine=22), {}, "runtime for s390x"),
    "version": (release_entries(machine=MACHINE), {"version": "2.0.0"}, "version asks for 2.0.0"),
    "checksum": (release_entries(machine=MACHINE), {"checksum": "sha256:" + "0" * 64}, "hashes to"),
    "no erlang": (release_entries(included=False), {}, "no erl on PATH"),
    "hooks": (hooked_entries("hooks/mine", machine=MACHINE), {}, "runs bin/hooks/mine before"),
    "name": (release_entries(machine=MACHINE), {"release_name": "other"}, "bin/other"),
}


@pytest.mark.parametrize("check_mode", [True, False])
@pytest.mark.parametrize(("entries", "args", "message"), REFUSED.values(), ids=REFUSED)
def test_refused_before_anything_is_sent(run, tmp_path, entries, args, message, check_mode):
    path = tmp_path / "bad.tar.gz"
    pack(path, entries)
    result, action = run(check_mode=check_mode, src=str(path), **args)
    if message == "no erl on PATH" and check_mode:
        assert message in result["warnings"][0]
    else:
        assert result["failed"]
        assert message in result["msg"]
        assert str(path) in result["msg"]
    assert action.sent == []
    assert not (tmp_path / "opt").exists()


@pytest.fixture
def other(tmp_path):
    """Another archive of the same version."""
    path = tmp_path / "other.tar.gz"
    pack(path, release_entries(machine=MACHINE, note="other"))
    return path


def test_another_archive_of_a_version_that_was_healthy(run, src, tmp_path, other):
    run(src=src)
    slots = Slots(str(tmp_path / "opt"), "releases")
    slots.activate()
    note_proven(slots)
    result, action = run(src=str(other))
    assert "immutable" in result["msg"]
    assert result["failure"]["kind"] == "immutable"
    assert action.sent == []


def test_another_archive_of_a_version_that_never_was_replaces_it(run, src, tmp_path, other):
    first = run(src=src)[0]
    predicted, action = run(check_mode=True, src=str(other))
    assert predicted.pop("warnings") == []
    assert (predicted["replaced"], action.sent) == (first["sha256"], [])
    assert run(src=str(other))[0] == predicted


def test_hooks_that_are_missing_are_a_warning_where_none_is_run(run, tmp_path):
    path = tmp_path / "hooked.tar.gz"
    pack(path, hooked_entries("hooks/mine", machine=MACHINE))
    predicted, action = run(check_mode=True, src=str(path), start_hooks=False)
    assert "bin/hooks/mine" in predicted["warnings"][0]
    assert (predicted["changed"], action.sent) == (True, [])


def test_a_missing_archive_costs_no_round_trip(run):
    result, action = run(src="none.tar.gz")
    assert "there is no archive none.tar.gz on the control node" in result["msg"]
    assert action.calls == []


@pytest.mark.parametrize(
    "args", [{"remote_src": "yes", "src": "/srv/erlmcp.tar.gz"}, {"state": "absent", "version": "1"}, {"version": "1"}]
)
def test_what_needs_no_archive_from_here_is_left_to_the_module(run, args, tmp_path):
    _result, action = run(**args)
    assert action.calls == [{"install_dir": str(tmp_path / "opt"), **args}]
