# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restores: the node is down for a restart, and afterwards everything is new or everything is old."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from backuplib import content, filled_by_old_restores, ops, pid, put
from testlib import Hosts, Mcp, Watch, health, play, reachable, ssh, wait_until_healthy

PAIR = Hosts(Path(__file__).parents[1], "erlmcp", "pair")
FIRST, SECOND = PAIR.values()
ONE = {"erlmcp_hosts": "n1.backup.test"}
STORE = "/var/backups/erlmcp"
# What does not serve by then does not serve.
SOON = {"erlmcp_backup_restore_start_timeout_seconds": 20}


def backup(address=FIRST):
    return ops(address, "backup")[1]["archive"]


def leftovers(address):
    """Of a restore that was refused: staging directories, which have a dot in front."""
    return ssh(address, "ls -Ad /srv/data/.* /var/lib/.* 2>/dev/null | grep erlmcp || true").stdout


def test_rows_come_back_and_the_rows_that_were_there_are_kept():
    session = put(FIRST, 20, "old")
    archive = backup()
    wanted = content(FIRST)
    newer = put(FIRST, 30, "new")
    replaced = content(FIRST)
    with Watch({"n1": FIRST}) as watch:
        named = {"erlmcp_backup_restore_archive": archive.rpartition("/")[2]}
        done = play("erlmcp.ops.restore", PAIR, named, ["--limit", "n1.backup.test"])
    assert done.rc == 0, done.messages
    assert len(watch.outages("n1")) == 1
    assert content(FIRST) == wanted
    with Mcp(FIRST, session=session) as client:
        assert client.call("get", key="old-7")["content"][0]["text"] == "x" * 200

    restored = content(FIRST)
    back = ops(FIRST, "restore", "--undo")
    assert back[0] == 0
    assert content(FIRST) == replaced
    with Mcp(FIRST, session=newer) as client:
        assert client.call("get", key="new-7")["content"][0]["text"] == "x" * 200
    assert ops(FIRST, "restore", "--undo")[1]["safety_copy"].startswith("/var/lib/erlmcp.reverted-")
    assert content(FIRST) == restored


def test_a_config_that_does_not_serve_is_taken_back():
    config = "/etc/erlmcp/current/sys.config"
    # Of a node that a bad edit took down.
    ssh(SECOND, f"systemctl stop erlmcp && cp -p {config} /var/tmp && sed -i 's/mcp_port, 5005/mcp_port, 22/' {config}")
    archive = ops(SECOND, "backup", "--method", "cold")[1]["archive"]
    ssh(SECOND, f"cp -p /var/tmp/sys.config {config} && systemctl start erlmcp")
    wait_until_healthy(SECOND)
    put(SECOND, 5)
    before, running = content(SECOND), ssh(SECOND, "readlink /etc/erlmcp/current").stdout

    done = play(
        "erlmcp.ops.restore",
        PAIR,
        {
            "erlmcp_hosts": "n2.backup.test",
            "erlmcp_backup_restore_archive": archive.rpartition("/")[2],
            "erlmcp_backup_restore_members": ["config", "data"],
            **SOON,
        },
    )
    assert done.rc != 0
    assert "cannot listen on port 22" in done.messages
    assert "The old state is back and serving" in done.messages
    assert health(SECOND)["status"] == "healthy"
    assert ssh(SECOND, "readlink /etc/erlmcp/current").stdout == running
    assert "mcp_port, 5005" in ssh(SECOND, f"cat {config}").stdout
    assert content(SECOND) == before
    ssh(SECOND, f"rm {archive}*")


def test_an_archive_of_another_node_needs_a_map():
    archive = backup()
    name = archive.rpartition("/")[2]
    running = pid(SECOND)
    text = ssh(FIRST, f"base64 {archive}").stdout
    ssh(SECOND, f"base64 -d > /var/tmp/{name}", typed=text)
    refused = ops(SECOND, "restore", f"/var/tmp/{name}", "--data-only", check=False)
    assert refused[0] == 1
    assert "it is of node erlmcp@n1.backup.test" in refused[1]
    assert pid(SECOND) == running
    before = content(SECOND)
    renamed = "--node-name erlmcp@n1.backup.test=erlmcp@n2.backup.test"
    taken = ops(SECOND, "restore", f"/var/tmp/{name}", "--data-only", renamed)
    assert taken[0] == 0
    assert content(SECOND)[4] == content(FIRST)[4]
    assert "n1.backup.test" not in ssh(SECOND, "erlmcp eval 'mnesia:system_info(db_nodes).'").stdout
    ops(SECOND, "restore", "--undo")
    assert content(SECOND) == before


