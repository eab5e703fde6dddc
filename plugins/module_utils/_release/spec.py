# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of module ``release``, which documents them, for it and for module ``site_info``."""

from __future__ import annotations

RELEASE_SPEC = {
    "src": {"type": "path"},
    "remote_src": {"type": "bool", "default": False},
    "checksum": {"type": "str"},
    "version": {"type": "str"},
    "install_dir": {"type": "path", "default": "/opt/erlmcp"},
    "release_name": {"type": "str", "default": "erlmcp"},
    "stage": {"type": "bool", "default": True},
    "start_hooks": {"type": "bool", "default": True},
    "keep": {"type": "int", "default": 3},
    "service": {"type": "str", "default": "erlmcp"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "archive_sha256": {"type": "str"},
    "asked": {"type": "dict"},
}
