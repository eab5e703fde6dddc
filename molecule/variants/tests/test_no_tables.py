# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Nodes of a release that makes no tables are members of one schema, and whichever of them restarts stays one."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from testlib import Hosts, play, ssh, wait_until_healthy

NODES = Hosts(Path(__file__).parents[1], "erlmcp", "no_tables")
LIMIT = ["--limit", "no_tables"]
BOTH = sorted(f"erlmcp@{name}" for name in NODES)
QUESTION = """[{What, lists:sort(Names)} || {What, Names} <- [
    {members, mnesia:system_info(db_nodes)},
    {running, mnesia:system_info(running_db_nodes)},
    {on_disk, mnesia:table_info(schema, disc_copies)},
    {tables, mnesia:system_info(tables)}
]]."""


def prove():
    """Each node says that both are members for good. That the other one is back, it may hear a moment later."""
    wanted = f"[{{members, {BOTH}}}, {{running, {BOTH}}}, {{on_disk, {BOTH}}}, {{tables, [schema]}}]\n"
    for name, address in NODES.items():
        deadline = time.monotonic() + 10
        while (said := ssh(address, 'erlmcp eval "$(cat)"', QUESTION).stdout) != wanted:
            assert time.monotonic() < deadline, f"{name} says {said}"
            time.sleep(0.2)


def test_who_was_provisioned_first_and_who_joined_have_the_schema_on_disk():
    prove()


@pytest.mark.parametrize("name", NODES)
def test_a_node_that_restarts_is_a_member_still(name):
    ssh(NODES[name], "systemctl restart erlmcp")
    wait_until_healthy(NODES[name])
    prove()


def test_afterwards_there_is_nothing_to_repair():
    done = play("erlmcp.ops.check_health", NODES, options=LIMIT)
    assert done.rc == 0, done.messages
    done = play("erlmcp.ops.site", NODES, options=LIMIT)
    assert done.rc == 0, done.messages
    assert not done.changed
    prove()