def test_where_an_archive_is_from_the_future_nobody_knows_the_latest():
    made, running = backup(SECOND), pid(SECOND)
    when = re.search(r"\d{8}T\d{6}Z", made)[0]
    later = made.replace(when, "20990101T000000Z")
    ssh(SECOND, f"cp {made} {later}; sed 's/{when}/20990101T000000Z/g' {made}.json > {later}.json")
    try:
        status, refused = ops(SECOND, "restore", "latest", check=False)
        assert status == 1
        named = re.search(r"is from the future.* Name the one that is meant, for example (\S+)", refused)[1]
        assert named == made.rpartition("/")[2]
        ops(SECOND, "restore", named, "--check")
        limit = ["--limit", "n2.backup.test", "--check"]
        refused = play("erlmcp.ops.restore", PAIR, options=limit)
        variable = re.search(r"is from the future.* Name a time with (\w+)", refused.messages)[1]
        shown = play("erlmcp.ops.restore", PAIR, {variable: when}, limit)
        assert shown.rc == 0, shown.messages
        assert f"n2.backup.test (erlmcp@n2.backup.test) gets {named}" in shown.output
        assert [each["archive"] for each in ops(SECOND, "verify")[1]["results"]] == [made]
    finally:
        ssh(SECOND, f"rm {later}*")
    assert pid(SECOND) == running


def test_too_little_space_is_found_before_the_node_is_stopped_and_the_playbook_that_is_named_makes_room():
    put(SECOND, 200, "bulk", 40_000)
    archive = backup(SECOND)
    running = pid(SECOND)
    with filled_by_old_restores(SECOND, 70_000_000):
        status, told = ops(SECOND, "restore", archive, check=False)
        assert status == 1
        assert pid(SECOND) == running
        assert leftovers(SECOND) == ""
        playbook = re.search(r"MiB free.*make room, for example with the playbook (\w+)", told)[1]
        done = play(f"erlmcp.ops.{playbook}", PAIR, {"erlmcp_hosts": "n2.backup.test"})
        assert done.rc == 0, done.messages
        ops(SECOND, "restore", archive)


def test_a_disk_that_fills_while_unpacking_loses_nothing():
    archive = backup(SECOND)
    running, before = pid(SECOND), content(SECOND)
    # Somebody else takes the space after it was checked.
    ssh(
        SECOND,
        "systemd-run --quiet --unit=filler sh -c 'until [ -d /srv/data/.erlmcp.restore/area ]; do :; done; "
        "cat /dev/zero > /srv/data/filler || true'",
    )
    try:
        refused = ops(SECOND, "restore", archive, check=False)
        assert refused[0] == 1, refused
    finally:
        ssh(SECOND, "systemctl stop filler 2>/dev/null; rm -f /srv/data/filler")
    assert pid(SECOND) == running
    assert content(SECOND) == before
    assert leftovers(SECOND) == ""
    assert ops(SECOND, "restore", archive)[0] == 0


def test_a_drill_proves_the_archive_and_the_serving_node_cannot_notice():
    put(FIRST, 10)
    archive = backup()
    counted = {table["name"]: table["rows"] for table in ops(FIRST, "verify", archive)[1]["results"][0]["tables"]}
    ssh(FIRST, "mkdir -p /var/lib/prometheus/node-exporter")
    running, before = pid(FIRST), content(FIRST)
    members = ssh(SECOND, "erlmcp eval 'nodes().'").stdout
    with Watch({"n1": FIRST}) as watch:
        done = play("erlmcp.ops.restore_drill", PAIR, ONE)
    assert done.rc == 0, done.messages
    assert watch.outages("n1") == []
    assert (pid(FIRST), content(FIRST)) == (running, before)
    assert ssh(SECOND, "erlmcp eval 'nodes().'").stdout == members
    assert f"'erlmcp_item': {counted['erlmcp_item']}" in done.output
    assert ssh(FIRST, "systemctl is-active erlmcp-drill", check=False).stdout.strip() == "inactive"
    assert ssh(FIRST, "ls -A /var/lib | grep drill || true").stdout == ""
    metrics = ssh(FIRST, "cat /var/lib/prometheus/node-exporter/erlmcp_backup.prom").stdout
    assert "erlmcp_restore_drill_last_success_timestamp_seconds" in metrics


