# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of module ``node_info``, which documents them, for it and for module ``site_info``."""

from __future__ import annotations

from .._core.node_spec import NODE_SPEC
from .around import AROUND_SPEC
from .health import HEALTH_SPEC

NODE_INFO_SPEC = {
    **NODE_SPEC,
    **HEALTH_SPEC,
    **AROUND_SPEC,
    "expect_members": {"type": "list", "elements": "str", "default": []},
    "expect_shared_tables": {"type": "bool", "default": False},
    "wait_seconds": {"type": "int", "default": 0},
    "assert_healthy": {"type": "bool", "default": False},
    "predicted_next": {"type": "dict", "default": {}},
    "connections_function": {"type": "str"},
}
