# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Draining, with a fake node that has the functions that the test gives it."""

from __future__ import annotations

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.module_utils._erlang.node import Unreachable
from ansible_collections.erlmcp.ops.plugins.module_utils._node.drain import Drain

OPTIONS = {"start": "m:drain/0", "undo": "m:undrain/0", "count": "m:count/0", "timeout_seconds": 0}


class FakeNode:
    """A fake: a function gives what it is mapped to, one after the other, or raises it."""

    def __init__(self, **functions):
        self.functions = functions
        self.calls = []

    def call_if_exported(self, function):
        name = function[len("m:") : -len("/0")]
        self.calls.append(name)
        if name not in self.functions:
            return False, None
        answer = self.functions[name].pop(0) if self.functions[name] else "ok"
        if isinstance(answer, BaseException):
            raise answer
        return True, answer


@pytest.mark.parametrize(
    ("node", "timeout", "outcome"),
    [
        (FakeNode(drain=[], count=[0]), 0, "no session was open"),
        (FakeNode(drain=[], count=[1, 0]), 5, "no session was open"),
        (FakeNode(drain=[], count=[2]), 0, "2 sessions were still open after 0 s"),
        (FakeNode(drain=[]), 5, "sessions cannot be counted"),
        (FakeNode(drain=[], count=[Unreachable("gone")]), 5, "sessions cannot be counted"),
    ],
)
def test_sessions_may_end(node, timeout, outcome):
    drain = Drain(node, {**OPTIONS, "timeout_seconds": timeout})
    assert drain.start()
    assert drain.outcome == outcome
    assert "undrain" not in node.calls


@pytest.mark.parametrize("node", [FakeNode(), FakeNode(drain=[Unreachable("gone")])])
def test_a_release_that_cannot_drain_has_nothing_to_undo(node):
    drain = Drain(node, OPTIONS)
    assert not drain.start()
    assert drain.outcome == "the release cannot drain"
    assert node.calls == ["drain"]


def test_where_no_function_is_named_nothing_is_called():
    node = FakeNode(drain=[])
    assert not Drain(node, {**OPTIONS, "start": None}).start()
    assert node.calls == []


def test_a_wait_that_breaks_off_lets_sessions_in_again():
    node = FakeNode(drain=[], undrain=[], count=[KeyboardInterrupt()])
    with pytest.raises(KeyboardInterrupt):
        Drain(node, OPTIONS).start()
    assert node.calls == ["drain", "count", "undrain"]


@pytest.mark.parametrize("name", ["start", "undo", "count"])
def test_erlang_code_cannot_be_smuggled_in(name):
    with pytest.raises(OpsError, match="is not the name of a function"):
        Drain(FakeNode(), {**OPTIONS, name: "halt(). m:f/0"})
