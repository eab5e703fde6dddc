# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A node whose protocol nothing of the collection talks could never be asked again."""

from __future__ import annotations

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._config.live import check_same_protocol
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError


def check(flags):
    files = {"vm.args": flags, "env.sh": None, "sys.config": b"[]."}
    check_same_protocol({"name": "a@h", "service": "erlmcp"}, None, files, None)


@pytest.mark.parametrize(
    "flags", [b"-name a@h", b"-proto_dist inet_tcp", b"-proto_dist inet_tls", b"-proto_dist inet6_tls"]
)
def test_a_protocol_that_is_known_is_taken(flags):
    check(flags)


@pytest.mark.parametrize("protocol", ["inet6_tcp", "local_tcp"])
def test_one_that_is_not_is_refused_with_the_variable(protocol):
    with pytest.raises(OpsError, match=f"-proto_dist {protocol}, over which .* erlmcp_node_vm_args"):
        check(f"-name a@h\n-proto_dist {protocol}\n".encode())
