# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a user gets from one run of site.yml: three nodes that serve and see each other."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from hostile import HostileNode
from testlib import Hosts, Mcp, console, health, http, play, ssh, wait_until, wait_until_healthy

HOSTS = Hosts(Path(__file__).parents[1])
NODES = [f"erlmcp@{name}" for name in HOSTS]
EACH = pytest.mark.parametrize("name", HOSTS)


@EACH
def test_health_answers(name):
    document = health(HOSTS[name])
    assert (document["status"], document["node"], document["version"]) == ("healthy", f"erlmcp@{name}", "1.0.0")


@EACH
def test_mcp_stores_what_it_is_given(name):
    with Mcp(HOSTS[name]) as client:
        assert client.server["serverInfo"] == {"name": "erlmcp", "version": "1.0.0"}
        client.call("put", key="k", value="stored before")
        session = client.server["_meta"]["sessionId"]
    with Mcp(HOSTS[name], session=session) as client:
        assert client.call("get", key="k")["content"][0]["text"] == "stored before"


@EACH
def test_metrics_count_requests(name):
    def requests():
        lines = http(HOSTS[name], 9090, "/metrics")[1].splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("erlmcp_requests_total")))

    before = requests()
    with Mcp(HOSTS[name]) as client:
        for _number in range(10):
            client.ask("ping")
    assert requests() == before + 11


@EACH
def test_the_four_key_metrics_are_there(name):
    answer = http(HOSTS[name], 9090, "/metrics")[1]
    for metric in ("requests_total", "errors_total", "latency_seconds_bucket", "connections_active"):
        assert f"\nerlmcp_{metric}" in answer, metric


@EACH
def test_every_node_sees_the_others(name):
    answer = ssh(HOSTS[name], "erlmcp eval 'lists:sort([node() | nodes()]).'").stdout
    assert all(node in answer for node in NODES), answer


@EACH
def test_the_control_command_does_what_the_guide_says(name):
    assert ssh(HOSTS[name], "erlmcp ping").stdout == "pong\n"
    assert ssh(HOSTS[name], "erlmcp eval '1 + 1.'").stdout == "2\n"
    assert ssh(HOSTS[name], "erlmcp pid").stdout == ssh(HOSTS[name], "systemctl show -P MainPID erlmcp").stdout
    assert ssh(HOSTS[name], "erlmcp versions").stdout == "1.0.0 current\n"


def test_the_remote_console_is_a_shell_on_the_node():
    name, address = next(iter(HOSTS.items()))
    shown, _nothing = console(address, "1 + 41.")
    assert f"(erlmcp@{name})1> 1 + 41.\n42" in shown
    # Erlang would evaluate it in a node of its own.
    without = ssh(address, "erlmcp remote_console", "1 + 41.\n", check=False)
    assert without.returncode == 64
    assert "ask with eval" in without.stderr


def test_a_node_in_an_attackers_hands_runs_nothing_outside_of_its_sandbox():
    """Over TCP a console alone is an Erlang that the node can make run anything; erl_call runs nothing for it."""
    address = next(iter(HOSTS.values()))
    with HostileNode(address) as hostile:
        hostile.evaluate("timer:sleep(1000).")
        console(address, "timer:sleep(1000).")
        assert play("erlmcp.ops.check_health", HOSTS).rc == 0
    assert hostile.victims() == {""}, hostile.told
    assert hostile.escaped() == []


@EACH
def test_the_control_command_fails_when_it_must(name):
    assert ssh(HOSTS[name], "erlmcp eval 'no:such().'", check=False).returncode != 0
    refused = ssh(HOSTS[name], "setpriv --reuid nobody --clear-groups erlmcp ping", check=False)
    assert refused.returncode == 77
    assert "sudo" in refused.stderr


@EACH
def test_the_service_starts_at_boot_and_runs_as_its_account(name):
    assert ssh(HOSTS[name], "systemctl is-enabled erlmcp erlmcp-epmd").stdout.split() == ["enabled", "enabled"]
    assert ssh(HOSTS[name], "ps -o user= -p $(systemctl show -P MainPID erlmcp)").stdout == "erlmcp\n"


