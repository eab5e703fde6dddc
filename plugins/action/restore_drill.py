# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.erlmcp.ops.plugins.plugin_utils.watched import WatchedAction


class ActionModule(WatchedAction):
    """Shows how far module restore_drill is."""
