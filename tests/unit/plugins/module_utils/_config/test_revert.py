# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._config.revert import plan_revert, revert
from ansible_collections.erlmcp.ops.plugins.module_utils._core.slots import Slots, SlotState


@pytest.mark.parametrize(
    ("before", "after_next"),
    [
        (SlotState(current="b", previous="a"), "a"),
        (SlotState(current="b", next="c", previous="a"), None),
        (SlotState(current="b", next="a", previous="a"), "a"),
        (SlotState(current="a"), None),
        (SlotState(next="a"), None),
        (SlotState(), None),
    ],
)
def test_the_way_back(before, after_next):
    assert plan_revert(before).next == after_next


@pytest.mark.parametrize("check_mode", [True, False])
def test_a_revert_is_staged_and_run_again_does_nothing(tmp_path, check_mode):
    slots = Slots(str(tmp_path), "sets")
    for name in ("a", "b"):
        (tmp_path / "sets" / name).mkdir(parents=True)
        slots.stage(name)
        slots.activate()
    module = SimpleNamespace(params={"node": {"config_dir": str(tmp_path)}}, check_mode=check_mode)
    result = revert(module)
    assert (result["changed"], result["next"], result["set"]) == (True, "a", "a")
    assert slots.state().next == (None if check_mode else "a")
    if not check_mode:
        assert not revert(module)["changed"]
