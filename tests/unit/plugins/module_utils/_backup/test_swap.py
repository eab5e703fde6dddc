# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.swap import Swap, exchange


@pytest.fixture
def places(tmp_path):
    live, candidate = tmp_path / "data", tmp_path / "new"
    for path, text in ((live, "old"), (candidate, "new")):
        path.mkdir()
        (path / "file").write_text(text)
    return tmp_path, live, candidate


def begun(places):
    root, live, candidate = places
    swap = Swap(str(root / "swap.json"))
    swap.begin(str(candidate), str(live), str(root / "aside"))
    return swap


def state(places):
    root, live, candidate = places
    return {path.name: (path / "file").read_text() for path in (live, candidate, root / "aside") if path.is_dir()}


def test_both_change_places_at_once(places):
    _root, live, candidate = places
    exchange(str(live), str(candidate))
    assert state(places) == {"data": "new", "new": "old"}


def test_the_old_one_is_kept_aside(places):
    begun(places).carry_out()
    assert state(places) == {"data": "new", "aside": "old"}


def test_it_can_be_repeated_from_every_point(places):
    root, live, candidate = places
    swap = begun(places)
    swap.tidy()
    assert state(places) == {"data": "old", "new": "new"}
    assert not swap.exchanged()
    exchange(str(candidate), str(live))
    assert swap.exchanged()
    for _time in range(2):
        swap.carry_out()
        assert state(places) == {"data": "new", "aside": "old"}


def test_the_note_tells_what_is_going_on(places):
    swap = begun(places)
    assert json.loads((places[0] / "swap.json").read_text())["aside"] == str(places[0] / "aside")
    assert swap.pending()["live_inode"] == os.stat(places[1]).st_ino
    assert Swap(str(places[0] / "other.json")).pending() is None
