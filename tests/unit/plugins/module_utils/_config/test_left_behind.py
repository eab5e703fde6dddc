# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._config import left_behind as leaving
from ansible_collections.erlmcp.ops.plugins.module_utils._config.left_behind import check_keeps_data, left_behind
from ansible_collections.erlmcp.ops.plugins.module_utils._config.plan import Observed
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError

TEMPLATES = Path(__file__).parents[5] / "roles" / "erlmcp_node" / "templates"


def files(data, mnesia=None, name="-name erlmcp@a.test", sys_config=None):
    tables = mnesia or data / "mnesia"
    text = sys_config or f'[{{mnesia, [{{dir, "{tables}"}}]}}, {{erlmcp, [{{data_dir, "{data}"}}]}}].'
    return {"sys.config": text.encode(), "vm.args": f"{name}\n+P 100000\n".encode(), "env.sh": b""}


@pytest.fixture(name="data")
def _data(tmp_path):
    """A data directory with the schema of a node."""
    directory = tmp_path / "data"
    (directory / "mnesia").mkdir(parents=True)
    (directory / "mnesia" / "schema.DAT").touch()
    return directory


def test_where_nothing_moves_nothing_is_said(data):
    assert left_behind(None, files(data), "erlmcp") is None
    assert left_behind(files(data), files(data), "erlmcp") is None
    other = {**files(data), "vm.args": b"-name erlmcp@a.test\n+P 200000\n"}
    assert left_behind(files(data), other, "erlmcp") is None


def test_another_data_directory_is_told_as_a_whole_with_both_ways_out(data, tmp_path):
    new = tmp_path / "a new"
    problem, way_out = left_behind(files(data), files(new), "mcp")
    assert problem == f"the node has its data in {data} and would start without it, in {new} (erlmcp_data_dir)"
    assert way_out.startswith(f"Set erlmcp_data_dir back to {data}. Or move the data")
    assert f"systemctl stop mcp && mv -T {data} '{new}';" in way_out


def test_tables_elsewhere_alone_are_told_too(data, tmp_path):
    problem, way_out = left_behind(files(data), files(data, tmp_path / "tables"), "erlmcp")
    assert f"{data}/mnesia and would start without it, in {tmp_path}/tables (dir of section mnesia" in problem
    assert "erlmcp_node_config back" in way_out


def test_a_directory_that_only_a_flag_names_is_known(data, tmp_path):
    before = {**files(data, sys_config="[]."), "vm.args": f"-name e@a.test\n-mnesia dir '\"{data}\"'\n".encode()}
    problem, _way_out = left_behind(before, files(tmp_path / "new"), "erlmcp")
    assert f"its data in {data} and" in problem


@pytest.mark.parametrize("left", [[], [".erlmcp-backup/1.tar"], ["lost+found/1"]], ids=["nothing", "spool", "found"])
def test_an_old_directory_without_data_keeps_nobody(tmp_path, left):
    old = tmp_path / "old"
    (old / "mnesia").mkdir(parents=True)
    for name in left:
        (old / name).parent.mkdir()
        (old / name).touch()
    assert left_behind(files(old), files(tmp_path / "new"), "erlmcp") is None


def test_data_that_was_moved_is_not_left_behind(data, tmp_path):
    new = tmp_path / "new"
    data.rename(new)
    assert left_behind(files(data), files(new), "erlmcp") is None
    data.symlink_to(new)
    assert left_behind(files(data), files(new), "erlmcp") is None


def test_data_can_move_one_level_down_as_it_is_told(data):
    """Where the directory itself is mounted it cannot be exchanged, and the data goes below."""
    new = data / "a new" / "one"
    _problem, way_out = left_behind(files(data), files(new), "erlmcp")
    command = way_out.partition("systemctl stop erlmcp && ")[2].partition("; then")[0]
    subprocess.run(command, shell=True, check=True)
    assert (new / "mnesia" / "schema.DAT").exists()
    assert [path.name for path in data.iterdir()] == ["a new"]
    assert left_behind(files(data), files(new), "erlmcp") is None


@pytest.mark.parametrize("name", ["-name erlmcp@b.test", "-name mcp@a.test", "-sname erlmcp@a"])
def test_another_name_is_told_where_there_is_a_schema(data, name):
    problem, way_out = left_behind(files(data), files(data, name=name), "erlmcp")
    assert problem.startswith(f"the tables in {data}/mnesia are those of erlmcp@a.test, and under the name ")
    assert name.split()[-1] in problem
    assert "erlmcp_node_name" in way_out
    (data / "mnesia" / "schema.DAT").unlink()
    assert left_behind(files(data), files(data, name=name), "erlmcp") is None


def test_what_cannot_be_read_is_left_to_who_tries_it(data, tmp_path):
    broken = {**files(data), "sys.config": b"[{mnesia, [{dir"}
    assert left_behind(broken, files(tmp_path), "erlmcp") is None
    assert left_behind(files(data), broken, "erlmcp") is None


def test_data_is_known_too_where_the_configuration_is_moved_with_it(data, tmp_path, monkeypatch):
    monkeypatch.setattr(leaving, "_COMMANDS", str(tmp_path))
    etc = tmp_path / "an etc"
    etc.mkdir()
    for name, content in files(data).items():
        (etc / name).write_bytes(content)
    node = {"service": "erlmcp", "release_name": "erlmcp"}
    check_keeps_data(node, Observed(), files(tmp_path / "new"))
    line = "config_dir={{ erlmcp_config_dir | quote }}\n"
    assert line in (TEMPLATES / "control-command.sh.j2").read_text()
    (tmp_path / "erlmcp").write_text(f"#!/bin/sh\nconfig_dir='{etc}'\n")
    with pytest.raises(OpsError, match=f"its data in {data} and .* in {tmp_path}/new"):
        check_keeps_data(node, Observed(), files(tmp_path / "new"))
