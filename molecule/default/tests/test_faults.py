# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Faults are made: ``check_health`` names each with a command, no other node is stopped, and the command mends it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from testlib import Hosts, Mcp, play, ssh, wait_until, wait_until_healthy

HOSTS = Hosts(Path(__file__).parents[1])
FIRST, SECOND, THIRD = HOSTS
NOT_LONG = {"erlmcp_cluster_wait_seconds": 1}
COOKIE = "/etc/erlmcp/home/.erlang.cookie"


def pids():
    return {name: ssh(address, "systemctl show -P MainPID erlmcp").stdout for name, address in HOSTS.items()}


def codes(played):
    return {host: sorted(found) for host, found in played.page.items()}


def run(command):
    """Do what the page says, in the words of an operator: ``Once its cause is mended: ansible-playbook NAME ...``."""
    _before, _ansible, arguments = command.partition("ansible-playbook ")
    playbook, *options = arguments.split()
    return play(playbook, HOSTS, options=options)


@pytest.fixture(scope="module", autouse=True)
def _no_restart_is_counted():
    """Other tests of the scenario have killed nodes."""
    for address in HOSTS.values():
        ssh(address, "systemctl reset-failed erlmcp")


@pytest.fixture(autouse=True)
def _rows_are_kept():
    with Mcp(HOSTS[FIRST]) as client:
        client.call("put", key="before", value="acknowledged")
        session = client.server["_meta"]["sessionId"]
    yield
    for address in HOSTS.values():
        with Mcp(address, session=session) as client:
            assert client.call("get", key="before")["content"][0]["text"] == "acknowledged"
    assert codes(play("erlmcp.ops.check_health", HOSTS)) == {}


def test_what_was_laid_down_and_is_damaged_is_named_no_node_is_stopped_and_site_mends_it():
    ssh(HOSTS[FIRST], "systemctl disable erlmcp; nft flush ruleset")
    ssh(HOSTS[SECOND], f"chmod 0444 {COOKIE}")
    lost = ssh(HOSTS[THIRD], "ls -d /opt/erlmcp/current/lib/erlmcp-*/ebin/*.app").stdout.split()[0]
    ssh(HOSTS[THIRD], f"rm {lost}")
    before = pids()
    found = play("erlmcp.ops.check_health", HOSTS)
    assert found.rc != 0
    assert codes(found) == {
        FIRST: ["ERLMCP_FIREWALL_DIFFERS", "ERLMCP_UNIT_DISABLED"],
        SECOND: ["ERLMCP_COOKIE"],
        THIRD: ["ERLMCP_RELEASE_DAMAGED"],
    }
    for options in ([], ["--check"]):
        refused = play("erlmcp.ops.restart", HOSTS, options=options)
        assert refused.rc != 0
        assert f"erlmcp@{SECOND} could not start again: {COOKIE} is not erlmcp's alone" in refused.messages
        assert f"erlmcp@{THIRD} could not start again: release 1.0.0" in refused.messages
    forced = play("erlmcp.ops.restart", HOSTS, {"erlmcp_cluster_force": True}, ["--limit", THIRD])
    assert f"erlmcp@{THIRD} is left running, because it could not start again: release 1.0.0" in forced.messages
    foreseen = play("erlmcp.ops.site", HOSTS, options=["--check"])
    done = play("erlmcp.ops.site", HOSTS)
    assert (foreseen.rc, done.rc) == (0, 0), foreseen.messages + done.messages
    assert foreseen.changed == done.changed
    assert (THIRD, "erlmcp.ops.erlmcp_release : Ensure the release is laid down") in done.changed
    assert pids() == before


