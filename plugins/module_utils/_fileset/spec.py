# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of module ``fileset``, which documents them, for it and for module ``site_info``."""

from __future__ import annotations

FILESET_SPEC = {
    "entries": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "path": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["file", "directory", "link", "absent"], "default": "file"},
            "content": {"type": "str"},
            "content_base64": {"type": "str"},
            "runtime_path": {"type": "path"},
            "secret": {"type": "str", "no_log": True},
            "target": {"type": "str"},
            "owner": {"type": "str", "default": "root"},
            "group": {"type": "str", "default": "root"},
            "mode": {"type": "str", "default": "0644"},
            "refuse_change": {"type": "str"},
        },
        "mutually_exclusive": [["content", "content_base64", "secret"]],
    },
    "started": {"type": "list", "elements": "str", "default": []},
    "stopped": {"type": "list", "elements": "str", "default": []},
    "started_with": {"type": "dict", "default": {}},
    "programs": {"type": "list", "elements": "str", "default": []},
}
