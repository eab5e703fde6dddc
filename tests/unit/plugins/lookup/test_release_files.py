# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Archives are packed for real, and read as the module release reads them."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import subprocess
import tarfile

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._config.brought import OwnFiles, brought

FILES = {
    "bin/erlmcp": b"#!/bin/sh\n",
    "releases/start_erl.data": b"13.1 3.0.0",
    "releases/RELEASES": b"",
    "releases/3.0.0/vm.args.src": b"+P ${LIMIT:-5000}\n-setcookie hush\n",
    "releases/3.0.0/sys.config": b"[{a, [{b, 1}]}].\n",
    "releases/3.0.0/start.boot": b"",
    "releases/3.0.0/start_clean.boot": b"",
    "releases/3.0.0/erlmcp.rel": b"",
    "releases/2.0.0/vm.args": b"+P 1\n",
    "lib/a-1/ebin/a.app": b"",
    "lib/a-1/priv/vm.args": b"+P 2\n",
}


@pytest.fixture(name="archive")
def _archive(tmp_path):
    path = tmp_path / "erlmcp.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name, content in FILES.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o755
            tar.addfile(info, io.BytesIO(content))
    return path


def read(path, sha256):
    """Return status and output of a playbook that shows what the lookup finds in an archive beside it."""
    found = "{{ lookup('erlmcp.ops.release_files', archive, sha256=sha256) | to_json }}"
    content = {"content": found, "dest": str(path.parent / "found.json")}
    variables = {"archive": path.name, "sha256": sha256}
    plays = [{"hosts": "localhost", "gather_facts": False, "vars": variables, "tasks": [{"copy": content}]}]
    (path.parent / "play.yml").write_text(json.dumps(plays))
    done = subprocess.run(
        ["ansible-playbook", "play.yml"], cwd=path.parent, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_the_files_of_the_version_that_starts_come_without_the_cookie(archive):
    status, output = read(archive, hashlib.sha256(archive.read_bytes()).hexdigest())
    assert status == 0, output
    found = json.loads((archive.parent / "found.json").read_text())
    assert found["version"] == "3.0.0"
    assert sorted(found["files"]) == ["sys.config", "vm.args.src"]
    files = {name: base64.b64decode(content).decode() for name, content in found["files"].items()}
    assert "hush" not in str(files)
    assert brought(OwnFiles("3.0.0", files), "").flags[("+P",)] == ["+P", "5000"]


def test_an_archive_that_was_exchanged_meanwhile_is_refused(archive):
    status, output = read(archive, "0" * 64)
    assert status != 0
    assert "changed while it was read" in " ".join(output.split())
