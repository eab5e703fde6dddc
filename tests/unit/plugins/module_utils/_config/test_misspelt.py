# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._config.misspelt import misspelt

KNOWN = {"erlmcp_node_vm_args", "erlmcp_tls_dir", "erlmcp_firewall_client_addresses", "erlmcp_user"}


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("erlmcp_node_vmargs", "erlmcp_node_vm_args"),
        ("erlmcp_node_vm_arg", "erlmcp_node_vm_args"),
        ("erlmcp_node_vm_argss", "erlmcp_node_vm_args"),
        ("erlmcp_node_wm_args", "erlmcp_node_vm_args"),
        ("erlmcp_node_vm_agrs", "erlmcp_node_vm_args"),
        ("erlmcp_Node_VM_args", "erlmcp_node_vm_args"),
        ("erlmcp_firewall_client_address", "erlmcp_firewall_client_addresses"),
    ],
)
def test_what_is_nearly_a_variable_is_told_with_the_right_name(name, near):
    (problem,) = misspelt([name, "other"], KNOWN)
    assert problem.startswith(f"{name} is no variable of the collection: write {near}, or ")


@pytest.mark.parametrize(
    "name",
    [
        *sorted(KNOWN),
        "erlmcp_tmp_dir",
        "erlmcp_node_vm_args_of_old",
        "erlmcp_node_args",
        "__erlmcp_node_vmargs",
        "vault_erlmcp_user",
        "erlmcp_owner",
    ],
)
def test_a_variable_of_the_inventory_itself_is_let_be(name):
    assert misspelt([name], KNOWN) == []