def test_a_full_disk_and_a_port_that_is_taken_are_named_and_no_other_node_is_stopped():
    ssh(HOSTS[FIRST], "mount -t tmpfs -o size=32m,mode=0750,uid=erlmcp,gid=erlmcp tmpfs /var/log/erlmcp")
    store = "/var/backups/erlmcp"
    ssh(HOSTS[SECOND], f"mount -t tmpfs -o size=16k,mode=0700 tmpfs {store}; fallocate -l 16k {store}/full")
    ssh(HOSTS[SECOND], "systemctl start erlmcp-backup", check=False)
    ssh(HOSTS[THIRD], "systemctl stop erlmcp; systemd-run --quiet --unit=thief python3 -m http.server 8080")
    try:
        before = pids()
        found = play("erlmcp.ops.check_health", HOSTS, NOT_LONG)
        assert codes(found) == {
            FIRST: ["ERLMCP_DISK_FULL"],
            SECOND: ["ERLMCP_SERVICE_FAILED"],
            THIRD: ["ERLMCP_NODE_DOWN", "ERLMCP_PORT_TAKEN"],
        }
        assert re.search("erlmcp-backup.service has failed .* after it said: .*No space left", found.output)
        assert "MiB are free for /var/log/erlmcp" in found.messages
        assert "port 8080 of the node is taken by process" in found.messages
        refused = play("erlmcp.ops.restart", HOSTS)
        assert "could not start again: 31 MiB are free for /var/log/erlmcp" in refused.messages
        for method, said in (("stop", "is left running, because it could not start again"), ("hot", "")):
            done = ssh(HOSTS[FIRST], f"erlmcp-ops backup --method {method}", check=False, timeout=120)
            assert said in done.stderr
            assert (done.returncode == 0) == (not said), done.stderr
        assert pids() == before
        command = found.page[THIRD]["ERLMCP_PORT_TAKEN"]
        ssh(HOSTS[THIRD], command.partition("(")[2].partition(")")[0])
    finally:
        ssh(HOSTS[FIRST], "umount -l /var/log/erlmcp")
        ssh(HOSTS[SECOND], f"umount {store}")
        ssh(HOSTS[THIRD], "systemctl stop thief", check=False)
    mended = run(found.page[THIRD]["ERLMCP_NODE_DOWN"])
    assert mended.rc == 0, mended.messages
    ssh(HOSTS[SECOND], found.page[SECOND]["ERLMCP_SERVICE_FAILED"].partition(": ")[2])


def test_a_broken_config_a_crash_and_a_hang_of_mnesia_are_named_and_mended():
    ssh(HOSTS[FIRST], "echo '[{kernel,' >> /etc/erlmcp/current/sys.config")
    ssh(HOSTS[SECOND], "kill -KILL $(systemctl show -P MainPID erlmcp)")
    wait_until(lambda: ssh(HOSTS[SECOND], "systemctl show -P NRestarts erlmcp").stdout == "1\n", "no restart")
    wait_until_healthy(HOSTS[SECOND])
    # A run that was killed has left its lock.
    locked = ["ansible", "-i", HOSTS.inventory, THIRD, "-m", "erlmcp.ops.cluster_lock", "-a", "what='an upgrade'"]
    subprocess.run(locked, check=True, capture_output=True)
    ssh(HOSTS[THIRD], "erlmcp eval 'sys:suspend(mnesia_tm).'")
    found = play("erlmcp.ops.check_health", HOSTS)
    assert codes(found) == {
        FIRST: ["ERLMCP_CONFIG_BROKEN"],
        SECOND: ["ERLMCP_RESTARTED"],
        THIRD: ["ERLMCP_LOCKED", "ERLMCP_MNESIA_HANGS"],
    }
    hangs = run(found.page[THIRD]["ERLMCP_MNESIA_HANGS"])
    assert hangs.rc == 0, hangs.messages
    assert codes(play("erlmcp.ops.check_health", HOSTS)) == {
        FIRST: ["ERLMCP_CONFIG_BROKEN"],
        SECOND: ["ERLMCP_RESTARTED"],
    }
    assert "1 times since somebody started it after it said: erlmcp: a signal has ended it" in found.output
    mended = play("erlmcp.ops.site", HOSTS)
    assert mended.rc == 0, mended.messages
    again = play("erlmcp.ops.restart", HOSTS, {"erlmcp_cluster_force": True}, ["--limit", SECOND])
    assert again.rc == 0, again.messages