@EACH
def test_the_service_can_write_its_data_and_nothing_of_ours(name):
    as_service = "setpriv --reuid erlmcp --regid erlmcp --init-groups"
    for path in ("/var/lib/erlmcp/x", "/var/log/erlmcp/x"):
        ssh(HOSTS[name], f"{as_service} touch {path} && rm {path}")
    for path in ("/etc/erlmcp/x", "/etc/erlmcp/home/x", "/etc/erlmcp/current/x", "/opt/erlmcp/current/x"):
        assert ssh(HOSTS[name], f"{as_service} touch {path}", check=False).returncode != 0, path
    assert ssh(HOSTS[name], f"{as_service} sh -c 'echo >> /etc/erlmcp/sys.config'", check=False).returncode != 0


@EACH
def test_nobody_else_reads_config_logs_and_data(name):
    found = ssh(HOSTS[name], "find -L /etc/erlmcp /var/lib/erlmcp /var/log/erlmcp -perm /o=rwx").stdout
    assert found == ""


@EACH
def test_logs_reach_the_journal_and_the_file(name):
    with Mcp(HOSTS[name]) as client:
        client.ask("tools/list")
    assert 'method="tools/list"' in ssh(HOSTS[name], "journalctl -u erlmcp -n 50 -o cat").stdout
    # Erlang writes to a file two seconds later.
    logged = "tail -50 /var/log/erlmcp/erlmcp.log"
    wait_until(lambda: 'method="tools/list"' in ssh(HOSTS[name], logged).stdout, "it is not in the file", seconds=10)


def test_check_health_shows_every_node():
    done = play("erlmcp.ops.check_health", HOSTS)
    assert done.rc == 0, done.output
    assert done.changed == set()
    for node in NODES:
        assert f"{node}: release 1.0.0, healthy" in done.output


def test_check_health_fails_when_a_node_is_down_or_does_not_run_its_application_and_names_it():
    _first, victim, idle = HOSTS
    ssh(HOSTS[victim], "systemctl stop erlmcp")
    ssh(HOSTS[idle], "erlmcp eval 'application:stop(erlmcp).'")
    try:
        # The level at which a node that does not serve answers all the same.
        options = {"erlmcp_cluster_wait_seconds": 1, "erlmcp_health_level": "ping"}
        done = play("erlmcp.ops.check_health", HOSTS, options)
    finally:
        ssh(HOSTS[victim], "systemctl start erlmcp")
        ssh(HOSTS[idle], "erlmcp eval 'application:ensure_all_started(erlmcp, permanent).'")
    assert done.rc != 0
    assert {host: list(codes) for host, codes in done.page.items()} == {
        victim: ["ERLMCP_NODE_DOWN"],
        idle: ["ERLMCP_NODE_UNHEALTHY"],
    }
    assert "ERLMCP_NODE_DOWN: erlmcp.service is inactive" in done.messages
    assert f"not erlmcp@{victim}" in done.output
    assert f"erlmcp@{idle} answers, and application erlmcp has not started, or has ended" in done.messages
    assert play("erlmcp.ops.check_health", HOSTS).rc == 0


def test_module_defaults_give_the_node_once(tmp_path):
    name = next(iter(HOSTS))
    playbook = tmp_path / "playbook.yml"
    playbook.write_text(
        f"""
- hosts: {name}
  gather_facts: false
  module_defaults:
    group/erlmcp.ops.ops:
      node: {{name: "erlmcp@{name}", home_dir: /etc/erlmcp/home}}
  tasks:
    - erlmcp.ops.node_info:
        health: {{required_level: ping}}
        assert_healthy: true
"""
    )
    done = play(str(playbook), HOSTS)
    assert done.rc == 0, done.output


