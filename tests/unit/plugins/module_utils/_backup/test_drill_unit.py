# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.drill_unit import passed_on, unit_text

ROLE = Path(__file__).parents[5] / "roles" / "erlmcp_node" / "vars" / "main.yml"

# As systemctl cat prints a unit and its drop-ins.
UNIT = r"""# /etc/systemd/system/erlmcp.service
# Laid down by erlmcp.ops
[Unit]
Description=erlmcp node
Requires=something.service

[Service]
Type=exec
User=erlmcp
Environment="A=with blanks" B=%n \
# not a part of it
    C='d'
LimitNOFILE=65536
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
; neither
ExecStart=/usr/local/bin/erlmcp foreground

[Install]
WantedBy=multi-user.target

# /etc/systemd/system/erlmcp.service.d/override.conf
[Service]
SystemCallFilter=
EnvironmentFile = -/etc/default/erlmcp
"""


def test_lines_are_taken_as_they_stand_and_in_their_order():
    assert passed_on(UNIT) == [
        "Environment=\"A=with blanks\" B=%n      C='d'",
        "LimitNOFILE=65536",
        "SystemCallFilter=@system-service",
        "SystemCallFilter=~@privileged @resources",
        "SystemCallFilter=",
        "EnvironmentFile=-/etc/default/erlmcp",
    ]


@pytest.mark.parametrize(
    "line",
    [
        "AmbientCapabilities=CAP_NET_BIND_SERVICE",
        "BindReadOnlyPaths=/srv/models",
        "ExecPaths=/var/lib/erlmcp/bin",
        "InaccessiblePaths=",
        "LimitMEMLOCK=infinity",
        "LoadCredential=key:/etc/key",
        "MemoryDenyWriteExecute=no",
        "NoExecPaths=/tmp",
        "NoNewPrivileges=no",
        "PassEnvironment=LANG",
        "PrivateUsers=no",
        "RestrictAddressFamilies=AF_INET AF_NETLINK",
        "SupplementaryGroups=ssl-cert",
        "TasksMax=100",
        "UMask=0027",
        "WorkingDirectory=/var/lib/erlmcp",
    ],
)
def test_what_a_release_may_need_to_start_is_passed_on(line):
    assert passed_on(f"[Service]\n{line}\n") == [line]


@pytest.mark.parametrize(
    "line",
    [
        "CPUSchedulingPolicy=rr",
        "ExecStartPre=/usr/local/bin/erlmcp record-start",
        "ExecStopPost=/usr/local/bin/erlmcp explain-exit",
        "FailureAction=reboot",
        "IPAddressAllow=10.0.0.1",
        "NetworkNamespacePath=/run/netns/x",
        "NotifyAccess=all",
        "OOMScoreAdjust=-900",
        "PrivateNetwork=no",
        "PrivateTmp=no",
        "ProtectSystem=no",
        "ReadWritePaths=/srv/other",
        "RemoveIPC=yes",
        "Restart=on-failure",
        "RestartSec=2",
        "RuntimeDirectory=erlmcp",
        "RuntimeDirectoryMode=0750",
        "StandardOutput=append:/var/log/erlmcp/out",
        "StateDirectory=erlmcp",
        "TimeoutStopSec=60",
        "User=root",
        "WatchdogSec=10",
    ],
)
def test_what_could_touch_the_node_that_serves_is_not(line):
    assert passed_on(f"[Service]\n{line}\n") == []


def test_what_is_mounted_to_be_written_can_be_read():
    assert passed_on("[Service]\nBindPaths=/srv/models:/models\n") == ["BindReadOnlyPaths=/srv/models:/models"]


def test_the_whole_sandbox_is_passed_on():
    sandbox = yaml.safe_load(ROLE.read_text())["__erlmcp_node_sandbox"]
    text = "".join(f"{name}={value}\n" for name, value in sandbox.items())
    taken = {line.partition("=")[0] for line in passed_on(f"[Service]\n{text}")}
    assert set(sandbox) - taken == {"PrivateTmp", "ProtectSystem", "RemoveIPC"}


def test_what_the_drill_adds_counts_and_is_no_specifier():
    text = unit_text("erlmcp", ["Environment=B=%n"], ["ReadWritePaths=/var/100%"])
    assert text.splitlines()[-3:] == ["[Service]", "Environment=B=%n", "ReadWritePaths=/var/100%%"]
