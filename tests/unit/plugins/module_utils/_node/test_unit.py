# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._node.unit import UnitState, telling_lines, why_down


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (
            UnitState(active="failed", sub="failed", result="exit-code", restarts=5, exit_status=1),
            "a.service has failed (exit-code, status 1) after 5 automatic restarts, and systemd does not start it any "
            "more: journalctl -u a.service tells why. The playbook site starts it once that is mended",
        ),
        (
            UnitState(active="activating", sub="auto-restart", result="oom-kill", restarts=1, exit_status=9),
            "a.service has failed (oom-kill) and is to be started again, 1 automatic restart so far: see journalctl -u "
            "a.service",
        ),
        (UnitState(), "a.service is inactive (dead): the playbook site starts it"),
        (UnitState(active="activating", sub="start-pre"), "a.service is activating (start-pre)"),
    ],
)
def test_why_a_unit_has_no_process(state, told):
    assert why_down("a.service", state) == told


def test_the_first_error_is_found_under_pages_of_what_followed():
    log = [
        "Started",
        "error: cannot listen on port 22",
        *(f"info: supervisor {n} ended" for n in range(500)),
        "stopped",
    ]
    told = telling_lines("\n".join(log)).splitlines()
    assert told[0] == "error: cannot listen on port 22"
    assert told[-1] == "stopped"
    assert len(told) < 20


def test_a_short_log_is_told_whole_and_in_order():
    assert telling_lines("a\nerror: b\nc\n") == "a\nerror: b\nc"


def test_a_line_without_an_end_is_cut():
    assert len(telling_lines("x" * 100_000)) < 1000


def test_an_empty_log():
    assert telling_lines("") == ""