def test_a_node_comes_back_after_a_crash():
    name = next(iter(HOSTS))
    before = ssh(HOSTS[name], "systemctl show -P MainPID erlmcp").stdout
    ssh(HOSTS[name], f"kill -KILL {before.strip()}")
    done = play("erlmcp.ops.check_health", HOSTS)
    assert done.rc == 0, done.messages
    assert ssh(HOSTS[name], "systemctl show -P MainPID erlmcp").stdout != before


def test_an_epmd_that_has_ended_is_named_and_started_and_nobody_else_is_blamed():
    name, address = next(iter(HOSTS.items()))
    pid = ssh(address, "systemctl show -P MainPID erlmcp").stdout
    ssh(address, "systemctl stop erlmcp-epmd")
    told = f"erlmcp@{name} cannot be found by others: epmd does not answer on port 4369 (Connection refused)"
    try:
        found = play("erlmcp.ops.check_health", HOSTS, {"erlmcp_cluster_wait_seconds": 1})
        # A test before this one has killed the node.
        assert {host: set(codes) - {"ERLMCP_RESTARTED"} for host, codes in found.page.items()} == {
            name: {"ERLMCP_EPMD"}
        }
        assert told in found.messages
        refused = play("erlmcp.ops.restart", HOSTS, {"erlmcp_cluster_force": True})
        assert (
            f"erlmcp@{name} is left running, because it cannot be asked how the other members are" in refused.messages
        )
        assert "is not connected" not in refused.messages
        expected = {
            (name, "erlmcp.ops.erlmcp_node : Ensure directories, cookie, control command and units are laid down")
        }
        foreseen = play("erlmcp.ops.site", HOSTS, options=["--check"])
        assert (foreseen.rc, foreseen.changed) == (0, expected), foreseen.messages
        done = play("erlmcp.ops.site", HOSTS)
        assert (done.rc, done.changed) == (0, expected), done.messages
    finally:
        ssh(address, "systemctl start erlmcp-epmd")
    assert ssh(address, "erlmcp ping").stdout == "pong\n"
    assert ssh(address, "systemctl show -P MainPID erlmcp").stdout == pid


def test_a_crash_dump_is_bounded_for_the_account_alone_and_in_no_archive():
    address = next(iter(HOSTS.values()))
    dump = "/var/log/erlmcp/erl_crash.dump"
    ssh(address, "kill -USR1 $(systemctl show -P MainPID erlmcp)")
    wait_until(lambda: "LIMIT REACHED" in ssh(address, f"tail -c 100 {dump}", check=False).stdout, "no dump was cut")
    size, found = ssh(address, f"stat -c '%s %U:%G:%a' {dump}").stdout.split()
    # The line that says so comes on top.
    assert 200000 <= int(size) < 200100
    assert found == "erlmcp:erlmcp:640"
    wait_until_healthy(address)
    ssh(address, f"mv {dump} /var/lib/erlmcp/moved-away; cp -p /var/lib/erlmcp/moved-away {dump}")
    try:
        for method in ("hot", "stop", "cold"):
            stopped = "systemctl stop erlmcp; " if method == "cold" else ""
            archive = f"{stopped}erlmcp-ops backup --method {method} > /dev/null && ls -t /var/backups/erlmcp/*.tar.zst"
            inside = ssh(address, f"tar --zstd -tf $({archive} | head -n 1)", timeout=120).stdout
            assert "logs/erlmcp.log" in inside
            assert "crash" not in inside
            assert "moved-away" not in inside
    finally:
        ssh(address, f"systemctl start erlmcp; rm {dump} /var/lib/erlmcp/moved-away")
    wait_until_healthy(address)


