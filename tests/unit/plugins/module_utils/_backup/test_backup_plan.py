# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.backup import plan
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError

NOTHING = {"mnesia": None, "dets": []}
TABLES = {"mnesia": {"tables": [{}, {}]}, "dets": [{}]}


def test_a_hot_backup_stops_nothing():
    assert plan("hot", True, TABLES) == [
        "let the node write its 2 Mnesia tables and 1 DETS tables",
        "count the rows",
        "write the archive",
    ]


def test_a_node_without_tables_needs_no_stop():
    assert plan("hot", True, NOTHING)[0] == "copy the files of a node without tables"


@pytest.mark.parametrize(
    ("method", "running", "seen", "way_out"),
    [
        ("hot", False, TABLES, "cold"),
        ("cold", True, TABLES, "hot, or stop"),
    ],
)
def test_a_method_that_does_not_fit_names_the_one_that_does(method, running, seen, way_out):
    with pytest.raises(OpsError, match=f"erlmcp_backup_method: {way_out}"):
        plan(method, running, seen)


def test_a_node_is_stopped_only_for_the_copy():
    assert plan("stop", True, NOTHING)[:3] == ["stop the node", "copy the data directory", "start the node"]


@pytest.mark.parametrize("method", ["cold", "stop"])
def test_a_node_that_does_not_run_is_left_so(method):
    assert plan(method, False, NOTHING)[0] == "copy the data directory"
