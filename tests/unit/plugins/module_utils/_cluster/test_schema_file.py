# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Node names are read from a schema that a real Mnesia has written."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._cluster.schema_file import members_on_disk, named_nodes


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (b"w\x03a@hw\x04bb@hd\x00\x05c@h.d", ["a@h", "bb@h", "c@h.d"]),
        # The length ends it, whatever follows; and one that says more than there is, is no atom.
        (b"w\x03a@hi", ["a@h"]),
        (b"w\x09a@h", []),
        (b"wwd\x00\x03d@h", ["d@h"]),
        (b"w\x03abc", []),
        (b"", []),
    ],
)
def test_atoms_are_told_from_what_looks_like_them(content, names):
    assert named_nodes(content) == names


@pytest.mark.skipif(not shutil.which("erl"), reason="no Erlang here")
def test_the_names_in_the_schema_of_a_mnesia_are_found(tmp_path):
    assert members_on_disk([str(tmp_path / "none"), str(tmp_path)]) == []
    program = f'application:load(mnesia), application:set_env(mnesia, dir, "{tmp_path}/db"), '
    program += "ok = mnesia:create_schema([node()]), ok = mnesia:start(), stopped = mnesia:stop(), halt(0)."
    command = ("erl", "-noinput", "-name", "erlmcp@127.0.0.1", "-start_epmd", "false", "-dist_listen", "false")
    subprocess.run([*command, "-eval", program], check=True, timeout=60)
    assert members_on_disk([str(tmp_path / "none"), str(tmp_path)]) == ["erlmcp@127.0.0.1"]
