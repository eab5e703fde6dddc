# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a refusal of the command on a host names is done at once, and helps."""

from __future__ import annotations

import re
from pathlib import Path

from backuplib import ops
from testlib import Hosts, ssh

NODES = Hosts(Path(__file__).parents[1], "erlmcp", "bare")
FIRST, SECOND = NODES.values()


def refused(*arguments):
    status, told = ops(FIRST, *arguments, check=False)
    assert status == 1, told
    return told


def test_another_nodes_archive_goes_in_with_the_options_that_the_refusals_name():
    archive = ops(SECOND, "backup")[1]["archive"]
    # Outside of the store, under the name that it was made with.
    there = f"/var/tmp/{Path(archive).name}"
    ssh(FIRST, f"base64 --decode > {there}", ssh(SECOND, f"base64 {archive}").stdout)
    ssh(FIRST, "touch /var/lib/erlmcp/of-the-first")
    try:
        name = re.search(r"on the host (--node-name \S+=\S+)", refused("restore", there))[1]
        part = re.search(r"on the host (--\S+)\)", refused("restore", there, name))[1]
        assert ops(FIRST, "restore", there, name, part)[1]["health"]["healthy"]
        assert ssh(FIRST, "ls /var/lib/erlmcp").stdout == ""
    finally:
        ssh(FIRST, f"rm -rf {there} /var/lib/erlmcp.* /var/lib/erlmcp/of-the-first")


def test_a_node_that_is_stopped_is_backed_up_by_the_method_that_the_refusal_names():
    ssh(FIRST, "systemctl stop erlmcp")
    try:
        method = re.search(r"erlmcp_backup_method: (\w+)", refused("backup"))[1]
        ops(FIRST, "backup", "--method", method)
    finally:
        ssh(FIRST, "systemctl start erlmcp")
    method = re.search(r"erlmcp_backup_method: (\w+)", refused("backup", "--method", method))[1]
    ops(FIRST, "backup", "--method", method)
