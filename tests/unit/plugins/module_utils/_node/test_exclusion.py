# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.module_utils._node import exclusion


def test_one_change_of_a_node_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(exclusion, "_RUN_DIR", str(tmp_path))
    monkeypatch.setattr(exclusion, "_PATIENCE_SECONDS", 0)
    with exclusion.node_lock({"service": "one"}, "restart"):
        with pytest.raises(OpsError, match="a restart .* of one-node on host .* is at work"):
            exclusion.wait_for_others({"service": "one"})
        with pytest.raises(OpsError, match="a restart"), exclusion.node_lock({"service": "one"}, "join"):
            pass
        exclusion.wait_for_others({"service": "two"})
    exclusion.wait_for_others({"service": "one"})
