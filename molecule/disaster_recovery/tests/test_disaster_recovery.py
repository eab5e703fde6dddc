# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Three nodes are destroyed; their rows come back on three hosts with other names."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
from backuplib import content, only_in_soak, ops, pid, put
from testlib import Hosts, Mcp, health, kill_after, play, reachable, ssh, start, wait_until_healthy

SCENARIO = Path(__file__).parents[1]
LOST = Hosts(SCENARIO)
FOUND = Hosts(SCENARIO, "replacement")
TABLES = ("erlmcp_session", "erlmcp_item")
REPLACEMENT = {"erlmcp_hosts": "replacement"}
README = (SCENARIO.parents[1] / "README.md").read_text().replace("\\\n", "")
# The options of every restore that README.md has as an example. A new one needs a test.
CHECKED, NEWEST, AT_A_TIME, UNDONE, ELSEWHERE = (
    shlex.split(line, comments=True)
    for line in re.findall(r"^ansible-playbook -i inventory erlmcp\.ops\.restore\b(.*)", README, re.MULTILINE)
)


def evaluate(address, text):
    return ssh(address, f'erlmcp eval "{" ".join(text.split())}"').stdout.strip()


def hosts(*arguments):
    shared = SCENARIO.parent / "shared"
    subprocess.run([sys.executable, shared / "hosts.py", *arguments], check=True, stdout=subprocess.DEVNULL)


def variables(options, real):
    """Return what options set, with the names of hosts in place of an example's words."""
    for word, name in real.items():
        options = [option.replace(word, name) for option in options]
    assert {*options[::2]} == {"-e"}
    given = [json.loads(each) if each.startswith("{") else dict([each.split("=")]) for each in options[1::2]]
    return {name: value for each in given for name, value in each.items()}


KEPT = "Decide that what is in service stays]"
CHANGED, DECIDED = "changed: [a.found.test]", "ok: [a.found.test]"


def killed_between_two_nodes(variables, task, told, nodes=FOUND):
    """Restore one host after the other, and kill that when the first one has taken a step."""
    run = start("erlmcp.ops.restore", nodes, variables, ["--forks", "1"])
    kill_after(run, f"TASK [erlmcp.ops.erlmcp_backup : {task}", told, timeout=300)


def test_a_cluster_comes_back_on_machines_with_other_names_though_its_runs_are_killed(tmp_path):
    first, second, third = LOST.values()
    sessions = {address: put(address, 25, f"of-{number}") for number, address in enumerate(LOST.values())}
    wanted = content(first)
    assert wanted[1] == 75
    assert content(third)[4] == wanted[4]
    audit = [content(address)[2] for address in LOST.values()]

    saved = play("erlmcp.ops.backup", LOST, {"erlmcp_backup_fetch_dir": str(tmp_path)})
    assert saved.rc == 0, saved.messages
    for name in LOST:
        hosts("power", "kill", name)
    assert not any(reachable(address, 22, 1) for address in LOST.values())

    provisioned = play("erlmcp.ops.site", FOUND, REPLACEMENT)
    assert provisioned.rc == 0, provisioned.messages
    real = {f"new{number}": name for number, name in enumerate(FOUND, 1)}
    real.update({f"old{number}": name for number, name in enumerate(LOST, 1)})
    recover = {**REPLACEMENT, **variables(ELSEWHERE, {**real, "/srv/archives": str(tmp_path)})}
    shown = play("erlmcp.ops.restore", FOUND, recover, ["--check"])
    assert shown.rc == 0, shown.messages
    assert "a.found.test (erlmcp@a.found.test) gets erlmcp-n1.lost.test-" in shown.output
    assert all(content(address)[1] == 0 for address in FOUND.values())

    killed_between_two_nodes(recover, "Restore up to the step exchanged]", CHANGED)
    # Another run must not start the one among the others, which have not got theirs.
    refused = play("erlmcp.ops.site", FOUND, REPLACEMENT)
    assert refused.rc != 0
    assert "has not ended, and is exchanged on erlmcp@a.found.test" in refused.messages
    assert health(FOUND["a.found.test"]) is None
    killed_between_two_nodes(recover, KEPT, DECIDED)
    # All serve, and one has decided that it stays so: what clients bring now is not taken away again.
    assert [content(address)[4] for address in FOUND.values()] == [wanted[4]] * len(FOUND)
    put(FOUND["a.found.test"], 1, "meanwhile")
    started = time.monotonic()
    done = play("erlmcp.ops.restore", FOUND, recover)
    print(f"ended in {time.monotonic() - started:.1f} s")
    assert done.rc == 0, done.messages
    assert "a restore had succeeded on all nodes when its run ended" in done.output

    names = {f"erlmcp@{name}" for name in FOUND}
    for number, address in enumerate(FOUND.values()):
        assert health(address)["status"] == "healthy"
        found = content(address)
        assert (found[0], found[1], found[3]) == (wanted[0] + 1, wanted[1] + 1, 0)
        assert found[2] == audit[number] or number == 0
        assert ssh(address, "ls -d /var/lib/.erlmcp.restore", check=False).returncode != 0
        running = evaluate(address, "lists:sort(mnesia:system_info(running_db_nodes)).")
        assert set(running.strip("[]").replace("'", "").replace(" ", "").split(",")) == names
        assert "lost" not in evaluate(address, "mnesia:system_info(db_nodes).")
        for table in TABLES:
            assert evaluate(address, f"length(mnesia:table_info({table}, disc_copies)).") == "3"

    # They are one cluster again: what one takes in, the others have.
    with Mcp(FOUND["a.found.test"], session=sessions[third]) as client:
        assert client.call("get", key="of-2-7")["content"][0]["text"] == "x" * 200
        client.call("put", key="after", value="the flood")
    with Mcp(FOUND["c.found.test"], session=sessions[third]) as client:
        assert client.call("get", key="after")["content"][0]["text"] == "the flood"


