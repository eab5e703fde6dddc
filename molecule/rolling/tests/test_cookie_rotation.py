# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A cluster that serves gets another cookie: no node restarts, no request fails, and no node is left behind."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from backuplib import Writers, content, pid
from testlib import CACHE, Hosts, health, play, ssh, start, wait_until, wait_until_healthy

HOSTS = Hosts(Path(__file__).parents[1])
FIRST, *OTHERS = HOSTS
LAST = OTHERS[-1]
# The scenario has a cookie of its own: others run beside it.
COOKIE_FILE = CACHE / "cookies" / "rolling"
NEXT_FILE = COOKIE_FILE.with_name("rolling.next")
HOME = "/etc/erlmcp/home"
REPLACE = "erlmcp.ops.erlmcp_cluster : Replace the cookie of the running node and in its file"
IMPATIENT = {"erlmcp_cluster_wait_seconds": 5}


def pids():
    return {name: pid(address) for name, address in HOSTS.items()}


def on_nodes():
    """What the nodes' hosts hold in their homes, and with which rights."""
    command = f"find {HOME} -mindepth 1 -printf '%P %u:%g %m ' -type f -exec cat {{}} \\; -printf '\\n' | sort"
    return {name: ssh(address, command).stdout for name, address in HOSTS.items()}


def cookies():
    return {name: ssh(address, f"cat {HOME}/.erlang.cookie").stdout for name, address in HOSTS.items()}


def kept():
    return COOKIE_FILE.read_text().strip()


def accepts(host, member, cookie):
    """Whether a member accepts a new connection from a host with a cookie."""
    command = (
        "mkdir -p /tmp/stranger && cat > /tmp/stranger/.erlang.cookie && echo 'node().' | HOME=/tmp/stranger"
        f" /opt/erlmcp/current/erts-*/bin/erl_call -R -name erlmcp@{member} -timeout 5 -e"
    )
    answered = ssh(HOSTS[host], command, typed=cookie, check=False).returncode == 0
    ssh(HOSTS[host], "rm -rf /tmp/stranger")
    return answered


def same_rows():
    """Whether the nodes hold the same rows; the audit is each node's own."""
    for _attempt in range(20):
        held = {(sessions, items, odd, digest) for sessions, items, _audit, odd, digest in map(content, HOSTS.values())}
        if len(held) == 1:
            return held.pop()[2] == 0
        time.sleep(0.5)
    return False


@pytest.fixture(scope="module", autouse=True)
def _hosts_have_just_booted():
    HOSTS.wait_until_whole()


@pytest.fixture(autouse=True)
def _cluster_as_it_was():
    assert COOKIE_FILE.exists(), "set erlmcp_cluster_name: rolling in the inventory of this scenario"
    yield
    if any((health(address) or {}).get("status") != "healthy" for address in HOSTS.values()):
        HOSTS.restore()


@pytest.fixture(name="writers")
def _writers():
    """Clients that write to every node; afterwards none of their requests has failed and no node was restarted."""
    before = pids()
    with ExitStack() as stack:
        writers = [stack.enter_context(Writers(address, clients=1)) for address in HOSTS.values()]
        yield writers
    assert [each.failed for each in writers] == [[] for _each in writers]
    assert all(each.stored > 20 for each in writers)
    assert pids() == before
    assert same_rows()


@pytest.mark.usefixtures("writers")
def test_a_serving_cluster_gets_another_cookie_as_check_mode_predicts():
    old, before = kept(), (on_nodes(), pids())
    predicted = play("erlmcp.ops.rotate_cookie", HOSTS, options=["--check", "--diff"])
    assert predicted.rc == 0, predicted.messages
    assert (on_nodes(), pids()) == before
    assert kept() == old
    assert not NEXT_FILE.exists()
    done = play("erlmcp.ops.rotate_cookie", HOSTS)
    assert done.rc == 0, done.messages
    assert done.changed == predicted.changed
    assert {host for host, task in done.changed if task == REPLACE} == set(HOSTS)
    new = kept()
    assert new != old
    assert len(new) == 48
    assert COOKIE_FILE.stat().st_mode & 0o077 == 0
    assert not NEXT_FILE.exists()
    assert on_nodes() == dict.fromkeys(HOSTS, f".erlang.cookie erlmcp:erlmcp 400 {new}\n")
    for member in HOSTS:
        assert accepts(FIRST, member, new)
        assert not accepts(FIRST, member, old)
        assert not accepts(LAST, member, old)
    assert old not in done.output
    assert new not in done.output
    again = play("erlmcp.ops.site", HOSTS)
    assert again.rc == 0, again.messages
    assert again.changed == set()


