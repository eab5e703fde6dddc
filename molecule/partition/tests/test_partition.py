# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A cluster whose network is cut: both sides take in rows, one side is kept, the other one is in archives."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from backuplib import Writers, content, ops, pid, put
from testlib import Hosts, Mcp, health, kill_after, play, ssh, start, wait_until

SCENARIO = Path(__file__).parents[1]
HOSTS = Hosts(SCENARIO)
FIRST, SECOND, THIRD = HOSTS
NODES = {name: f"erlmcp@{name}" for name in HOSTS}
REPAIR = "erlmcp.ops.repair_partition"
STORE = "/var/backups/erlmcp"


def look():
    """What module ``cluster_info`` says, by host."""
    done = play(str(SCENARIO / "look.yml"), HOSTS)
    assert done.rc == 0, done.messages
    (asked,) = (task for each in done.report["plays"] for task in each["tasks"] if task["task"]["name"] == "Ask")
    return asked["hosts"]


def codes(played):
    return {host: list(found) for host, found in played.page.items()}


def islands(info):
    return sorted(sorted(island) for island in info["islands"])


def evaluate(name, text):
    return ssh(HOSTS[name], f"erlmcp eval '{text}'").stdout.strip()


def rules(verb):
    """Insert before those of ufw (``-I``) or delete (``-D``) what keeps the third host from the others."""
    for name in (FIRST, SECOND):
        for chain in (f"INPUT -s {HOSTS[name]}", f"OUTPUT -d {HOSTS[name]}"):
            ssh(HOSTS[THIRD], f"iptables -w {verb} {chain} -j DROP", check=verb == "-I")


def running(name):
    return evaluate(name, "length(mnesia:system_info(running_db_nodes)).")


def cut():
    rules("-I")
    wait_until(lambda: [running(name) for name in HOSTS] == ["2", "2", "1"], "it did not come to pass")


def heal():
    rules("-D")
    wait_until(lambda: all(evaluate(name, "length(nodes()).") == "2" for name in HOSTS), "it did not come to pass")


def archives(name):
    listed = ssh(HOSTS[name], f"ls {STORE} 2>/dev/null || true").stdout.split()
    return sorted(each for each in listed if each.endswith(".tar.zst"))


def counted(name, archive):
    manifest = json.loads(ssh(HOSTS[name], f"cat {STORE}/{archive}.json").stdout)["manifest"]
    return {table["name"]: table["rows"] for table in manifest["tables"]}


def everything():
    """What a run that changes nothing leaves as it is."""
    return {name: everything_on(name) for name in HOSTS}


def everything_on(name):
    return (
        pid(HOSTS[name]),
        archives(name),
        # As long as it waits for others, it has no rows to show.
        content(HOSTS[name]) if health(HOSTS[name])["status"] == "healthy" else None,
        evaluate(name, "mnesia:table_info(schema, master_nodes)."),
    )


def assert_one_cluster():
    for info in look().values():
        assert islands(info) == [sorted(NODES.values())]
        assert info["complete"] is True
        assert info["problems"] == []
        assert info["masters"] == []
    # Sessions, items, sessions whose tables disagree, digest. The audit trail is each node's own.
    assert len({content(address)[:2] + content(address)[3:] for address in HOSTS.values()}) == 1
    assert all(health(address)["status"] == "healthy" for address in HOSTS.values())


def holds(name, session, key):
    try:
        with Mcp(HOSTS[name], session=session) as client:
            return bool(client.call("get", key=key)["content"])
    except AssertionError:
        return False


@pytest.fixture(scope="module", autouse=True)
def _hosts_have_just_booted():
    HOSTS.wait_until_whole()


@pytest.fixture(autouse=True)
def _one_cluster_afterwards():
    yield
    if any(health(address) is None for address in HOSTS.values()) or {running(name) for name in HOSTS} != {"3"}:
        HOSTS.restore()


def test_a_cluster_that_is_whole_is_left_alone():
    before = everything()
    done = play(REPAIR, HOSTS)
    assert done.rc == 0, done.messages
    assert "Nothing is to be repaired." in done.output
    assert done.changed == set()
    assert everything() == before


