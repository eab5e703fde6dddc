# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.erlmcp.ops.tests.unit.plugins.module_utils._cluster.mnesia_cluster import started_cluster


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """Three real nodes that share two tables."""
    with started_cluster(tmp_path, monkeypatch) as started:
        yield started
