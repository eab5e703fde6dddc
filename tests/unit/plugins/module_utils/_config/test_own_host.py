# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which names a node can have on a host whose name service says so. Addresses resolve to themselves."""

from __future__ import annotations

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._config.own_host import check_own_name
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError

PLAIN = {"sys.config": b"[].\n", "vm.args": b""}
ONE_PLACE = {"sys.config": b"[].\n", "vm.args": b"-kernel inet_dist_use_interface {10,0,0,1}\n"}


@pytest.mark.parametrize(
    ("host", "addresses", "files"),
    [
        ("10.0.0.1", ["10.0.0.1"], ONE_PLACE),
        ("10.0.0.1", [], PLAIN),
        ("fd00::11", ["10.0.0.1", "fd00:0:0::11"], PLAIN),
        # As Debian's installer writes it: epmd listens there too.
        ("127.0.1.1", ["10.0.0.1"], PLAIN),
    ],
)
def test_a_name_by_which_the_node_is_found(host, addresses, files):
    check_own_name(f"erlmcp@{host}", addresses, files)


@pytest.mark.parametrize(
    ("host", "addresses", "files", "problem"),
    [
        ("10.0.0.2", ["10.0.0.1"], PLAIN, "'10.0.0.2' resolves to 10.0.0.2 on this host, and epmd listens on 10.0.0.1"),
        ("127.0.1.1", ["10.0.0.1"], ONE_PLACE, "the node listens only where inet_dist_use_interface says"),
        ("no-such-host.invalid", [], PLAIN, "'no-such-host.invalid' does not resolve on this host"),
    ],
)
def test_a_name_by_which_it_is_not_found_is_refused(host, addresses, files, problem):
    with pytest.raises(OpsError, match=f"{problem}.*set erlmcp_node_host to the address that its peers use"):
        check_own_name(f"erlmcp@{host}", addresses, files)
