# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.erlmcp.ops.plugins.module_utils._node.settling import Settling


def looks(*seen, seconds=10):
    """What each look says: (moment, process, whether it is well)."""
    now = []
    settling = Settling(seconds, clock=lambda: now[-1])

    def look(moment, pid, well):
        now.append(moment)
        return settling.look({"pid": pid}, well), settling.begun

    return [look(*each) for each in seen]


def test_a_node_settles_when_it_stays_well():
    assert looks((0, 1, True), (9, 1, True), (10, 1, True)) == [(False, True), (False, True), (True, True)]


def test_without_a_time_the_first_look_is_enough():
    assert looks((0, 1, False), (1, 1, True), seconds=0) == [(False, False), (True, True)]


def test_a_break_begins_it_anew():
    assert looks((0, 1, True), (8, 1, False), (9, 1, True), (12, 1, True), (19, 1, True)) == [
        (False, True),
        (False, False),
        (False, True),
        (False, True),
        (True, True),
    ]


def test_a_restart_between_two_looks_begins_it_anew():
    assert looks((0, 1, True), (8, 2, True), (12, 2, True), (18, 2, True)) == [
        (False, True),
        (False, True),
        (False, True),
        (True, True),
    ]
