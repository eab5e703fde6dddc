# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import io
import os

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.staging import (
    RESERVE_BYTES,
    Area,
    differences,
    needed_bytes,
)

HEADER = {
    "files": [
        {"name": "data/a", "size": 10},
        {"name": "mnesia.backup", "size": 100},
        {"name": "config/vm.args", "size": 1},
        {"name": "logs/l", "size": 1000},
    ]
}


def table(name="t", rows=5, kind="mnesia"):
    return {"kind": kind, "name": name, "rows": rows, "file": name}


@pytest.mark.parametrize(("members", "needed"), [(["data"], 310), (["config"], 1), (["config", "data"], 311), ([], 0)])
def test_space_for_files_and_for_tables_while_they_are_built(members, needed):
    assert needed_bytes(HEADER, members) == needed + RESERVE_BYTES


def test_the_same_rows_are_no_difference():
    assert differences([table(), table("d", 2, "dets")], [table(), table("d", 2, "dets")]) == []


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([table(rows=4)], "has 4 rows, and the manifest counted 5"),
        ([], "has no rows, and the manifest counted 5"),
        ([table(), table("more")], "table more has 5 rows, and the manifest counted none"),
        ([table(kind="dets")], "counted none"),
    ],
)
def test_every_difference_is_told(found, said):
    assert said in "; ".join(differences(found, [table()]))


def test_tables_without_a_copy_here_are_for_the_others_to_count():
    assert differences([table(rows=None)], [table()]) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="files are given to another account")
def test_an_area_is_closed_to_the_account_again(tmp_path):
    area = Area(str(tmp_path / "area"), "nobody")
    area.make()
    area.write(area.new, "deep/er/file", io.BytesIO(b"x"), 0o666)
    area.hand_over()
    (tmp_path / "area" / "mnesia.backup.BUPTMP").write_text("")
    area.close()
    assert sorted(os.listdir(area.path)) == ["config", "new"]
    assert os.stat(area.path).st_uid == 0
    found = os.stat(os.path.join(area.new, "deep/er/file"))
    assert (found.st_uid, found.st_mode & 0o777) == (area.account.pw_uid, 0o660)
    assert os.stat(os.path.join(area.new, "deep")).st_mode & 0o777 == 0o750


def test_a_member_cannot_be_written_over_another(tmp_path):
    area = Area(str(tmp_path / "area"), "nobody")
    area.make()
    area.write(area.new, "file", io.BytesIO(b"x"), 0o640)
    with pytest.raises(FileExistsError):
        area.write(area.new, "file", io.BytesIO(b"y"), 0o640)