NOT_AT_ALL = "ExecStartPre=/bin/sh -c '! ls -d /var/lib/erlmcp.before-restore-*'"
# The others find its tables, and serve.
NOT_HEALTHY = (
    'ExecStartPre=+/bin/sh -c \'R="INPUT -i lo -p tcp --dport 8080 -j REJECT"; iptables -D $$R;'
    " ! ls -d /var/lib/erlmcp.before-restore-* || iptables -I $$R'"
)


def when_started(evaluated, condition="true"):
    """A line of a unit: after each start the node evaluates something, as soon as that succeeds."""
    until = f'until erlmcp eval "{evaluated}"; do sleep 0.1; done'
    return f"ExecStartPost=/bin/sh -c '! {condition} || {{ {until}; }} > /dev/null 2>&1 &'"


# Both are well for a moment before.
CRASHING = when_started(
    "true = is_pid(whereis(erlmcp_sup)), timer:apply_after(2500, erlang, exit, [whereis(erlmcp_sup), kill]).",
    "ls -d /var/lib/erlmcp.before-restore-*",
)
LATE = when_started("ok = application:stop(erlmcp), timer:sleep(4000), application:start(erlmcp, permanent).")
WITHOUT_HTTP = {"erlmcp_http_enabled": False, "erlmcp_health_settle_seconds": 5}


@pytest.fixture(name="broken")
def _broken():
    """Function that keeps a node from serving with what is restored, by a command of its unit; undone afterwards."""
    drop_in = "/etc/systemd/system/erlmcp.service.d/fail.conf"

    def break_it(address, command):
        ssh(address, "rm -rf /var/lib/erlmcp.before-restore-*; mkdir -p /etc/systemd/system/erlmcp.service.d")
        ssh(address, f"cat > {drop_in} && systemctl daemon-reload", typed=f"[Service]\n{command}\n")

    yield break_it
    for address in FOUND.values():
        ssh(address, f"rm -f {drop_in} && systemctl daemon-reload")


@pytest.fixture(scope="module", name="saved")
def _saved(tmp_path_factory):
    """Directory with archives of what the nodes had before they got more."""
    directory = str(tmp_path_factory.mktemp("saved"))
    saved = play("erlmcp.ops.backup", FOUND, {**REPLACEMENT, "erlmcp_backup_fetch_dir": directory})
    assert saved.rc == 0, saved.messages
    return directory


@pytest.mark.parametrize(
    ("commands", "health_variables", "is_killed"),
    [
        ({"c.found.test": NOT_AT_ALL}, {}, False),
        ({"c.found.test": NOT_HEALTHY}, {}, True),
        ({"b.found.test": LATE, "c.found.test": CRASHING}, {**WITHOUT_HTTP, "erlmcp_health_level": "ping"}, False),
        ({"b.found.test": LATE, "c.found.test": CRASHING}, {**WITHOUT_HTTP, "erlmcp_health_level": "process"}, False),
    ],
    ids=[
        "before the others serve",
        "after the others serve, and the run is killed on the way back",
        "it crashes and another one is late, at level ping",
        "it crashes and another one is late, at level process",
    ],
)
def test_a_node_that_cannot_be_restored_takes_the_others_back(saved, broken, commands, health_variables, is_killed):
    put(FOUND["a.found.test"], 5, "later")
    wanted = [content(address) for address in FOUND.values()]
    for name, command in commands.items():
        broken(FOUND[name], command)
    restored = {
        **REPLACEMENT,
        **health_variables,
        "erlmcp_backup_restore_from": saved,
        "erlmcp_backup_restore_start_timeout_seconds": 20,
    }
    if is_killed:
        killed_between_two_nodes(restored, "Stop the node and put back what it had]", CHANGED)
    done = play("erlmcp.ops.restore", FOUND, restored)
    assert done.rc != 0
    assert ("a restore was being taken back when its run ended" in done.output) == is_killed
    assert "Every node has back what it had" in done.messages
    assert all(health(address)["status"] == "healthy" for address in FOUND.values())
    assert all(ssh(a, "ls -d /var/lib/.erlmcp.restore", check=False).returncode != 0 for a in FOUND.values())
    assert [content(address) for address in FOUND.values()] == wanted


STORE, ASIDE = "/var/backups/erlmcp", "/var/lib/erlmcp.*"


