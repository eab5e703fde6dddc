# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._config.sandbox import sandbox_problems

GOOD = {
    "erlmcp_install_dir": "/opt/erlmcp",
    "erlmcp_config_dir": "/etc/erlmcp",
    "erlmcp_data_dir": "/var/lib/erlmcp",
    "erlmcp_log_dir": "/var/log/erlmcp",
    "erlmcp_node_log_file": "/var/log/erlmcp/erlmcp.log",
}
SETTINGS = {
    "RuntimeDirectory": "erlmcp",
    "InaccessiblePaths": "-/dev/mqueue -/dev/shm",
    "NoExecPaths": "/tmp /var/lib/erlmcp /var/log/erlmcp",
    "PrivateDevices": True,
    "PrivateTmp": True,
    "ProtectHome": True,
    "ProtectSystem": "strict",
    "ReadWritePaths": "/var/lib/erlmcp /var/log/erlmcp",
}


def problems(paths, **settings):
    return sandbox_problems({**GOOD, **paths}, {**SETTINGS, **settings}, "erlmcp.service")


@pytest.mark.parametrize(
    ("paths", "settings"),
    [
        ({}, {}),
        # Beside what is hidden.
        ({"erlmcp_config_dir": "/homes/a"}, {}),
        # What is no path is told elsewhere.
        ({"erlmcp_log_dir": "", "erlmcp_data_dir": "data"}, {}),
        ({"erlmcp_config_dir": "/home/a"}, {"ProtectHome": False}),
        ({"erlmcp_config_dir": "/home/a"}, {"ProtectHome": "read-only"}),
        ({"erlmcp_config_dir": "/home/a"}, {"ProtectHome": ""}),
        ({"erlmcp_config_dir": "/dev/shm/a"}, {"PrivateDevices": "no", "InaccessiblePaths": ""}),
        ({"erlmcp_node_log_file": "/srv/a.log"}, {"ProtectSystem": "full"}),
        ({"erlmcp_node_log_file": "/srv/a.log"}, {"ReadWritePaths": ["/var", "-/srv"]}),
        ({"erlmcp_node_log_file": "/run/erlmcp/a.log"}, {}),
        ({"erlmcp_install_dir": "/var/lib/erlmcp/opt"}, {"ExecPaths": "/var/lib/erlmcp/opt"}),
        ({"erlmcp_install_dir": "/var/lib/erlmcp/opt"}, {"NoExecPaths": ""}),
    ],
)
def test_what_the_unit_can_use_is_no_problem(paths, settings):
    assert problems(paths, **settings) == []


@pytest.mark.parametrize(
    ("paths", "settings", "said"),
    [
        ({"erlmcp_config_dir": "/home/a"}, {}, "which ProtectHome hides from erlmcp.service: choose a place"),
        ({"erlmcp_config_dir": "/root"}, {"ProtectHome": "Yes"}, "ProtectHome: false in erlmcp_node_unit_settings"),
        ({"erlmcp_config_dir": "/run/user/1"}, {}, "outside of /home, /root, /run/user"),
        ({"erlmcp_config_dir": "/var/tmp/a"}, {}, "which PrivateTmp hides from erlmcp.service: choose a place"),
        ({"erlmcp_config_dir": "/dev/a"}, {}, "which PrivateDevices hides"),
        ({"erlmcp_config_dir": "/dev/shm/a"}, {"PrivateDevices": False}, "which InaccessiblePaths hides"),
        ({"erlmcp_node_log_file": "/srv/a.log"}, {}, "which erlmcp.service cannot write: choose a place below"),
        ({"erlmcp_data_dir": "/srv/a"}, {}, "cannot write: .*ReadWritePaths in erlmcp_node_unit_settings"),
        ({"erlmcp_install_dir": "/var/log/erlmcp/a"}, {}, "where NoExecPaths lets erlmcp.service execute nothing: "),
        ({"erlmcp_install_dir": "/opt/a/b"}, {"ExecPaths": "/opt", "NoExecPaths": "/opt/a"}, "NoExecPaths lets"),
    ],
)
def test_what_the_sandbox_keeps_from_the_unit_is_told_with_variable_value_and_action(paths, settings, said):
    (problem,) = problems(paths, **settings)
    ((name, path),) = paths.items()
    assert problem.startswith(f"{name} is {path!r}, ")
    for part in said.split(".*"):
        assert part in problem
