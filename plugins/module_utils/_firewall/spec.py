# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of module ``firewall``, which documents them, for it and for module ``site_info``."""

from __future__ import annotations

from .firewall import BACKENDS

FIREWALL_SPEC = {
    "rules": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "port": {"type": "str", "required": True},
            "protocol": {"type": "str", "choices": ["tcp", "udp"], "default": "tcp"},
            "sources": {"type": "list", "elements": "str", "default": ["any"]},
            "enabled": {"type": "bool", "default": True},
        },
    },
    "enabled": {"type": "bool", "default": True},
    "backend": {"type": "str", "choices": ["auto", *BACKENDS], "default": "auto"},
}
