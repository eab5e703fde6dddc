# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A cluster's life: it grows, shrinks, loses a node and gets another; after each step every node says the same."""

from __future__ import annotations

import json
import time
from itertools import pairwise
from pathlib import Path

import pytest
from backuplib import SOAK, Writers, content, only_in_soak, pid, put
from testlib import Hosts, health, kill_after, play, ssh, start

SCENARIO = Path(__file__).parents[1]
ALL = Hosts(SCENARIO, "spare")
N1, N2, N3, N4, N5 = list(ALL)[:5]
GROWN = (N1, N2, N3, N4, N5) if SOAK else (N1, N2, N3, N4)
# Lists of nodes: members, those that run, those with a copy of each table.
SEEN = ", ".join(
    [f"mnesia:system_info({what})" for what in ("db_nodes", "running_db_nodes")]
    + [f"mnesia:table_info({table}, disc_copies)" for table in ("erlmcp_item", "erlmcp_session")]
)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Function from names of hosts to those hosts as the inventory of a cluster."""
    directory = tmp_path_factory.mktemp("inventories")
    made = {}

    def of(*names):
        if names not in made:
            made[names] = ALL.part(directory, names)
        return made[names]

    return of


def evaluate(address, text):
    return ssh(address, f"erlmcp eval {json.dumps(text)}").stdout.strip()


def names_in(text):
    return {name.strip().strip("'").removeprefix("erlmcp@") for name in text.strip("[]").split(",") if name.strip()}


def prove(hosts, rows):
    """Every node has the same members, a copy of every table, the rows, and no other node."""
    digests = set()
    wanted = sorted(f"erlmcp@{name}" for name in hosts)
    for name, address in hosts.items():
        assert health(address)["status"] == "healthy", name
        seen = json.loads(evaluate(address, f"[lists:sort(N) || N <- [{SEEN}]].").replace("'", '"'))
        assert seen == [wanted] * len(seen), name
        sessions, items, _audit, wrong, digest = content(address)
        assert (sessions, items, wrong) == (*rows, 0), name
        digests.add(digest)
    assert len(digests) == 1


def site(hosts, variables=None, options=()):
    done = play("erlmcp.ops.site", hosts, variables, options)
    assert done.rc == 0, done.messages
    return done


def test_it_grows_and_nobody_is_restarted(cluster):
    sizes = [(N1,), (N1, N2), GROWN] if SOAK else [(N1,), GROWN]
    put(ALL[N1], 40)
    rows = (1, 40)
    for before, after in pairwise(sizes):
        hosts = cluster(*after)
        pids = {name: pid(ALL[name]) for name in before}
        # One prediction is enough: of the step in which most has to be told apart.
        shown = site(hosts, options=["--check", "--diff"]) if after == GROWN else None
        with Writers(ALL[N1], clients=1) as writers:
            done = site(hosts)
        assert shown is None or done.changed == shown.changed
        assert not writers.failed
        assert writers.stored > 20
        rows = (rows[0] + 1, rows[1] + writers.stored)
        assert {name: pid(ALL[name]) for name in before} == pids
        prove(hosts, rows)
        # What any node takes in, all have.
        newest = list(after)[-1]
        put(ALL[newest], 5, f"by-{newest}")
        rows = (rows[0] + 1, rows[1] + 5)
        prove(hosts, rows)


def test_it_shrinks_to_two_and_those_are_not_restarted(cluster):
    hosts = cluster(*GROWN)
    rows = content(ALL[N1])[:2]
    pids = {name: pid(ALL[name]) for name in (N1, N2)}
    leaving = {"erlmcp_cluster_leaving": ",".join(GROWN[3:])}
    shown = play("erlmcp.ops.leave_cluster", hosts, leaving, ["--check"])
    assert shown.rc == 0, shown.messages
    assert set(names_in(evaluate(ALL[N1], "mnesia:system_info(db_nodes)."))) == set(hosts)
    done = play("erlmcp.ops.leave_cluster", hosts, leaving)
    assert done.rc == 0, done.messages
    assert done.changed == shown.changed
    prove(cluster(N1, N2, N3), rows)
    again = play("erlmcp.ops.leave_cluster", hosts, leaving)
    assert again.rc == 0, again.messages
    assert not again.changed

    third = play("erlmcp.ops.leave_cluster", cluster(N1, N2, N3), {"erlmcp_cluster_leaving": [N3]})
    assert third.rc == 0, third.messages
    site(cluster(N1, N2))
    prove(cluster(N1, N2), rows)
    assert {name: pid(ALL[name]) for name in (N1, N2)} == pids
    for address in (ALL[N1], ALL[N2]):
        assert evaluate(address, "lists:sort(application:get_env(erlmcp, cluster_nodes, none)).").count("erlmcp@") == 2


def test_a_node_that_left_does_not_come_back_when_it_is_started_by_hand(cluster):
    address = ALL[N3]
    rows = content(ALL[N1])[:2]
    assert ssh(address, "systemctl start erlmcp", check=False).returncode != 0
    ssh(address, "systemctl reset-failed; systemctl start --no-block multi-user.target")
    assert ssh(address, "erlmcp foreground", check=False, timeout=30).returncode != 0
    # Not even with all it had but the cookie.
    ssh(
        address,
        "cp -a /var/lib/erlmcp.removed-* /var/lib/erlmcp && cd /etc/systemd/system && rm erlmcp.service"
        " && mv erlmcp.service.removed erlmcp.service && systemctl daemon-reload && systemctl start --no-block erlmcp",
    )
    time.sleep(5)
    assert health(address, timeout=1) is None
    prove(cluster(N1, N2), rows)
    ssh(address, "systemctl stop erlmcp")

    # Nor by a run of site that was not meant for it.
    refused = play("erlmcp.ops.site", cluster(N1, N2, N3))
    assert refused.rc != 0
    assert f"erlmcp@{N3} has left its cluster" in refused.messages
    assert "erlmcp_node_readmit" in refused.messages
    prove(cluster(N1, N2), rows)


def test_a_run_killed_while_a_node_is_admitted_again_is_finished_by_the_next(cluster):
    hosts = cluster(N1, N2, N3)
    rows = content(ALL[N1])[:2]
    again = {"erlmcp_node_readmit": True}
    ssh(ALL[N3], "rm -rf /var/lib/erlmcp")
    kill_after(start("erlmcp.ops.site", hosts, again), "PLAY [Let them join", timeout=180)
    site(hosts, again)
    prove(hosts, rows)
    assert ssh(ALL[N3], "ls -d /var/lib/erlmcp.removed-*").stdout.count("removed") == 1


def test_a_lost_host_is_replaced_by_one_of_the_same_name(cluster, rebuild):
    hosts = cluster(N1, N2, N3)
    rows = content(ALL[N1])[:2]
    pids = {name: pid(ALL[name]) for name in (N1, N2)}
    rebuild(N3)
    replaced = play("erlmcp.ops.replace_node", hosts, {"erlmcp_cluster_replaced": N3})
    assert replaced.rc == 0, replaced.messages
    prove(hosts, rows)
    assert {name: pid(ALL[name]) for name in (N1, N2)} == pids


def test_site_alone_replaces_it_too(cluster, rebuild):
    hosts = cluster(N1, N2, N3)
    rows = content(ALL[N1])[:2]
    rebuild(N2)
    site(hosts)
    prove(hosts, rows)


def test_a_dead_node_is_forgotten_and_not_let_in_when_it_comes_back(cluster, power):
    hosts = cluster(N1, N2, N3)
    rows = content(ALL[N1])[:2]
    power("kill", N3)
    refused = play("erlmcp.ops.leave_cluster", hosts, {"erlmcp_cluster_leaving": N3})
    assert refused.rc != 0
    dead = {"erlmcp_cluster_leaving": N3, "erlmcp_cluster_leaving_dead": True}
    done = play("erlmcp.ops.leave_cluster", hosts, dead)
    assert done.rc == 0, done.messages
    prove(cluster(N1, N2), rows)
    power("on", N3)
    ssh(ALL[N3], "systemctl is-system-running --wait", check=False)
    time.sleep(5)
    assert ssh(ALL[N3], "systemctl is-active erlmcp").stdout.strip() == "active"
    prove(cluster(N1, N2), rows)

    replaced = play("erlmcp.ops.replace_node", hosts, {"erlmcp_cluster_replaced": N3})
    assert replaced.rc == 0, replaced.messages
    prove(hosts, rows)
    assert ssh(ALL[N3], "ls -d /var/lib/erlmcp.removed-*").returncode == 0


def test_a_joiner_with_rows_of_its_own_is_refused_until_they_may_be_set_aside(cluster):
    site(cluster(N5), {"erlmcp_node_readmit": True})
    put(ALL[N5], 7)
    others = cluster(N1, N2, N3)
    hosts = cluster(N1, N2, N3, N5)
    rows = content(ALL[N1])[:2]
    refused = play("erlmcp.ops.site", hosts)
    assert refused.rc != 0
    assert f"erlmcp@{N5} holds 7 rows in erlmcp_item, 1 rows in erlmcp_session of its own" in refused.messages
    assert content(ALL[N5])[:2] == (1, 7)
    prove(others, rows)
    done = play("erlmcp.ops.join_cluster", hosts, {"erlmcp_cluster_adopt": "discard"})
    assert done.rc == 0, done.messages
    prove(hosts, rows)
    assert ssh(ALL[N5], "ls /var/lib/erlmcp/mnesia.discarded-*/erlmcp_item.DC?").stdout


def test_nobody_joins_a_cluster_that_lacks_a_member(cluster):
    sixth = list(ALL)[5]
    hosts = cluster(N1, N2, N3, N5)
    rows = content(ALL[N1])[:2]
    site(cluster(sixth))
    all_five = cluster(N1, N2, N3, N5, sixth)
    assert play("erlmcp.ops.site", all_five, options=["--tags", "erlmcp_firewall"]).rc == 0
    ssh(ALL[N5], "systemctl stop erlmcp")
    refused = play("erlmcp.ops.join_cluster", all_five)
    assert refused.rc != 0
    assert "the cluster is degraded or partitioned" in refused.messages
    assert f"erlmcp@{N1} takes erlmcp@{N5} for down" in refused.messages
    ssh(ALL[N5], "systemctl start erlmcp")
    site(hosts)
    prove(hosts, rows)


def test_a_limited_run_adds_nobody(cluster):
    sixth = list(ALL)[5]
    refused = play("erlmcp.ops.site", cluster(N1, N2, N3, N5, sixth), options=["--limit", f"{N1},{sixth}"])
    assert refused.rc != 0
    assert f"erlmcp@{sixth} would learn of erlmcp@{N1}, " in refused.messages
    assert f"while {N2}, {N3}, {N5} would not" in refused.messages


@pytest.fixture
def deaf():
    """Function that lets a host take in nothing from another; undone afterwards."""
    rules = []

    def make(host, source):
        rules.append((ALL[host], f"INPUT -s {ALL[source]} -j DROP"))
        ssh(ALL[host], f"iptables -I {rules[-1][1]}")

    yield make
    for address, rule in rules:
        ssh(address, f"iptables -D {rule}", check=False)


@pytest.mark.parametrize("running", [True, False])
def test_a_new_node_that_cannot_reach_every_member_does_not_part_them(cluster, deaf, running):
    sixth = list(ALL)[5]
    hosts = cluster(N1, N2, N3, N5)
    rows = content(ALL[N1])[:2]
    pids = {name: pid(ALL[name]) for name in hosts}
    ssh(ALL[sixth], "systemctl stop erlmcp")
    deaf(N1, sixth)
    if running:
        ssh(ALL[sixth], "systemctl start erlmcp")
    refused = play("erlmcp.ops.site", cluster(N1, N2, N3, N5, sixth))
    assert refused.rc != 0
    assert f"erlmcp@{sixth} cannot reach {N1}:4369, {N1}:9100" in refused.messages
    time.sleep(10)
    prove(hosts, rows)
    assert {name: pid(ALL[name]) for name in hosts} == pids


@pytest.mark.parametrize(
    ("leaving", "message"),
    [
        ("n77.cluster.test", "n77.cluster.test is not in the group erlmcp"),
        ("erlmcp@n78.cluster.test", "erlmcp@n78.cluster.test is unknown"),
    ],
)
def test_an_unknown_node_cannot_leave(cluster, leaving, message):
    done = play("erlmcp.ops.leave_cluster", cluster(N1, N2), {"erlmcp_cluster_leaving": leaving})
    assert done.rc != 0
    assert message in done.messages


def test_the_last_node_cannot_leave(cluster):
    last = list(ALL)[-1]
    site(cluster(last))
    done = play("erlmcp.ops.leave_cluster", cluster(last), {"erlmcp_cluster_leaving": last})
    assert done.rc != 0
    assert "is the last node that holds the tables" in done.messages
    assert health(ALL[last])["status"] == "healthy"


@only_in_soak
def test_ten_nodes_are_joined_in_one_run_and_none_takes_longer_than_those_before(cluster):
    rows = content(ALL[N1])[:2]
    done = site(cluster(*ALL), {"erlmcp_node_readmit": True})
    seconds = [
        result["seconds"]
        for step in done.report["plays"]
        for task in step["tasks"]
        for result in task["hosts"].values()
        if "plan" in result and "seconds" in result
    ]
    print(f"seconds for each node that joined: {seconds}")
    assert len(seconds) == 6
    prove(ALL, rows)