@pytest.mark.usefixtures("writers")
def test_a_run_killed_between_two_nodes_is_finished_by_the_next():
    old = kept()
    second = HOSTS[OTHERS[0]]
    running = start("erlmcp.ops.rotate_cookie", HOSTS, options=["--forks", "1"])
    # What takes this lock before has ended on all hosts, and each of them is looked at before the next one.
    assert any(": Prove the node healthy and the cluster complete" in line for line in running.stdout)
    # So that the play is at the second node when it is killed.
    ssh(second, f"systemd-run --quiet --unit=holder flock {HOME} sleep 60")
    # With one fork Ansible says what has become of a host when it has given its task to the last one.
    wait_until(
        lambda: ssh(HOSTS[FIRST], f"cat {HOME}/.erlang.cookie").stdout != old, "the first node keeps the old one"
    )
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    # A module that was started on a host goes on when the play is killed.
    ssh(second, "systemctl stop holder")
    time.sleep(3)
    new = NEXT_FILE.read_text().strip()
    assert kept() == old
    assert cookies()[FIRST] == new
    assert cookies()[LAST] == old
    done = play("erlmcp.ops.rotate_cookie", HOSTS)
    assert done.rc == 0, done.messages
    assert (FIRST, REPLACE) not in done.changed
    assert (LAST, REPLACE) in done.changed
    assert set(cookies().values()) == {new}
    assert kept() == new


@pytest.mark.usefixtures("writers")
def test_a_run_killed_between_the_node_and_its_file_is_finished_by_the_next():
    """By hand as the module does it, up to where the node has the new cookie and its file has the old one."""
    new = "half-way-half-way-half-way-half-way"
    NEXT_FILE.write_text(new)
    NEXT_FILE.chmod(0o600)
    ssh(
        HOSTS[LAST],
        f"install -d -g erlmcp -m 750 {HOME}/next && cat > {HOME}/next/.erlang.cookie"
        f" && chown erlmcp:erlmcp {HOME}/next/.erlang.cookie && chmod 400 {HOME}/next/.erlang.cookie"
        f' && erlmcp eval \'{{ok, C}} = file:read_file("{HOME}/next/.erlang.cookie"),'
        " erlang:set_cookie(node(), binary_to_atom(C, latin1)).'",
        typed=new,
    )
    assert ssh(HOSTS[LAST], "erlmcp ping", check=False).returncode != 0
    done = play("erlmcp.ops.rotate_cookie", HOSTS)
    assert done.rc == 0, done.messages
    assert on_nodes() == dict.fromkeys(HOSTS, f".erlang.cookie erlmcp:erlmcp 400 {new}\n")
    assert kept() == new


def test_a_stopped_node_is_not_left_behind():
    before, old = on_nodes(), kept()
    ssh(HOSTS[LAST], "systemctl stop erlmcp")
    for options in ([], ["--check"]):
        done = play("erlmcp.ops.rotate_cookie", HOSTS, IMPATIENT, options)
        assert done.rc != 0
        assert f"erlmcp@{LAST} is not healthy" in done.messages
        assert (on_nodes(), kept()) == (before, old)
        assert not NEXT_FILE.exists()
    # What it has been told while it ran, by the rotations before, it knows when it starts.
    ssh(HOSTS[LAST], "systemctl start erlmcp")
    wait_until_healthy(HOSTS[LAST])
    back = play("erlmcp.ops.check_health", HOSTS)
    assert back.rc == 0, back.messages


def test_a_host_that_is_limited_away_or_unreachable_is_not_left_behind(tmp_path):
    before, old = on_nodes(), kept()
    limited = play("erlmcp.ops.rotate_cookie", HOSTS, options=["--limit", FIRST])
    assert limited.rc != 0
    assert f"{LAST} would keep the old cookie" in limited.messages
    nowhere = tmp_path / "nowhere.yml"
    nowhere.write_text(json.dumps({"all": {"hosts": {LAST: {"ansible_port": 9}}}}))
    cut_off = play("erlmcp.ops.rotate_cookie", HOSTS, options=["-i", str(nowhere)])
    assert cut_off.rc != 0
    assert (on_nodes(), kept()) == (before, old)
    assert not NEXT_FILE.exists()


def test_a_cookie_of_the_inventory_is_not_replaced_by_one_of_nobody():
    before, old = on_nodes(), kept()
    given = {"erlmcp_cookie": "of-the-inventory-of-the-inventory"}
    done = play("erlmcp.ops.rotate_cookie", HOSTS, given)
    assert done.rc != 0
    assert "give the new cookie as erlmcp_cluster_new_cookie" in done.messages
    bad = play("erlmcp.ops.rotate_cookie", HOSTS, {**given, "erlmcp_cluster_new_cookie": "too#bad#too#bad#too#bad"})
    assert bad.rc != 0
    assert "erlmcp_cluster_new_cookie (not shown)" in bad.messages
    assert (on_nodes(), kept()) == (before, old)
