# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of the backup modules, once: the modules take them from Ansible, the command on the host from a file.

Described in the doc fragment ``backup`` and in the modules.
"""

from __future__ import annotations

from .._core.node_spec import NODE_SPEC
from .._node.health import HEALTH_SPEC

_STORE = {
    "store_dir": {"type": "path", "default": "/var/backups/erlmcp"},
    "service": {"type": "str", "default": "erlmcp"},
    "run_dir": {"type": "path", "default": "/run/erlmcp-ops"},
    "metrics_dir": {"type": "str", "default": ""},
}

_DATA = {"data_dir": {"type": "path", "default": "/var/lib/erlmcp"}}

_SIGNERS = {"signers": {"type": "list", "elements": "str", "default": []}}

# What it takes to open an archive, and to trust it.
_TRUST = {"identity": {"type": "str", "no_log": True}, **_SIGNERS}

_ARCHIVE = {"archive": {"type": "str", "default": "latest"}, "host": {"type": "str"}}

SPECS = {
    "backup": {
        **NODE_SPEC,
        **HEALTH_SPEC,
        **_STORE,
        **_DATA,
        "log_dir": {"type": "path", "default": "/var/log/erlmcp"},
        "host": {"type": "str", "required": True},
        "method": {"type": "str", "choices": ["hot", "cold", "stop"], "default": "hot"},
        "members": {
            "type": "list",
            "elements": "str",
            "choices": ["config", "data", "logs", "tls"],
            "default": ["config", "data", "logs"],
        },
        "tls_paths": {"type": "list", "elements": "path", "default": []},
        "log_days": {"type": "int", "default": 7},
        "exclude": {"type": "list", "elements": "str", "default": []},
        "compression": {"type": "str", "choices": ["auto", "zstd", "gzip"], "default": "auto"},
        "compression_level": {"type": "int", "default": 1},
        "recipients": {"type": "list", "elements": "str", "default": []},
        "signing_key_file": {"type": "path", "no_log": False},
        **_SIGNERS,
        "start_timeout_seconds": {"type": "int", "default": 120},
        "stop_timeout_seconds": {"type": "int", "default": 90},
    },
    "backup_info": {
        "store_dir": _STORE["store_dir"],
        "host": {"type": "str"},
        **_DATA,
    },
    "backup_prune": {
        **_STORE,
        **_DATA,
        "keep_days": {"type": "int", "default": 30},
        "keep_daily": {"type": "int", "default": 7},
        "keep_weekly": {"type": "int", "default": 4},
        "keep_monthly": {"type": "int", "default": 12},
        "keep_last": {"type": "int", "default": 1},
        "safety_copy_days": {"type": "int", "default": 7},
    },
    "backup_verify": {
        **NODE_SPEC,
        **_STORE,
        **_DATA,
        **_ARCHIVE,
        **_TRUST,
        "level": {"type": "str", "choices": ["bytes", "tables"], "default": "tables"},
        "all": {"type": "bool", "default": False},
    },
    "backup_copy": {
        **_STORE,
        **_ARCHIVE,
        "tool": {"type": "str", "choices": ["rclone", "rsync"], "required": True},
        "destination": {"type": "str", "required": True},
        "tool_options": {"type": "list", "elements": "str", "default": []},
    },
    "backup_fetch": {
        "store_dir": _STORE["store_dir"],
        **_ARCHIVE,
        "dest_dir": {"type": "path", "required": True},
        "piece": {
            "type": "dict",
            "options": {
                "path": {"type": "path", "required": True},
                "version": {"type": "str", "required": True},
                "offset": {"type": "int", "required": True},
                "size": {"type": "int", "required": True},
            },
        },
    },
    "restore": {
        **NODE_SPEC,
        **HEALTH_SPEC,
        **_STORE,
        **_DATA,
        **_ARCHIVE,
        **_TRUST,
        "state": {
            "type": "str",
            "choices": [
                "present",
                "staged",
                "exchanged",
                "started",
                "proven",
                "kept",
                "finished",
                "withdrawn",
                "resumed",
                "reverted",
            ],
            "default": "present",
        },
        "undo": {"type": "bool", "default": False},
        "together": {"type": "list", "elements": "str", "default": []},
        "run": {"type": "str", "default": ""},
        "members": {"type": "list", "elements": "str", "choices": ["config", "data"], "default": ["config", "data"]},
        "tables_archive": {"type": "str"},
        "node_map": {"type": "dict", "default": {}},
        "group": {"type": "str", "default": "erlmcp"},
        "allow_newer": {"type": "bool", "default": False},
        "start_timeout_seconds": {"type": "int", "default": 120},
        "stop_timeout_seconds": {"type": "int", "default": 90},
    },
    "restore_drill": {
        **NODE_SPEC,
        **HEALTH_SPEC,
        **_STORE,
        **_DATA,
        **_ARCHIVE,
        **_TRUST,
        "log_dir": {"type": "path", "default": "/var/log/erlmcp"},
        "group": {"type": "str", "default": "erlmcp"},
        "start_timeout_seconds": {"type": "int", "default": 120},
        "stop_timeout_seconds": {"type": "int", "default": 90},
    },
}
