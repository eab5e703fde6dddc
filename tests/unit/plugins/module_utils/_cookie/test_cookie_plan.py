# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._cookie.cookie import (
    CLEAR,
    STAGE,
    SWITCH,
    TELL,
    Observed,
    plan,
)

OLD, NEW, OTHER = b"old", b"new", b"other"
RUNNING = {"running": True, "accepts": "current"}


@pytest.mark.parametrize(
    ("observed", "finish", "replace"),
    [
        (Observed(OLD, **RUNNING), [], [STAGE, TELL, SWITCH]),
        (Observed(OLD), [], [STAGE, SWITCH]),
        (Observed(None), [], [STAGE, SWITCH]),
        (Observed(NEW, **RUNNING), [], []),
        (Observed(NEW), [], []),
        # Killed before the node was told, and after the file was replaced.
        (Observed(OLD, NEW, True, **RUNNING), [CLEAR], [CLEAR, STAGE, TELL, SWITCH]),
        (Observed(OLD, None, True, **RUNNING), [CLEAR], [CLEAR, STAGE, TELL, SWITCH]),
        (Observed(NEW, None, True, **RUNNING), [CLEAR], [CLEAR]),
        # Killed after the node was told; the next run wants the same cookie, or one more.
        (Observed(OLD, NEW, True, True, "waiting"), [SWITCH], [SWITCH]),
        (Observed(OLD, OTHER, True, True, "waiting"), [SWITCH], [SWITCH, STAGE, TELL, SWITCH]),
        # Told, and stopped before the file was replaced: it starts with the old one.
        (Observed(OLD, NEW, True), [CLEAR], [CLEAR, STAGE, SWITCH]),
        (Observed(NEW, strays=("b@host",), **RUNNING), [], [TELL]),
    ],
)
def test_the_plan_follows_from_what_node_and_files_say(observed, finish, replace):
    assert plan(observed) == finish
    assert plan(observed, NEW) == replace


def test_a_node_that_was_told_has_the_cookie():
    assert Observed(OLD, NEW, True, True, "waiting").settled == NEW
    assert Observed(OLD, NEW, True, True, "current").settled == OLD
