# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._config.plan import FILES, Observed, StoredSet, plan
from ansible_collections.erlmcp.ops.plugins.module_utils._core.slots import SlotState

NEW = dict.fromkeys(FILES, b"new")
OLD = dict.fromkeys(FILES, b"old")


def observed(current=None, waiting=None, **rest):
    sets = {name: stored for name, stored in (("c", current), ("n", waiting)) if stored}
    slots = SlotState(current="c" if current else None, next="n" if waiting else None)
    return Observed(slots, sets, **{"unlinked": (), **rest})


@pytest.mark.parametrize(
    ("found", "steps", "before"),
    [
        (Observed(), ["stage", "link sys.config", "link vm.args", "link env.sh"], dict.fromkeys(FILES)),
        (observed(StoredSet(NEW)), [], NEW),
        (observed(StoredSet(OLD)), ["stage"], OLD),
        (observed(StoredSet(OLD), StoredSet(NEW)), [], NEW),
        (observed(StoredSet(NEW), StoredSet(OLD)), ["unstage"], OLD),
        (observed(None, StoredSet(NEW)), [], NEW),
        (observed(StoredSet(NEW, intact=False)), ["stage"], NEW),
        (observed(StoredSet(OLD), StoredSet(dict.fromkeys(FILES))), ["stage"], dict.fromkeys(FILES)),
        (observed(StoredSet(NEW), unlinked=("env.sh",)), ["link env.sh"], NEW),
        (observed(by_hand=OLD), ["adopt", "stage"], OLD),
        (observed(by_hand=NEW), ["adopt"], NEW),
        (observed(StoredSet(NEW), by_hand=OLD), [], NEW),
    ],
)
def test_plan(found, steps, before):
    todo = plan(NEW, found)
    assert todo.steps == steps
    assert todo.before == before


def test_files_that_are_missing_are_adopted_as_missing():
    todo = plan(NEW, observed(by_hand={"sys.config": b"old"}))
    assert todo.adopted == {"sys.config": b"old", "vm.args": None, "env.sh": None}
