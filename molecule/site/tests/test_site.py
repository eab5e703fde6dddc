# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ordinary life of a cluster on hosts as they are where people work; ``converge.yml`` says what was set up there.

Each test goes on where the one before it ended.
"""

from __future__ import annotations

import json
from pathlib import Path

from backuplib import content, put
from testlib import Hosts, Mcp, play, reachable, ssh

SCENARIO = Path(__file__).parents[1]
HOSTS = Hosts(SCENARIO)
NEW = {"erlmcp_release_archive": "{{ __releases }}/erlmcp-1.1.0.tar.gz"}
((_NAME, BALANCER),) = Hosts(SCENARIO, "erlmcp_balancers").items()
(FIRST, ONE), (SECOND, OTHER) = HOSTS.items()


def run(playbook, variables=None, options=()):
    done = play(f"erlmcp.ops.{playbook}", HOSTS, variables, options)
    assert done.rc == 0, done.messages
    return done


def peers(address):
    return ssh(address, "erlmcp eval 'nodes().'").stdout.strip()


def prove(rows):
    """Both nodes serve the same rows, and nobody finds anything wrong."""
    assert content(ONE)[:2] == content(OTHER)[:2] == rows
    assert run("check_health").page == {}


def test_the_hosts_are_as_administrators_set_them_up():
    for name, address in HOSTS.items():
        assert ssh(address, f"getent -s files ahostsv4 {name}").stdout.split()[0] == "127.0.1.1"
        assert ssh(address, "su - operator -c umask").stdout.strip() == "0077"
        assert "/tmp/user/" in ssh(address, "su - operator -c 'echo $TMPDIR'").stdout
        assert ssh(address, "su operator -c 'sudo -n true'", check=False).returncode != 0
        assert ssh(address, "cp /bin/true /tmp/true; /tmp/true", check=False).returncode == 126


def test_what_check_predicts_is_done_and_then_nothing_is_left_to_do():
    fresh = run("site", options=["--check", "--diff"])
    done = run("site")
    assert {(host, task) for host, task in fresh.changed if host in HOSTS} <= done.changed
    assert run("site").changed == set()
    assert run("site", options=["--check", "--diff"]).changed == set()


def test_the_nodes_are_found_by_name_from_their_own_host_and_from_the_other():
    assert peers(ONE) == f"['erlmcp@{SECOND}']"
    assert peers(OTHER) == f"['erlmcp@{FIRST}']"
    for address in HOSTS.values():
        assert ssh(address, "erlmcp ping").stdout.strip() == "pong"
    listening = set(ssh(ONE, "ss -Htln 'sport = 4369' | awk '{print $4}'").stdout.split())
    assert listening == {f"{place}:4369" for place in (ONE, "127.0.0.1", "127.0.1.1", "[::1]")}


def test_what_the_site_has_set_up_stays():
    for address in (*HOSTS.values(), BALANCER):
        assert "7777" in ssh(address, "ufw show added").stdout
    assert all(reachable(address, 5005) for address in (*HOSTS.values(), BALANCER))
    assert not any(reachable(address, 4369) for address in HOSTS.values())


def test_an_upgrade_behind_the_balancer_loses_no_row():
    with Mcp(BALANCER) as client:
        client.call("put", key="through the balancer", value="1")
    put(ONE, 50)
    rows = content(ONE)[:2]
    run("upgrade", NEW)
    for address in HOSTS.values():
        assert ssh(address, "cat /run/erlmcp/started.release").stdout.strip() == "1.1.0"
    prove(rows)


def test_backups_are_fetched_and_the_newest_is_restored_on_both_nodes(tmp_path):
    rows = content(ONE)[:2]
    run("backup", {"erlmcp_backup_fetch_dir": str(tmp_path)})
    for name in HOSTS:
        (proof,) = tmp_path.glob(f"erlmcp-{name}-*.verified.json")
        assert json.loads(proof.read_text())["level"] == "bytes"
    put(OTHER, 20, prefix="later")
    assert content(ONE)[:2] != rows
    # Both get it from one archive, which goes over the control node.
    run("restore")
    prove(rows)


def test_the_cookie_is_replaced_while_the_nodes_run():
    rows = content(ONE)[:2]
    read = "sha256sum < /etc/erlmcp/home/.erlang.cookie"
    before = ssh(ONE, read, check=False).stdout
    run("rotate_cookie")
    assert before != ssh(ONE, read).stdout == ssh(OTHER, read).stdout
    prove(rows)


def test_a_node_leaves_with_all_rows_kept_and_comes_back():
    rows = content(ONE)[:2]
    run("leave_cluster", {"erlmcp_cluster_leaving": SECOND})
    assert content(ONE)[:2] == rows
    run("site", {**NEW, "erlmcp_node_readmit": True})
    prove(rows)