def test_a_host_that_was_not_asked_is_refused_unless_it_is_dead():
    refused = play(REPAIR, HOSTS, options=["--limit", f"!{THIRD}"])
    assert refused.rc != 0
    assert f"{THIRD} was not asked" in refused.messages
    dead = {"erlmcp_cluster_dead": [THIRD]}
    alive = play(REPAIR, HOSTS, dead, ["--limit", f"!{THIRD}"])
    assert alive.rc != 0
    assert f"{THIRD} is named in erlmcp_cluster_dead, and its node runs" in alive.messages
    ssh(HOSTS[THIRD], "systemctl stop erlmcp")
    gone = play(REPAIR, HOSTS, dead, ["--limit", f"!{THIRD}"])
    ssh(HOSTS[THIRD], "systemctl start erlmcp")
    assert gone.rc == 0, gone.messages


def test_a_partition_is_seen_from_both_sides_and_repaired():
    common = put(HOSTS[FIRST], 10, "common")
    before = content(HOSTS[FIRST])
    cut()
    kept = put(HOSTS[FIRST], 20, "kept")
    lost = put(HOSTS[THIRD], 7, "lost")
    pids = {name: pid(address) for name, address in HOSTS.items()}

    named = play("erlmcp.ops.check_health", HOSTS, {"erlmcp_cluster_wait_seconds": 1})
    assert codes(named) == dict.fromkeys(HOSTS, ["ERLMCP_MEMBERS_MISSING"])
    seen = look()
    assert islands(seen[FIRST]) == islands(seen[SECOND]) == [[NODES[FIRST], NODES[SECOND]]]
    assert islands(seen[THIRD]) == [[NODES[THIRD]]]
    assert not any(info["complete"] for info in seen.values())
    assert f"{NODES[THIRD]} is not reached" in seen[FIRST]["problems"][0]

    state = everything()
    for choice, words in (({}, "The cluster is partitioned"), ({"erlmcp_cluster_survivor": FIRST}, "is still cut")):
        refused = play(REPAIR, HOSTS, choice)
        assert refused.rc != 0
        assert words in refused.messages
        assert "Nothing was changed" in refused.messages
        assert f"Island 2: {THIRD}" in refused.output
        assert everything() == state

    heal()
    # Against overlapping partitions OTP may take the larger side apart too, when the network is whole again.
    split = islands(look()[FIRST])
    assert split in (
        [[NODES[FIRST], NODES[SECOND]], [NODES[THIRD]]],
        [[NODES[FIRST]], [NODES[SECOND]], [NODES[THIRD]]],
    )
    for info in look().values():
        assert info["partitioned"] is True
        assert islands(info) == split
    losers = {name for name in HOSTS if NODES[name] not in split[0]}
    named = play("erlmcp.ops.check_health", HOSTS, {"erlmcp_cluster_wait_seconds": 1})
    assert codes(named) == dict.fromkeys(HOSTS, ["ERLMCP_TABLES_NOT_SHARED"])
    refused = play(REPAIR, HOSTS)
    assert refused.rc != 0
    assert "one of " + " | ".join(", ".join(side) for side in split).replace("erlmcp@", "") in refused.messages
    # Each session is a row too. Islands of one node that were one side are compared as well.
    assert f"Island 1 lacks rows that island {len(split)} has: 7 of erlmcp_item, 1 of erlmcp_session." in refused.output
    assert (
        f"Island {len(split)} lacks rows that island 1 has: 20 of erlmcp_item, 1 of erlmcp_session." in refused.output
    )
    state = everything()
    shown = play(REPAIR, HOSTS, {"erlmcp_cluster_survivor": FIRST}, ["--check"])
    assert shown.rc == 0, shown.messages
    assert f"{THIRD}: back up, stop, back up again" in shown.output
    assert everything() == state

    # Sessions that are open go on writing to the side that is not kept, until its node is stopped.
    with Writers(HOSTS[THIRD]) as doomed, Writers(HOSTS[FIRST]) as serving:
        done = play(REPAIR, HOSTS, {"erlmcp_cluster_survivor": FIRST})
    assert done.rc == 0, done.messages
    assert not serving.failed
    assert serving.stored > 0
    assert_one_cluster()
    assert {name for name, address in HOSTS.items() if pid(address) != pids[name]} == losers
    for name in HOSTS:
        assert holds(name, common, "common-9")
        assert holds(name, kept, "kept-19")
        assert not holds(name, lost, "lost-0")

    archive = archives(THIRD)[-1]
    assert archive in done.output
    rows = counted(THIRD, archive)["erlmcp_item"] - before[1] - 7
    # An answer may have been on its way when the node was stopped.
    assert doomed.stored <= rows <= doomed.stored + 3
    ops(HOSTS[THIRD], "verify", archive)
    drilled = play("erlmcp.ops.restore_drill", HOSTS, {"erlmcp_backup_restore_archive": archive}, ["--limit", THIRD])
    assert drilled.rc == 0, drilled.messages

    after = put(HOSTS[THIRD], 1, "after")
    assert holds(FIRST, after, "after-0")
    state = everything()
    assert codes(play("erlmcp.ops.check_health", HOSTS)) == {}
    again = play(REPAIR, HOSTS, {"erlmcp_cluster_survivor": FIRST})
    assert again.rc == 0, again.messages
    assert again.changed == set()
    assert everything() == state


