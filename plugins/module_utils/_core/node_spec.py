# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ``node`` option, as documented in the doc fragment ``node``."""

from __future__ import annotations

NODE_SPEC = {
    "node": {
        "type": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "name_type": {"type": "str", "choices": ["long", "short"], "default": "long"},
            "release_name": {"type": "str", "default": "erlmcp"},
            "service": {"type": "str", "default": "erlmcp"},
            "user": {"type": "str", "default": "erlmcp"},
            "home_dir": {"type": "path", "required": True},
            "install_dir": {"type": "path", "default": "/opt/erlmcp"},
            "config_dir": {"type": "path", "default": "/etc/erlmcp"},
            "run_dir": {"type": "path", "default": "/run/erlmcp"},
            "owned_dirs": {"type": "list", "elements": "path", "default": []},
            "ports": {"type": "list", "elements": "int", "default": []},
        },
    },
}
