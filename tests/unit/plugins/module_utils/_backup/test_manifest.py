# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.manifest import (
    archive_name,
    check_beside,
    check_header,
    check_manifest,
    check_member_name,
    parse_name,
)
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.tests.unit.plugins.module_utils._backup.backup_archives import (
    HOST,
    ID,
    NODE,
    TIME,
    manifest,
)

FILE = {"name": "data/a", "size": 1, "sha256": "0" * 64, "mode": 0o640, "mtime": 1}


@pytest.mark.parametrize("host", ["n1", "n1.example.org", "a-20260131T020000Z", "a.tar.gz"])
@pytest.mark.parametrize("compression", ["zst", "gz"])
@pytest.mark.parametrize("encrypted", [True, False])
def test_a_name_can_be_read_back(host, compression, encrypted):
    found = parse_name(archive_name(host, TIME, compression, encrypted))
    assert (found.host, found.time, found.compression, found.encrypted) == (host, TIME, compression, encrypted)
    assert found.time.tzinfo is datetime.timezone.utc
    assert found.id == f"erlmcp-{host}-20260131T020000Z"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "erlmcp-n1.tar.zst",
        "erlmcp-n1-20261331T020000Z.tar.zst",
        "erlmcp-n1-20260131T020000Z.tar.xz",
        "erlmcp-n1-20260131T020000Z.tar.zst\n",
        "erlmcp-a/b-20260131T020000Z.tar.zst",
        "erlmcp-n1-20260131T020000Z.tar.zst.json",
        ".erlmcp-n1-20260131T020000Z.tar.zst.part",
    ],
)
def test_other_names_are_not_ours(name):
    assert parse_name(name) is None


@pytest.mark.parametrize("host", ["", "a/b", "a b", "\u00e4", "x" * 250])
def test_a_host_that_is_no_part_of_a_file_name(host):
    with pytest.raises(OpsError, match="host"):
        archive_name(host, TIME, "zst", False)


@pytest.mark.parametrize("name", ["data/a", "data/a/..b", "mnesia.backup", "config/vm.args", "tls/k", "data/\udcff"])
def test_members_of_a_backup(name):
    check_member_name(name)


@pytest.mark.parametrize(
    "name",
    ["", "data", "data/", "data//a", "data/../a", "../a", "/data/a", "data/a\0", "config/x", "etc/a", None, 7]
    + ["data/\ud800", "data/" + "x" * 256, "data/" + "x/" * 3000 + "x", "./data/a", "header.json"],
)
def test_other_members(name):
    with pytest.raises(OpsError, match="which no backup has"):
        check_member_name(name)


def test_a_manifest_is_returned_and_may_hold_more():
    data = manifest([FILE], note="more")
    assert check_manifest(data) is data
    assert check_manifest(manifest([], mnesia=None, tables=[]))


WRONG = {
    "format": ({"format": 2}, "reads format 1 only"),
    "true": ({"format": True}, "without a format number"),
    "id": ({"id": "../x"}, "id in its manifest"),
    "host": ({"host": "other"}, "of host 'other'"),
    "node": ({"node": {"name": "n"}}, "no node.name_type in its manifest"),
    "method": ({"method": "warm"}, "method in its manifest that cannot be"),
    "members": ({"members": ["data", "all"]}, r"members\[\] in"),
    "time": ({"started": "yesterday"}, "started in"),
    "mnesia": ({"mnesia": {"dir": "../x", "db_nodes": []}}, "mnesia.dir in"),
    "rows": ({"tables": [{"kind": "dets", "name": "a", "rows": -1, "type": "set"}]}, "rows"),
    "table file": ({"tables": [{"kind": "dets", "name": "a", "rows": 1, "type": "set", "file": "/etc/a"}]}, "'a'"),
    "versions": ({"versions": {"release": None, "otp": None, "erts": None, "applications": {"a": 1}}}, "applications"),
    "files": ({"files": None}, "files in its manifest that is no list"),
    "mode": ({"files": [{**FILE, "mode": 0o4755}]}, "mode"),
    "digest": ({"files": [{**FILE, "sha256": "x" * 64}]}, "sha256"),
    "twice": ({"files": [FILE, FILE]}, "twice"),
    "both": ({"files": [FILE, {**FILE, "name": "data/a/b"}]}, "as the directory of another"),
}


@pytest.mark.parametrize(("changes", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_manifest_is_told_where(changes, message):
    with pytest.raises(OpsError, match=message) as refused:
        check_manifest({**manifest([]), **changes})
    assert refused.value.kind == "archive"


MNESIA = {**FILE, "name": "mnesia.backup"}
TABLE = {"kind": "mnesia", "name": "t", "rows": 1, "type": "set", "storage": "disc_copies", "nodes": [NODE]}
STRAY = {
    "mnesia is not told of": ([MNESIA], {"mnesia": None, "tables": []}, "tells nothing of mnesia.backup, and holds it"),
    "mnesia is not there": ([FILE], {"mnesia": {"dir": "m", "db_nodes": [NODE]}}, "holds no such file"),
    "a table of none": ([FILE], {"tables": [TABLE]}, "tables of Mnesia, and holds no mnesia.backup"),
    "a dets table that is not there": (
        [FILE],
        {"tables": [{"kind": "dets", "name": "b", "rows": 1, "type": "set", "file": "b"}]},
        "with the table 'b', and holds no such file",
    ),
    "files of another member": ([{**FILE, "name": "tls/key"}], {"members": ["data"]}, "holds files below tls"),
}


@pytest.mark.parametrize(("files", "changes", "message"), STRAY.values(), ids=STRAY)
def test_what_is_there_and_what_is_told_of_is_the_same(files, changes, message):
    """Rows that nobody asks for would be missing after the restore, which would call itself good."""
    assert check_manifest(manifest(files))
    with pytest.raises(OpsError, match=message) as refused:
        check_manifest({**manifest(files), **changes})
    assert refused.value.kind == "archive"


@pytest.mark.parametrize("key", sorted(manifest([])))
def test_every_key_is_needed(key):
    data = manifest([FILE])
    del data[key]
    with pytest.raises(OpsError, match=key):
        check_manifest(data)


@pytest.mark.parametrize("data", [None, [], "x", 7, {}])
def test_what_is_no_manifest_at_all(data):
    with pytest.raises(OpsError):
        check_manifest(data)
    with pytest.raises(OpsError):
        check_header(data)
    with pytest.raises(OpsError):
        check_beside(data, "x")


def test_a_header_adds_up():
    header = {"format": 1, "id": ID, "node": NODE, "files": [{"name": "data/a", "size": 3}], "bytes": 3}
    assert check_header(header) is header
    with pytest.raises(OpsError, match="sum of its files"):
        check_header({**header, "bytes": 4})


def test_the_file_beside_belongs_to_its_archive():
    name = f"{ID}.tar.zst"
    data = {"archive": {"name": name, "size": 1, "sha256": "0" * 64}, "manifest": manifest([FILE])}
    assert check_beside(data, name) is data
    with pytest.raises(OpsError, match="belongs to another archive"):
        check_beside(data, name.replace("n1", "n2"))
    other = f"erlmcp-{HOST}-20260201T020000Z.tar.zst"
    data["archive"]["name"] = other
    with pytest.raises(OpsError, match="has the manifest of"):
        check_beside(data, other)
