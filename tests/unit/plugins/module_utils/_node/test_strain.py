# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A node that serves and is near an end of something is told before it gets there."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._node.strain import near_limits, near_memory, read_memory

MIB = 1024**2
ROOMY = (1000 * MIB, 50 * MIB)


@pytest.mark.parametrize(
    ("resident", "allowed", "host", "told"),
    [
        (899, 1000, ROOMY, None),
        (900, 1000, ROOMY, "900 MiB of memory, of the 1000 MiB that its unit may have"),
        (900, None, ROOMY, None),
        (900, None, (1000 * MIB, 49 * MIB), "900 MiB of memory, and of the 1000 MiB of its host 49 MiB are left"),
    ],
)
def test_little_memory_is_told(resident, allowed, host, told):
    rows = near_memory("a@h", resident * MIB, allowed and allowed * MIB, host)
    assert [row.code for row in rows] == (["ERLMCP_MEMORY"] if told else [])
    assert all(told in row.evidence for row in rows)


@pytest.mark.parametrize(
    ("processes", "ports", "told"),
    [(89, 0, []), (90, 0, ["processes"]), (0, 9, ["ports"]), (100, 10, ["processes", "ports"])],
)
def test_a_limit_of_the_virtual_machine_that_is_near_is_told(processes, ports, told):
    figures = {"processes": processes, "process_limit": 100, "ports": ports, "port_limit": 10}
    rows = near_limits("a@h", figures)
    assert [row.evidence.split()[6] for row in rows] == told
    assert {row.code for row in rows} <= {"ERLMCP_LIMIT_NEAR"}


def test_of_a_node_that_does_not_answer_no_limit_is_told():
    assert near_limits("a@h", {}) == []


def test_memory_is_read_from_the_kernel():
    unit = SimpleNamespace(memory_max=lambda: 7)
    resident, allowed, (total, available) = read_memory(os.getpid(), unit)
    assert MIB < resident < available <= total
    assert allowed == 7
    assert read_memory(2**22 + 1, unit) is None