class Cluster:
    """The hosts as an inventory has them whose group is ``erlmcp``, as in the examples."""

    def __init__(self, directory):
        self.hosts = FOUND.part(directory, FOUND)

    @property
    def rows(self):
        """What all nodes have, which is the same."""
        (found,) = {content(address)[4] for address in self.hosts.values()}
        return found

    @property
    def pids(self):
        return [pid(address) for address in self.hosts.values()]

    def play(self, playbook, options=()):
        done = play(f"erlmcp.ops.{playbook}", self.hosts, None, options)
        assert done.rc == 0, done.messages
        return done

    def refused(self, options, told):
        """Return what ``told`` finds in the refusal of a restore, which nothing came of."""
        before = self.pids
        done = play("erlmcp.ops.restore", self.hosts, None, options)
        assert done.rc != 0
        assert self.pids == before
        return re.search(told, done.messages, re.DOTALL) or pytest.fail(done.messages)

    def restore(self, options):
        """Restore, see that nothing is left of what was copied from host to host, and return the rows of all nodes."""
        self.play("restore", options)
        assert not [*(Path.home() / ".cache" / "erlmcp").glob("*/restore")]
        for address in self.hosts.values():
            assert ssh(address, f"ls -A {STORE} | grep -v ^erlmcp-", check=False).stdout == ""
        return self.rows


@pytest.fixture(name="cluster")
def _cluster(tmp_path):
    for address in FOUND.values():
        ssh(address, f"rm -rf {STORE}/* {ASIDE}")
    return Cluster(tmp_path)


def test_a_cluster_comes_back_from_its_own_stores_and_what_that_replaced_too(cluster):
    """As README.md says it, and as the refusals on the way do."""
    first, *_others, last = cluster.hosts.values()
    status, told = ops(first, "restore", "latest", check=False)
    assert status == 1
    cluster.play(re.search(r"run the playbook (\w+)", told)[1])
    archived = content(first)[4]
    put(first, 5, "later")
    later, running = content(first)[4], cluster.pids

    shown = cluster.play("restore", CHECKED)
    assert "a.found.test (erlmcp@a.found.test) gets erlmcp-a.found.test-" in shown.output
    assert shown.output.count("which is copied from ") == 2
    assert cluster.pids == running

    # One alone would not start among the others.
    cluster.refused(
        ["--limit", "a.found.test"], "shares its tables with erlmcp@b.found.test, erlmcp@c.found.test.*without --limit"
    )
    assert cluster.restore(NEWEST) == archived

    put(first, 3, "since")
    running = cluster.pids
    status, told = ops(first, "restore", "--undo", check=False)
    assert status == 1
    assert "shares its tables with erlmcp@b.found.test, erlmcp@c.found.test" in told
    playbook, variable = re.search(r"the playbook (\w+) .* (erlmcp_backup_restore_undo): true", told).groups()
    assert (playbook, [f"{variable}=true"]) == ("restore", UNDONE[1:])
    shown = cluster.play(playbook, [*UNDONE, "--check"])
    assert shown.output.count(" gets back /var/lib/erlmcp.before-restore-") == len(cluster.hosts)
    assert cluster.pids == running

    killed_between_two_nodes(variables(UNDONE, {}), "Restore up to the step exchanged]", CHANGED, cluster.hosts)
    assert cluster.restore(UNDONE) == later
    # And that could be taken back in turn.
    assert ssh(last, f"ls -d {ASIDE} | grep -v json").stdout.startswith("/var/lib/erlmcp.reverted-")

    shown = cluster.play("restore", [*at(time_named(cluster)), "--check"])
    assert shown.output.count(" gets erlmcp-") == len(cluster.hosts)


def at(time_of_archives):
    """The options of the example with a time, and this one in its place."""
    dash, option = AT_A_TIME
    return [dash, f"{option.partition('=')[0]}={time_of_archives}"]


def time_named(cluster):
    """The time that a refusal names for an archive of every host."""
    return cluster.refused(at("20200101T000000Z"), r"that there is \((\w+)")[1]


@only_in_soak
def test_a_host_built_anew_gets_the_last_copy_of_a_table_back_with_all_others(cluster):
    *_others, last = cluster.hosts.values()
    evaluate(last, "mnesia:create_table(only, [{disc_copies, [node()]}]), mnesia:dirty_write({only, key, value}).")
    cluster.play("backup")
    archived = cluster.rows
    ssh(last, f"systemctl stop erlmcp; rm -rf /var/lib/erlmcp/* {ASIDE}; systemctl start erlmcp")
    wait_until_healthy(last)
    replaced = play("erlmcp.ops.replace_node", cluster.hosts, {"erlmcp_cluster_replaced": "c.found.test"}, ["--check"])
    assert replaced.rc != 0
    assert "has the last copy of only: " in replaced.messages
    assert "from archives (the playbook restore)" in replaced.messages
    assert cluster.restore(at(time_named(cluster))) == archived
    assert evaluate(last, "mnesia:table_info(only, size).") == "1"
    evaluate(last, "mnesia:delete_table(only).")