def test_the_backup_of_the_night_runs_with_the_python_of_the_inventory(tmp_path):
    name, address = list(HOSTS.items())[2]
    ssh(address, "cp -L /usr/bin/python3 /usr/local/bin/python-of-ours")
    inventory = tmp_path / "python.yml"
    inventory.write_text(f"all: {{hosts: {{{name}: {{ansible_python_interpreter: /usr/local/bin/python-of-ours}}}}}}\n")
    options = ["--limit", name, "--tags", "erlmcp_backup"]
    ours = play("erlmcp.ops.site", HOSTS, options=["-i", str(inventory), *options])
    assert ours.rc == 0, ours.messages
    ssh(address, "mv /usr/bin/python3 /usr/bin/python3.gone")
    try:
        ssh(address, "systemctl start erlmcp-backup", timeout=120)
    finally:
        ssh(address, "mv /usr/bin/python3.gone /usr/bin/python3")
    back = play("erlmcp.ops.site", HOSTS, options=options)
    assert back.rc == 0, back.messages


def test_clients_get_their_certificates_before_the_nodes_talk_tls(tmp_path):
    """In the order in which README.md says it."""
    given = {"erlmcp_tls_clients": ["early"], "erlmcp_tls_ca_dir": str(tmp_path / "ca")}
    for changed in (True, False):
        done = play("erlmcp.ops.client_certificates", HOSTS, given)
        assert done.rc == 0, done.messages
        assert bool(done.changed) == changed
    client = tmp_path / "clients" / "early"
    subprocess.run(["openssl", "verify", "-CAfile", client / "ca.pem", client / "cert.pem"], check=True)


def test_sigterm_stops_the_node_cleanly():
    address = next(iter(HOSTS.values()))
    since = ssh(address, "date +%s.%N").stdout.strip()
    ssh(address, "systemctl stop erlmcp")
    try:
        assert ssh(address, "systemctl show -P Result erlmcp").stdout == "success\n"
    finally:
        ssh(address, "systemctl start erlmcp")
    assert play("erlmcp.ops.check_health", HOSTS).rc == 0
    # What was not closed is told by the next start.
    log = ssh(address, f"journalctl -u erlmcp -o cat --since=@{since}").stdout
    assert "store loaded" in log
    assert "repair" not in log


def test_a_start_script_that_fails_without_a_word_is_explained_and_so_is_the_limit_of_starts():
    name, address = next(iter(HOSTS.items()))
    script = "/opt/erlmcp/current/bin/erlmcp"
    ssh(address, f"printf '#!/bin/sh\\nexit 1\\n' > {script}")
    try:
        ssh(address, "systemctl restart erlmcp", check=False)
        # systemd has started it when the command is there, and the command takes a while to fail.
        told = "journalctl -u erlmcp -n 40 -o cat | grep -q 'the start script failed before Erlang ran'"
        ssh(address, f"for each in $(seq 100); do {told} && exit; sleep 0.1; done; exit 1")
        active = "systemctl show -P ActiveState erlmcp"
        wait_until(lambda: ssh(address, active).stdout == "failed\n", "systemd starts it again and again")
        silent = ssh(address, "erlmcp ping", check=False).stderr
        assert "erlmcp.service has failed, and systemd does not start it any more: journalctl -u erlmcp" in silent
        found = play("erlmcp.ops.check_health", HOSTS, {"erlmcp_cluster_wait_seconds": 1})
        assert list(found.page) == [name]
        assert list(found.page[name]) == ["ERLMCP_RELEASE_DAMAGED", "ERLMCP_NODE_DOWN"]
        assert "is damaged: bin/erlmcp missing or changed" in found.messages
        assert "erlmcp.service has failed (exit-code, status 1) after" in found.messages
        assert re.search("journal: erlmcp: .*: the start script failed before Erlang ran", found.messages), (
            found.messages
        )
    finally:
        done = play("erlmcp.ops.site", HOSTS)
    assert (done.rc, done.changed) == (
        0,
        {
            (name, "erlmcp.ops.erlmcp_release : Ensure the release is laid down"),
            (name, "erlmcp.ops.erlmcp_cluster : Bring the node to what is on disk"),
        },
    )