def test_what_is_gone_and_what_runs_short_is_named_and_mended():
    # The first has no memory left, once; then somebody moves its config away.
    before = ssh(HOSTS[FIRST], "systemctl show -P MainPID erlmcp").stdout.strip()
    ssh(HOSTS[FIRST], f"prlimit --pid {before} --as=1000000000:")
    ssh(HOSTS[FIRST], "erlmcp eval 'byte_size(binary:copy(<<0>>, 4000000000)).'", check=False)
    wait_until(lambda: ssh(HOSTS[FIRST], "systemctl show -P NRestarts erlmcp").stdout == "1\n", "no restart")
    wait_until_healthy(HOSTS[FIRST])
    ssh(HOSTS[FIRST], "rm /var/log/erlmcp/erl_crash.dump; mv /etc/erlmcp /etc/moved")
    ssh(HOSTS[SECOND], "mv /opt/erlmcp/releases/1.0.0 /opt/gone")
    spawned = "[spawn(fun() -> timer:sleep(infinity) end) || _ <- lists:seq(1, 240000)], ok."
    ssh(HOSTS[THIRD], f"erlmcp eval '{spawned}'")
    resident = "awk '/^VmRSS/ {print $2}' /proc/$(systemctl show -P MainPID erlmcp)/status"
    ssh(HOSTS[THIRD], f"systemctl set-property --runtime erlmcp MemoryMax=$({resident})K")
    found = play("erlmcp.ops.check_health", HOSTS, NOT_LONG)
    assert codes(found) == {
        FIRST: ["ERLMCP_CONFIG_BROKEN", "ERLMCP_RESTARTED"],
        SECOND: ["ERLMCP_RELEASE_DAMAGED"],
        THIRD: ["ERLMCP_LIMIT_NEAR", "ERLMCP_MEMORY"],
    }
    assert "no config is in /etc/erlmcp, though the unit is there" in found.messages
    assert "no release is in /opt/erlmcp, though the unit is there" in found.messages
    assert re.search("after it said: erlmcp: Erlang has crashed: .*Cannot allocate", found.messages)
    assert re.search("has 24[0-9]{4} of the 262144 processes that it may have", found.output)
    foreseen = play("erlmcp.ops.site", HOSTS, options=["--check"])
    done = run(found.page[FIRST]["ERLMCP_CONFIG_BROKEN"])
    assert (foreseen.rc, done.rc) == (0, 0), foreseen.messages + done.messages
    assert foreseen.changed == done.changed
    assert codes(play("erlmcp.ops.check_health", HOSTS)) == {THIRD: ["ERLMCP_LIMIT_NEAR", "ERLMCP_MEMORY"]}
    assert run(found.page[THIRD]["ERLMCP_MEMORY"]).rc == 0
    ssh(HOSTS[FIRST], "rm -r /etc/moved")
    ssh(HOSTS[SECOND], "rm -r /opt/gone")


def test_the_host_of_another_node_is_named_and_nothing_is_stopped_there(tmp_path):
    inventory = tmp_path / "mistaken.yml"
    mistaken = f"-o HostName={HOSTS[THIRD]}"
    inventory.write_text(f"all: {{hosts: {{{SECOND}: {{ansible_ssh_common_args: {mistaken}}}}}}}\n")
    before = pids()
    found = play("erlmcp.ops.check_health", HOSTS, NOT_LONG, options=["-i", str(inventory)])
    assert codes(found) == {SECOND: ["ERLMCP_OTHER_NODE"]}
    assert f"is erlmcp@{THIRD}, and the inventory takes it for that of erlmcp@{SECOND}" in found.messages
    refused = [
        play(f"erlmcp.ops.{playbook}", HOSTS, options=["-i", str(inventory), "--limit", SECOND])
        for playbook in ("restart", "site")
    ]
    assert f"is erlmcp@{THIRD}, and" in refused[0].messages, refused[0].messages
    assert [(played.rc == 0, played.changed) for played in refused] == [(False, set())] * 2
    assert pids() == before


def test_a_host_that_cannot_be_reached_is_one_line_and_the_others_are_looked_at(tmp_path):
    inventory = tmp_path / "nowhere.yml"
    # Its address stays what it is, since the firewall of the others goes by it.
    nowhere = "-o HostName=127.0.0.1 -o Port=9"
    inventory.write_text(f"all: {{hosts: {{{THIRD}: {{ansible_ssh_common_args: {nowhere}}}}}}}\n")
    done = play("erlmcp.ops.check_health", HOSTS, options=["-i", str(inventory)])
    assert done.rc != 0
    assert codes(done) == {THIRD: ["ERLMCP_UNREACHABLE"]}
    assert "Connection refused" in done.messages
