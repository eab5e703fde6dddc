# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._core.slots import Slots, SlotState
from ansible_collections.erlmcp.ops.tests.unit.plugins.module_utils._core.killed import killed_everywhere


@pytest.fixture(name="slots")
def _slots(tmp_path):
    for name in ("1.0.0", "1.1.0", "1.2.0"):
        (tmp_path / "releases" / name).mkdir(parents=True)
    return Slots(str(tmp_path), "releases")


def test_nothing_is_laid_down_at_first(tmp_path):
    slots = Slots(str(tmp_path), "releases")
    assert slots.state() == SlotState()
    assert slots.names() == []


def test_staged_does_not_run_until_activated(slots):
    slots.stage("1.0.0")
    assert slots.state() == SlotState(next="1.0.0")
    slots.activate()
    assert slots.state() == SlotState(current="1.0.0")


def test_activation_remembers_what_ran_before(slots):
    for version in ("1.0.0", "1.1.0"):
        slots.stage(version)
        slots.activate()
    assert slots.state() == SlotState(current="1.1.0", previous="1.0.0")


def test_staging_what_is_current_cancels_what_waits(slots):
    slots.stage("1.0.0")
    slots.activate()
    slots.stage("1.1.0")
    slots.stage("1.0.0")
    assert slots.state() == SlotState(current="1.0.0")


def test_activation_without_anything_staged_changes_nothing(slots):
    slots.stage("1.0.0")
    slots.activate()
    slots.activate()
    assert slots.state() == SlotState(current="1.0.0")


def test_activation_cut_off_between_its_two_links_is_finished_by_the_next(slots, tmp_path, monkeypatch):
    slots.stage("1.0.0")
    slots.activate()
    slots.stage("1.1.0")

    def killed(*_arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("os.rename", killed)
        with pytest.raises(KeyboardInterrupt):
            slots.activate()
    assert slots.state().current == "1.0.0"
    slots.activate()
    assert slots.state() == SlotState(current="1.1.0", previous="1.0.0")


def test_links_are_relative_so_that_the_tree_can_be_moved(slots, tmp_path):
    slots.stage("1.0.0")
    assert (tmp_path / "next").readlink().as_posix() == "releases/1.0.0"


def test_unfinished_entries_are_not_names(slots, tmp_path):
    (tmp_path / "releases" / ".staging-abc").mkdir()
    assert slots.names() == ["1.0.0", "1.1.0", "1.2.0"]


def test_what_a_slot_points_to_is_kept():
    assert SlotState(current="b", next=None, previous="a").kept == {"a", "b"}


def upgraded(root, following=None):
    for name in ("1.0.0", "1.1.0", "1.2.0"):
        (root / "releases" / name).mkdir(parents=True)
    slots = Slots(str(root), "releases")
    for version in ("1.0.0", "1.1.0"):
        slots.stage(version)
        slots.activate()
    if following:
        slots.stage(following)
    return slots


def test_the_way_back_forgets_what_was_tried_and_what_waits(tmp_path):
    slots = upgraded(tmp_path, "1.2.0")
    slots.revert()
    assert slots.state() == SlotState(current="1.0.0")


def test_there_is_no_way_back_from_the_first(slots):
    slots.stage("1.0.0")
    slots.activate()
    slots.stage("1.1.0")
    slots.revert()
    assert slots.state() == SlotState(current="1.0.0", next="1.1.0")


def test_a_way_back_that_was_killed_anywhere_is_gone_to_the_end_by_the_next(tmp_path):
    for slots in killed_everywhere(lambda number: upgraded(tmp_path / str(number), "1.2.0"), Slots.revert):
        assert slots.state().current in ("1.0.0", "1.1.0")
        slots.revert()
        assert slots.state() == SlotState(current="1.0.0")
