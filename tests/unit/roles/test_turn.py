# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which part of a run of site a node is sorted into."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

ROLE = Path(__file__).parents[3] / "roles" / "erlmcp_cluster"
WELL = {
    "running": True,
    "health": {"healthy": True},
    "epmd_error": None,
    "missing_members": [],
    "not_sharing": [],
    "restart_required": [],
}


def turn(store, shared=True, **node):
    loader = DataLoader()
    variables = {
        **loader.load_from_file(str(ROLE / "vars" / "main.yml"), trusted_as_template=True),
        "erlmcp_cluster_restart_reasons": [],
        "erlmcp_cluster_shared_tables": shared,
        "erlmcp_node_name": "a@h",
        "ansible_check_mode": False,
        "__erlmcp_cluster_node": {**WELL, "store": store, **node},
    }
    return Templar(loader, variables=variables).template(variables["__erlmcp_cluster_turn"])


@pytest.mark.parametrize(
    ("store", "shared", "node", "expected"),
    [
        ({"in_ram": []}, True, {}, "none"),
        (None, True, {}, "none"),
        ({"in_ram": []}, True, {"not_sharing": ["b@h"]}, "wait"),
        ({"in_ram": ["a@h"]}, True, {}, "wait"),
        ({"in_ram": ["b@h"]}, True, {}, "none"),
        ({"in_ram": ["a@h"]}, False, {}, "none"),
        ({"in_ram": []}, True, {"epmd_error": "it is silent"}, "wait"),
        ({"in_ram": ["a@h"]}, True, {"restart_required": ["config"]}, "restart"),
    ],
)
def test_a_node_that_would_forget_the_cluster_or_cannot_be_found_is_not_taken_for_proven(store, shared, node, expected):
    assert turn(store, shared, **node) == expected
