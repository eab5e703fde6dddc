# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of module ``config``, which documents them, for it and for module ``site_info``."""

from __future__ import annotations

from .._core.node_spec import NODE_SPEC

TEXTS = ("sys_config", "vm_args", "env_sh")
CONFIG_SPEC = {
    **NODE_SPEC,
    # Secrets may stand in them, escaped in ways that Ansible does not know.
    **{name: {"type": "str", "no_log": True} for name in TEXTS},
    "base": {"type": "str", "choices": ["none", "release"], "default": "none"},
    "release_files": {
        "type": "dict",
        # They may hold secrets that the inventory does not know.
        "options": {"version": {"type": "str"}, "files": {"type": "dict", "no_log": True}},
    },
    "state": {"type": "str", "choices": ["present", "reverted"], "default": "present"},
    "group": {"type": "str", "default": "erlmcp"},
    "keep": {"type": "int", "default": 5},
    "readmit": {"type": "bool", "default": False},
    "left_out": {"type": "list", "elements": "str", "default": []},
    "own_addresses": {"type": "list", "elements": "str", "default": []},
    "secrets": {"type": "list", "elements": "str", "default": [], "no_log": True},
}
