# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the lock of backups adds to the one in ``_core``."""

from __future__ import annotations

import os

from ansible_collections.erlmcp.ops.plugins.module_utils._backup.lock import Lock


def test_there_is_a_file_for_progress_while_it_is_held(tmp_path):
    with Lock(str(tmp_path), "erlmcp", "backup"):
        assert sorted(os.listdir(tmp_path)) == ["erlmcp.lock", "erlmcp.progress"]
    assert os.listdir(tmp_path) == ["erlmcp.lock"]
