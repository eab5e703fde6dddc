# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._config import revert as reverting
from ansible_collections.erlmcp.ops.plugins.module_utils._config.plan import FILES
from ansible_collections.erlmcp.ops.plugins.module_utils._config.revert import plan_revert, revert
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
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
def test_a_revert_is_tried_and_staged_and_run_again_does_nothing(tmp_path, monkeypatch, check_mode):
    tried = []
    monkeypatch.setattr(reverting, "validate", lambda files, *_more: tried.append(files) or True)
    slots, module = on_its_way_back(tmp_path, check_mode)
    result = revert(module, None)
    assert (result["changed"], result["next"], result["set"], result["validated"]) == (True, "a", "a", True)
    assert tried == [dict.fromkeys(FILES, b"of a")]
    assert slots.state().next == (None if check_mode else "a")
    if not check_mode:
        assert not revert(module, None)["changed"]


@pytest.mark.parametrize("damage", ["missing", "refused"])
def test_a_set_that_was_changed_since_it_ran_is_refused(tmp_path, monkeypatch, damage):
    def refuse(*_arguments):
        raise OpsError("the configuration is refused: line 3", kind="config")

    monkeypatch.setattr(reverting, "validate", refuse)
    slots, module = on_its_way_back(tmp_path)
    if damage == "missing":
        (tmp_path / "sets" / "a" / "env.sh").unlink()
    with pytest.raises(OpsError, match="set .*sets/a is not what it was .*(env.sh is missing|line 3).*playbook site"):
        revert(module, None)
    assert slots.state().next is None


def test_a_set_of_before_the_data_was_moved_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(reverting, "validate", lambda *_arguments: True)
    slots, module = on_its_way_back(tmp_path)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        text = f'[{{erlmcp, [{{data_dir, "{tmp_path / name}"}}]}}].'
        (tmp_path / "sets" / name / "sys.config").write_text(text)
    (tmp_path / "b" / "rows.dets").touch()
    with pytest.raises(OpsError, match=r"set .*sets/a is of another time: .* its data in .*/b .*Nothing was changed"):
        revert(module, None)
    assert slots.state().next is None


def on_its_way_back(root, check_mode=False):
    """Return slots with two sets, the second current, and the module."""
    slots = Slots(str(root), "sets")
    for name in ("a", "b"):
        (root / "sets" / name).mkdir(parents=True)
        for file in FILES:
            (root / "sets" / name / file).write_text(f"of {name}")
        slots.stage(name)
        slots.activate()
    node = {"config_dir": str(root), "service": "erlmcp"}
    return slots, SimpleNamespace(params={"node": node}, check_mode=check_mode)