def crash(*names):
    """Kill nodes as a power cut does, so that none sees another one going, and leave them down."""
    for signal in ("STOP", "KILL"):
        for name in names:
            ssh(HOSTS[name], f"systemctl kill -s {signal} erlmcp")
    for name in names:
        ssh(HOSTS[name], "systemctl stop erlmcp; systemctl reset-failed erlmcp")


def crash_first_node_and_go_on():
    """The others take in rows that the first node never sees. Everything is on disk; return the session."""
    evaluate(FIRST, "mnesia:sync_log().")
    crash(FIRST)
    wait_until(lambda: [running(name) for name in (SECOND, THIRD)] == ["2", "2"], "they do not miss the first node")
    session = put(HOSTS[SECOND], 6, "unseen")
    for name in (SECOND, THIRD):
        evaluate(name, "mnesia:sync_log().")
    return session


def boot(*names):
    """Start nodes of which it is known that they will wait."""
    for name in names:
        ssh(HOSTS[name], "systemctl start erlmcp")
    for name in names:
        wait_until(lambda name=name: health(HOSTS[name]) is not None, "it did not come to pass")
        assert health(HOSTS[name])["status"] != "healthy"


@pytest.fixture
def lost(tmp_path):
    """The inventory with two hosts that cannot be reached; whoever tries is told at once."""
    hosts = HOSTS.part(tmp_path, HOSTS)
    path = Path(hosts.inventory) / "hosts.yml"
    inventory = yaml.safe_load(path.read_text())
    for name in (SECOND, THIRD):
        inventory["all"]["children"]["erlmcp"]["hosts"][name] = {"ansible_host": "127.0.0.1", "ansible_port": 1}
    path.write_text(yaml.safe_dump(inventory))
    return hosts


def waits(name, *others):
    listed = ", ".join(NODES[other] for other in others)
    tables = "erlmcp_item, erlmcp_session"
    return f"{NODES[name]} {{}}waits for {listed} with its tables {tables}: it does not know whose rows are the newest."


LOST = {"erlmcp_cluster_dead": [SECOND, THIRD]}


def test_nodes_that_wait_after_a_power_cut_are_explained_and_the_newest_rows_can_be_kept(lost):
    common = put(HOSTS[FIRST], 3, "common")
    rows = content(HOSTS[FIRST])
    unseen = crash_first_node_and_go_on()
    newer = content(HOSTS[SECOND])
    crash(SECOND, THIRD)
    boot(FIRST)
    first_waits = waits(FIRST, SECOND, THIRD)
    pinged = ssh(HOSTS[FIRST], "erlmcp ping")
    assert pinged.stdout == "pong\n"
    assert first_waits.format("answers, and ") in pinged.stderr
    checked = play("erlmcp.ops.check_health", HOSTS, {"erlmcp_cluster_wait_seconds": 1}, ["--limit", FIRST])
    assert checked.rc != 0
    assert first_waits.format("answers, and ") in checked.messages
    assert list(checked.page[FIRST]) == ["ERLMCP_NODE_WAITS"]

    before = everything_on(FIRST)
    # Who is not reached is missed, and does not hide what can be seen.
    shown = play(REPAIR, lost)
    assert shown.rc != 0
    assert "Nothing is to be repaired" not in shown.output
    assert f"{SECOND} was not asked" in shown.messages
    assert first_waits.format("") in shown.messages
    assert f"On its disk are {rows[1]} of erlmcp_item, {rows[0]} of erlmcp_session (files last" in shown.messages
    assert f"stop what waits (systemctl stop on {FIRST}), start {SECOND}, {THIRD} without it" in shown.messages
    given = json.dumps(LOST)
    assert f"-e erlmcp_cluster_survivor={FIRST} -e erlmcp_cluster_force_load=true -e '{given}'" in shown.messages
    assert everything_on(FIRST) == before

    # What was named. These two have lost their power at once, so each waits for the other one and for the first.
    ssh(HOSTS[FIRST], "systemctl stop erlmcp")
    boot(SECOND, THIRD)
    shown = play(REPAIR, HOSTS)
    assert shown.rc != 0
    for name in (SECOND, THIRD):
        told = (
            waits(name, FIRST).format("") + " How no row is lost tells the playbook repair_partition. On its disk are"
        )
        assert f"{told} {newer[1]} of erlmcp_item, {newer[0]} of erlmcp_session" in shown.messages
    assert f"What {FIRST} has is older" in shown.messages
    choice = {"erlmcp_cluster_survivor": SECOND, "erlmcp_cluster_force_load": True}
    assert f"-e erlmcp_cluster_survivor={SECOND} -e erlmcp_cluster_force_load=true. It is" in shown.messages
    done = play(REPAIR, HOSTS, choice)
    assert done.rc == 0, done.messages
    assert_one_cluster()
    for name in HOSTS:
        assert holds(name, common, "common-2")
        assert holds(name, unseen, "unseen-5")
    assert counted(FIRST, archives(FIRST)[-1])["erlmcp_item"] == rows[1]
    assert ssh(HOSTS[FIRST], "erlmcp ping").stderr == ""


