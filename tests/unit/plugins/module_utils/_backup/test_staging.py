# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import io
import os
import pwd

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.staging import (
    RESERVE_BYTES,
    Area,
    differences,
    needed_bytes,
)
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError

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
def test_the_account_gets_the_data_and_never_the_area(tmp_path):
    area = Area(str(tmp_path / "area"), "nobody")
    area.make()
    assert (os.stat(area.path).st_uid, os.stat(area.new).st_uid, os.stat(area.build).st_uid) == (
        *(0, 0, area.account.pw_uid),
    )
    area.write(area.new, "deep/er/file", io.BytesIO(b"x"), 0o666)
    area.write(area.path, "mnesia.backup", io.BytesIO(b"x"), 0o600)
    os.mkdir(os.path.join(area.build, "mnesia"))
    os.chown(os.path.join(area.build, "mnesia"), area.account.pw_uid, area.account.pw_gid)
    os.chmod(os.path.join(area.build, "mnesia"), 0o750)
    area.hand_over("db/mnesia")
    assert os.stat(area.new).st_uid == 0
    area.close()
    assert sorted(os.listdir(area.path)) == ["config", "new"]
    assert os.stat(area.path).st_uid == 0
    found = os.stat(os.path.join(area.new, "deep/er/file"))
    assert (found.st_uid, found.st_mode & 0o777) == (area.account.pw_uid, 0o660)
    for name in ("", "deep", "db", "db/mnesia"):
        found = os.stat(os.path.join(area.new, name))
        assert (found.st_uid, found.st_mode & 0o777) == (area.account.pw_uid, 0o750)


@pytest.mark.skipif(os.geteuid() != 0, reason="a directory is given to another account")
def test_an_area_is_not_made_where_the_account_could_exchange_it(tmp_path):
    os.chown(tmp_path, pwd.getpwnam("nobody").pw_uid, -1)
    with pytest.raises(OpsError, match=f"chown root {tmp_path}"):
        Area(str(tmp_path / "area"), "nobody").make()
    assert os.listdir(tmp_path) == []


def test_a_member_cannot_be_written_over_another(tmp_path):
    area = Area(str(tmp_path / "area"), "nobody")
    area.make()
    area.write(area.new, "file", io.BytesIO(b"x"), 0o640)
    with pytest.raises(FileExistsError):
        area.write(area.new, "file", io.BytesIO(b"y"), 0o640)
