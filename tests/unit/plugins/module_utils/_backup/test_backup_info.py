# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
from types import SimpleNamespace

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.info import backup_info
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.store import Store
from ansible_collections.erlmcp.ops.tests.unit.plugins.module_utils._backup.stored_archives import publish, verify


@pytest.fixture(name="store")
def _store(tmp_path):
    store = Store(str(tmp_path / "store"))
    store.prepare()
    return store


def info(tmp_path, host=None):
    params = {"store_dir": str(tmp_path / "store"), "host": host, "data_dir": str(tmp_path / "erlmcp")}
    return backup_info(SimpleNamespace(params=params, check_mode=False), None)


def test_where_nothing_is_there_yet_nothing_is_told(tmp_path):
    told = info(tmp_path)
    assert told.pop("free_bytes") > 0
    assert told == {"changed": False, "backups": [], "foreign": [], "safety_copies": [], "restore": None}
    assert os.listdir(tmp_path) == []


def test_an_archive_is_told_with_what_a_plan_needs(tmp_path, store):
    name = publish(store)
    verify(store, name)
    [told] = info(tmp_path)["backups"]
    assert told["time"] == "20260131T020000Z"
    assert told["node"] == "erlmcp@n1.example.org"
    assert told["db_nodes"] == ["erlmcp@n1.example.org"]
    assert told["release"] == "1.0.0"
    assert told["tables"][0]["rows"] == 3
    assert told["verified"]["sha256"] == told["sha256"]
    assert told["problem"] is None
    json.dumps(told)


def test_one_without_its_file_beside_it_has_the_same_keys(tmp_path, store):
    publish(store, "20260101T000000Z")
    bad = publish(store)
    os.unlink(os.path.join(store.root, f"{bad}.json"))
    good, told = info(tmp_path)["backups"]
    assert set(told) == set(good)
    assert told["node"] is None
    assert told["tables"] == []
    assert told["problem"]


def test_one_host_can_be_asked_for(tmp_path, store):
    publish(store, host="a")
    name = publish(store, host="b")
    assert [each["name"] for each in info(tmp_path, "b")["backups"]] == [name]


def test_safety_copies_and_foreign_names_are_told(tmp_path, store):
    (tmp_path / "store" / "notes").write_text("")
    copy = tmp_path / "erlmcp.before-restore-20260131T120000Z"
    copy.mkdir()
    (copy / "file").write_bytes(b"12345")
    noted = {"replaced_by": "x.tar.zst", "run": "20260131T115900Z", "together": ["n@a", "n@b"]}
    other = tmp_path / "erlmcp.reverted-20260131T120100Z"
    other.mkdir()
    (tmp_path / f"{other.name}.json").write_text(json.dumps({**noted, "slots": None}))
    # Archives of other hosts, while a restore needs them.
    (tmp_path / "store" / ".of-others").mkdir()
    told = info(tmp_path)
    assert told["foreign"] == ["notes"]
    assert told["safety_copies"] == [
        {
            "path": str(copy),
            "kind": "before-restore",
            "time": "20260131T120000Z",
            "size": 5,
            "replaced_by": None,
            "run": None,
            "together": [],
        },
        {"path": str(other), "kind": "reverted", "time": "20260131T120100Z", "size": 0, **noted},
    ]
