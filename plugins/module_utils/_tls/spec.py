# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of module ``certificate``, which documents them, for it and for module ``site_info``."""

from __future__ import annotations

CERTIFICATE_SPEC = {
    "dir": {"type": "path", "default": "/etc/erlmcp/certs"},
    "credentials_dir": {"type": "path"},
    "group": {"type": "str", "default": "root"},
    "authorities": {"type": "list", "elements": "str", "required": True},
    "issuer": {"type": "str"},
    "names": {"type": "list", "elements": "str", "required": True},
    "common_name": {"type": "str"},
    "certificate": {"type": "str"},
    "private_key": {"type": "str", "no_log": True},
    "renew": {"type": "str", "choices": ["unusable", "due", "always"], "default": "unusable"},
    "renew_days": {"type": "int", "default": 30},
    "node": {"type": "dict"},
    "ports": {"type": "list", "elements": "int", "default": []},
}