def test_a_drill_with_a_release_that_never_serves_fails_and_leaves_nothing():
    running = pid(FIRST)
    done = play("erlmcp.ops.restore_drill", PAIR, {**ONE, **SOON, "erlmcp_health_path": "/never"})
    assert done.rc != 0
    assert "/never" in done.messages
    assert pid(FIRST) == running
    assert ssh(FIRST, "ls -A /var/lib | grep drill || true").stdout == ""
    assert reachable(FIRST, 8080)


# What the release has not is what nobody asks. At level http the other tests go.
LEVELS = {
    "ping": {"erlmcp_http_enabled": False},
    "process": {"erlmcp_http_enabled": False, "erlmcp_health_level": "process"},
}


@pytest.mark.parametrize("level", LEVELS)
def test_a_node_that_is_healthy_before_its_tables_are_loaded_is_waited_for(level):
    put(FIRST, 300)
    archive = backup().rpartition("/")[2]
    wanted = content(FIRST)
    for playbook in ("restore_drill", "restore"):
        done = play(f"erlmcp.ops.{playbook}", PAIR, {**ONE, **LEVELS[level], "erlmcp_backup_restore_archive": archive})
        assert done.rc == 0, done.messages
    assert content(FIRST) == wanted


DROP_IN = "/etc/systemd/system/erlmcp.service.d/needed.conf"
# With the drill's unit its runtime directory would go, which is that of the node that serves.
SETTINGS = """
[Service]
Environment="NEEDED=with blanks"
RuntimeDirectory=erlmcp
"""
NEEDS = '[ "${NEEDED:-}" = "with blanks" ] || { echo "error: NEEDED is not set" >&2; exit 1; }'


def test_a_drill_has_what_the_node_needs_of_its_unit():
    """A drop-in holds lines of the unit, as erlmcp_node_unit_settings does; and wants no restart of the node here."""
    running, env = pid(FIRST), ssh(FIRST, "readlink -f /etc/erlmcp/env.sh").stdout.strip()
    ssh(FIRST, f"cp -p {env} /var/tmp/env.sh && cat >> {env}", typed=f"{NEEDS}\n")
    try:
        archive = backup().rpartition("/")[2]
        without = ops(FIRST, "drill", archive, check=False)
        assert without[0] == 1
        assert "NEEDED is not set" in without[1]
        laid_down = f"mkdir -p {DROP_IN.rpartition('/')[0]} && cat > {DROP_IN} && systemctl daemon-reload"
        ssh(FIRST, laid_down, typed=SETTINGS)
        assert ops(FIRST, "drill", archive)[0] == 0
    finally:
        ssh(FIRST, f"rm -rf {DROP_IN.rpartition('/')[0]}; cp -p /var/tmp/env.sh {env}; systemctl daemon-reload")
    assert pid(FIRST) == running
    assert ssh(FIRST, "ls -A /run/systemd/system /var/lib | grep drill || true").stdout == ""
    ssh(FIRST, "test -d /run/erlmcp")


# What is done to an archive and its manifest.
DAMAGE = {
    "missing": "mv {0} /var/tmp/aside",
    "empty": ": > {0}",
    "truncated": "truncate -s -100 {0}",
    "flipped": "printf x | dd of={0} bs=1 seek=3000 conv=notrunc status=none",
    "manifest": 'sed -i \'s/"rows": /"rows": 1/\' {0}.json',
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_bad_archive_never_stops_the_node(damage):
    archive = backup()
    running = pid(FIRST)
    ssh(FIRST, DAMAGE[damage].format(archive))
    refused = ops(FIRST, "restore", archive, check=False)
    assert refused[0] == 1
    assert archive.rpartition("/")[2] in refused[1]
    assert pid(FIRST) == running
    assert health(FIRST)["status"] == "healthy"
    ssh(FIRST, f"rm -f {archive}* /var/tmp/aside")


def test_the_playbook_refuses_a_bad_archive_too():
    archive = backup()
    running = pid(FIRST)
    ssh(FIRST, DAMAGE["flipped"].format(archive))
    done = play("erlmcp.ops.restore", PAIR, {**ONE, "erlmcp_backup_restore_archive": archive.rpartition("/")[2]})
    assert done.rc != 0
    assert archive.rpartition("/")[2] in done.messages
    assert pid(FIRST) == running
    ssh(FIRST, f"rm -f {archive}*")
