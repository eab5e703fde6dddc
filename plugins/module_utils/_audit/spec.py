# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of module ``audit_rules``, which documents them, for it and for module ``site_info``."""

from __future__ import annotations

AUDIT_RULES_SPEC = {
    "rules": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "key": {"type": "str", "required": True, "no_log": False},
            "path": {"type": "path", "required": True},
            "kind": {"type": "str", "choices": ["directory", "file"], "default": "directory"},
            "permissions": {"type": "str", "default": "wa"},
            "filters": {"type": "list", "elements": "str", "default": []},
            "enabled": {"type": "bool", "default": True},
        },
    },
    "enabled": {"type": "bool", "default": True},
}