def test_a_cookie_that_the_node_refuses_is_named():
    name, address = list(HOSTS.items())[1]
    cookie = "/etc/erlmcp/home/.erlang.cookie"
    ssh(address, f"cp -p {cookie} /var/tmp/kept; echo another > {cookie}")
    try:
        silent = ssh(address, "erlmcp ping", check=False).stderr
        found = play("erlmcp.ops.check_health", HOSTS, {"erlmcp_cluster_wait_seconds": 1})
        remedy = play("erlmcp.ops.site", HOSTS).messages
        before = ssh(address, "systemctl show -P MainPID erlmcp").stdout
        mended = play("erlmcp.ops.site", HOSTS, {"erlmcp_node_cookie_replace": True})
        assert mended.rc == 0, mended.messages
        assert ssh(address, "systemctl show -P MainPID erlmcp").stdout == before
        assert play("erlmcp.ops.check_health", HOSTS).page == {}
    finally:
        ssh(address, f"cat /var/tmp/kept > {cookie}; rm /var/tmp/kept")
    assert f"erlmcp@{name} refuses the cookie in {cookie}: it runs with another one" in silent
    assert list(found.page[name]) == ["ERLMCP_DISTRIBUTION"]
    assert f"erlmcp@{name} does not answer over distribution: it refuses the cookie in {cookie}" in found.messages
    assert "changed by hand" in remedy
    assert "erlmcp_node_cookie_replace: true" in remedy


def test_what_was_not_laid_down_is_named_with_the_command_that_mends_it_and_the_rest_is_mended():
    name, address = list(HOSTS.items())[2]
    ssh(address, "install -m 0600 /dev/null /var/lib/erlmcp/mnesia/restored; chown root /var/log/erlmcp/erlmcp.log")
    # The node goes on, since it can still write there.
    ssh(address, "chgrp root /var/lib/erlmcp; chmod 0755 /var/lib/erlmcp")
    # What it can neither read nor replace.
    ssh(address, "echo garbage > /var/lib/logrotate/status; systemctl start logrotate", check=False)
    told = (
        f"erlmcp@{name}: /var/lib/erlmcp/mnesia/restored (root:root 0600) cannot be written by erlmcp, so the node",
        f"erlmcp@{name}: /var/log/erlmcp/erlmcp.log (root:erlmcp 0640) cannot be written by erlmcp, so the node",
        f"erlmcp@{name}: logrotate.service has failed (exit-code)",
    )
    foreseen = play("erlmcp.ops.site", HOSTS, options=["--check"])
    done = play("erlmcp.ops.site", HOSTS)
    for played in (foreseen, done):
        assert [line for line in told if line not in played.warnings] == []
    assert done.changed == foreseen.changed != set()
    assert ssh(address, "stat -c '%U %a' /var/lib/erlmcp").stdout == "erlmcp 750\n"
    named = play("erlmcp.ops.check_health", HOSTS)
    assert named.rc != 0
    assert {host: sorted(codes) for host, codes in named.page.items()} == {
        name: ["ERLMCP_NOT_WRITABLE", "ERLMCP_SERVICE_FAILED"]
    }
    refused = play("erlmcp.ops.restart", HOSTS)
    assert refused.rc != 0
    assert f"erlmcp@{name} could not start again: /var/lib/erlmcp/mnesia/restored" in refused.messages
    assert refused.changed == set()
    for command in re.findall(r"do: (?:Give it back|Once that is mended): (.*)", named.messages):
        ssh(address, command)
    assert play("erlmcp.ops.check_health", HOSTS).page == {}


def test_a_crash_is_explained_by_its_slogan():
    address = next(iter(HOSTS.values()))
    ssh(address, """erlmcp eval 'erlang:halt("as in a test").'""", check=False)
    told = "journalctl -u erlmcp -n 40 -o cat | grep 'Erlang has crashed: as in a test'"
    wait_until(lambda: ssh(address, told, check=False).stdout, "it is not explained")
    wait_until_healthy(address)
    ssh(address, "rm /var/log/erlmcp/erl_crash.dump")


@EACH
def test_an_unknown_path_is_not_health(name):
    assert http(HOSTS[name], 8080, "/nope")[0] == 404
