# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._config.addresses import closed_addresses
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError


@pytest.mark.parametrize(
    ("sources", "networks"),
    [
        ([], []),
        (["10.0.0.1", "10.1.0.0/16"], ["10.0.0.1/32", "10.1.0.0/16"]),
        (["10.0.0.1", "fd00::1", "10.0.0.1/32", "FD00::1"], ["10.0.0.1/32", "fd00::1/128"]),
        (["fe80::1%eth0"], ["fe80::1/128"]),
        (["10.0.0.1", "any"], []),
        (["10.0.0.1", "n2.example.com"], []),
        # A name may be made of the letters of hexadecimal numbers.
        (["cafe.de", "10.0.0.1"], []),
    ],
)
def test_a_list_is_closed_when_it_is_made_of_addresses(sources, networks):
    assert closed_addresses(sources) == networks


@pytest.mark.parametrize("source", ["10.0.0.300", "10.0.0.1/8", "10.0.0.0/33", "fd00::g"])
def test_what_systemd_would_pass_over_is_refused(source):
    with pytest.raises(OpsError, match=f"{source}.*erlmcp_node_allowed_addresses"):
        closed_addresses(["10.0.0.1", source])
