# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rotation under load: the node stays up, writes to the new file, and no line is lost."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest
from testlib import Hosts, Mcp, ssh

HOSTS = Hosts(Path(__file__).parents[1])
ADDRESS = next(iter(HOSTS.values()))
LOG = "/var/log/erlmcp/erlmcp.log"
ROTATIONS = 20
# What the role laid down, but that it keeps more files than there are rotations: every line is counted in the end.
ROTATE = "sed 's/rotate 14/rotate 99/' /etc/logrotate.d/erlmcp > /var/tmp/rotate && logrotate --force /var/tmp/rotate"


class Load(threading.Thread):
    """Asks as fast as it can; every question makes one line in the log, with a number of its own."""

    def __init__(self):
        super().__init__(daemon=True)
        self.stopped = threading.Event()
        self.asked = 0

    def run(self):
        with Mcp(ADDRESS) as client:
            while not self.stopped.is_set():
                client.ask("ping")
            self.asked = client.number


@pytest.fixture(name="rotated", scope="module")
def _rotated():
    ssh(ADDRESS, f"{ROTATE}; : > {LOG}; rm -f {LOG}.*")
    pid = ssh(ADDRESS, "systemctl show -P MainPID erlmcp").stdout
    load = Load()
    load.start()
    sizes = []
    for _rotation in range(ROTATIONS):
        # The handler writes what it has buffered when that is 64 KiB, or after its own interval.
        ssh(ADDRESS, f"{ROTATE} && for each in $(seq 50); do [ -s {LOG} ] && exit; sleep 0.1; done")
        sizes.append(int(ssh(ADDRESS, f"stat -c %s {LOG}").stdout))
    load.stopped.set()
    load.join(timeout=10)
    # The handler writes what it has buffered within its own interval.
    log = ssh(ADDRESS, f"sleep 3; cat {LOG}; cat {LOG}.1; zcat {LOG}.*.gz", timeout=120).stdout
    return pid, load.asked, sizes, log


def test_the_node_stays_up(rotated):
    pid, _asked, _sizes, _log = rotated
    assert ssh(ADDRESS, "systemctl show -P MainPID erlmcp").stdout == pid


def test_it_writes_to_the_new_file_after_every_rotation(rotated):
    _pid, _asked, sizes, _log = rotated
    assert len(sizes) == ROTATIONS
    assert all(size > 0 for size in sizes), sizes


def test_no_line_is_lost(rotated):
    _pid, asked, _sizes, log = rotated
    logged = sorted(int(number) for number in re.findall(r'method="ping" id=(\d+)', log))
    assert asked > 1000
    assert logged == list(range(2, asked + 1))


def test_the_new_file_belongs_to_the_service(rotated):
    assert ssh(ADDRESS, f"stat -c '%U:%G %a' {LOG}").stdout == "erlmcp:erlmcp 640\n"