def test_a_node_serves_what_it_has_and_the_others_take_that_over_when_they_come_back(lost):
    common = put(HOSTS[FIRST], 3, "common")
    rows = content(HOSTS[FIRST])
    unseen = crash_first_node_and_go_on()
    crash(SECOND, THIRD)
    boot(FIRST)
    before = everything_on(FIRST)
    choice = {"erlmcp_cluster_survivor": FIRST, "erlmcp_cluster_force_load": True, **LOST}
    predicted = play(REPAIR, lost, choice, ["--check"])
    assert not predicted.messages
    assert f"{FIRST}: stop, back up, start with the rows that it has" in predicted.output
    assert everything_on(FIRST) == before

    kill_after(start(REPAIR, lost, choice), "PLAY [Back up what they had at their stop]")
    assert health(HOSTS[FIRST]) is None
    done = play(REPAIR, lost, choice)
    assert not done.messages
    assert {host for host, _task in done.changed} == {host for host, _task in predicted.changed} == {FIRST}
    assert health(HOSTS[FIRST])["status"] == "healthy"
    assert content(HOSTS[FIRST])[:2] == rows[:2]
    assert counted(FIRST, archives(FIRST)[-1])["erlmcp_item"] == rows[1]
    after = put(HOSTS[FIRST], 4, "after")
    # It does not wait again when it is started before the others are back.
    ssh(HOSTS[FIRST], "systemctl restart erlmcp")
    wait_until(lambda: (health(HOSTS[FIRST]) or {}).get("status") == "healthy", "it waits")

    for name in (SECOND, THIRD):
        ssh(HOSTS[name], "systemctl start erlmcp")
    HOSTS.wait_until_whole()
    done = play(REPAIR, HOSTS)
    assert done.rc == 0, done.messages
    assert_one_cluster()
    for name in HOSTS:
        assert holds(name, common, "common-2")
        assert holds(name, after, "after-3")
        assert not holds(name, unseen, "unseen-0")


# Each run is killed further on than the one before it. The start is printed once for each node.
MARKERS = (
    ("Stop the node whose rows are not kept", 1),
    ("PLAY [Back up what they had at their stop]", 1),
    ("PLAY [Start them with the rows that are kept]", 2),
    ("Clear the master nodes", 1),
)


def test_repairs_that_are_killed_one_after_the_other_are_finished_by_the_next():
    """The smaller side is kept, so that two nodes are stopped together and started one after the other."""
    cut()
    lost = put(HOSTS[FIRST], 5, "lost")
    kept = put(HOSTS[THIRD], 5, "kept")
    heal()
    choice = {"erlmcp_cluster_survivor": THIRD}
    for marker, times in MARKERS:
        kill_after(start(REPAIR, HOSTS, choice), marker, times=times, timeout=300)
    done = play(REPAIR, HOSTS, choice)
    assert done.rc == 0, done.messages
    assert_one_cluster()
    for name in HOSTS:
        assert holds(name, kept, "kept-4")
        assert not holds(name, lost, "lost-0")
