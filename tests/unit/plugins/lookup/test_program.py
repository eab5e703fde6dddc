# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The program is packed for real, and run with nothing but Python."""

from __future__ import annotations

import base64
import io
import subprocess
import sys
import zipfile

import pytest
from ansible_collections.erlmcp.ops.plugins.lookup.program import LookupModule, program


@pytest.fixture(name="path")
def _path(tmp_path):
    path = tmp_path / "erlmcp-ops"
    path.write_bytes(base64.b64decode(LookupModule().run([])[0]))
    path.chmod(0o755)
    return path


def test_the_program_runs_and_says_what_it_can_do(path):
    done = subprocess.run([sys.executable, "-I", path, "--help"], capture_output=True, text=True, check=True, cwd="/")
    for verb in ("backup", "list", "verify", "prune", "copy", "restore", "drill"):
        assert f"\n    {verb} " in done.stdout
    assert "failed" not in done.stdout.split("options:")[0]


def test_it_is_executable_and_a_failure_is_its_exit_status(path):
    assert path.read_bytes().startswith(b"#!/usr/bin/python3 -I\n")
    assert program("/opt/python/bin/python3").startswith(b"#!/opt/python/bin/python3 -I\n")
    done = subprocess.run(
        [path, "--settings", path.parent / "none", "list"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"erlmcp-ops: there is no {path.parent}/none: run the playbook site")


def test_code_that_the_environment_names_is_not_run(path, tmp_path):
    """Root runs it."""
    (tmp_path / "argparse.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    environment = {"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"}
    subprocess.run([path, "--help"], capture_output=True, check=True, env=environment, cwd=tmp_path)
    assert not (tmp_path / "ran").exists()


def test_the_same_code_gives_the_same_bytes_and_nothing_but_code():
    assert program() == program()
    with zipfile.ZipFile(io.BytesIO(program())) as archive:
        infos = archive.infolist()
    names = [info.filename for info in infos]
    assert names == sorted(names)
    assert "erlmcp_ops/_core/errors.py" in names
    assert all(name.endswith(".py") for name in names)
    assert {info.date_time for info in infos} == {(1980, 1, 1, 0, 0, 0)}
    assert any(info.compress_size < info.file_size / 2 for info in infos)
