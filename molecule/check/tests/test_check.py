# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""--check on hosts where nothing is installed, and on a cluster that a change is due for."""

from __future__ import annotations

from pathlib import Path

import pytest
from testlib import Hosts, play, ssh

HOSTS = Hosts(Path(__file__).parents[1])
# Not what nodes and journal write all the time, nor where apt notes what it only simulates.
NOISE = (
    "/var/lib/erlmcp",
    "/var/lib/systemd",
    "/var/log/erlmcp",
    "/var/log/journal",
    "/var/log/apt",
    "/var/log/lastlog",
    "/var/log/wtmp",
)
STATE = (
    "find /etc /opt /usr/local /var/lib /var/log -xdev "
    + " ".join(f"-path {path} -prune -o" for path in NOISE)
    + " -type f -printf '%p %s %T@ %u %m\\n'"
)

# What each of the roles has to do something for: in one change, as each run takes a minute.
CHANGE = {
    "erlmcp_node_log_level": "debug",
    "erlmcp_node_open_files_limit": 70000,
    "erlmcp_release_archive": "{{ __releases }}/erlmcp-1.1.0.tar.gz",
    "erlmcp_backup_schedule": "*-*-* 03:15",
    "erlmcp_backup_keep_days": 14,
    "erlmcp_firewall_monitor_addresses": ["10.83.0.2"],
}

CONFIG = "erlmcp_node : Ensure the config set is laid down"
FILES = "erlmcp_node : Ensure directories, cookie, control command and units are laid down"
BACKUP = "erlmcp_backup : Ensure command, settings, store and timer are laid down"
FIREWALL = "erlmcp_firewall : Ensure the firewall lets in what the rules say and nothing else"


def state():
    return {(name, line) for name, address in HOSTS.items() for line in ssh(address, STATE).stdout.splitlines()}


@pytest.fixture(name="fresh", scope="module")
def _fresh():
    """(predicted, done) of the first run on fresh hosts."""
    before = state()
    predicted = play("erlmcp.ops.site", HOSTS, options=["--check", "--diff"])
    assert predicted.rc == 0, predicted.messages
    assert state() ^ before == set()
    done = play("erlmcp.ops.site", HOSTS)
    assert done.rc == 0, done.messages
    return predicted, done


def test_on_fresh_hosts_check_predicts_what_the_run_changes(fresh):
    predicted, done = fresh
    assert predicted.changed == done.changed
    assert len(done.changed) >= 8 * len(HOSTS)


def test_on_a_running_cluster_check_predicts_what_the_run_changes(fresh):
    assert fresh[1].rc == 0
    before = state()
    predicted = play("erlmcp.ops.site", HOSTS, CHANGE, ["--check", "--diff"])
    assert predicted.rc == 0, predicted.messages
    assert state() ^ before == set()
    done = play("erlmcp.ops.site", HOSTS, CHANGE)
    assert done.rc == 0, done.messages
    assert predicted.changed == done.changed
    assert len(done.changed) >= 5 * len(HOSTS)


def test_a_hand_edit_is_seen_and_undone(fresh):
    assert fresh[1].rc == 0
    name, address = next(iter(HOSTS.items()))
    ssh(address, "echo '# by hand' >> /etc/erlmcp/vm.args")
    predicted = play("erlmcp.ops.site", HOSTS, CHANGE, ["--check", "--diff"])
    assert {host for host, _task in predicted.changed} == {name}
    done = play("erlmcp.ops.site", HOSTS, CHANGE)
    assert done.changed == predicted.changed
    assert "by hand" not in ssh(address, "cat /etc/erlmcp/vm.args").stdout
    assert "by hand" in ssh(address, "cat /etc/erlmcp/previous/vm.args").stdout


# What is done to a host, and the one task of site that undoes it. Of each role one kind a host and round: otherwise one
# that nobody asks about would be found because another one is.
ROUNDS = (
    (
        {
            "usermod --shell /bin/sh erlmcp": "erlmcp_node : Ensure the account exists",
            "echo '# by hand' >> /etc/logrotate.d/erlmcp": "erlmcp_logrotate : Ensure the rotation is laid down",
            "systemctl stop erlmcp-backup.timer": BACKUP,
            "nft delete table inet erlmcp_ops": FIREWALL,
        },
        {
            "ln -sfn releases/1.1.0 /opt/erlmcp/next": "erlmcp_release : Ensure the release is laid down",
            'ln -sfn "$(readlink /etc/erlmcp/previous)" /etc/erlmcp/next': CONFIG,
            "dpkg --purge logrotate": "erlmcp_logrotate : Ensure logrotate is installed",
            "echo >> /etc/erlmcp-ops/erlmcp.json": BACKUP,
            "rm /etc/nftables.d/erlmcp_ops.nft": FIREWALL,
        },
    ),
    (
        {
            "chmod 0644 /etc/erlmcp/home": FILES,
            "rm /etc/systemd/system/timers.target.wants/erlmcp-backup.timer": BACKUP,
            "systemctl stop erlmcp": "erlmcp_cluster : Bring the node to what is on disk",
        },
        {
            "rm /etc/systemd/system/multi-user.target.wants/erlmcp.service": FILES,
            "chmod 0755 /var/backups/erlmcp": BACKUP,
        },
    ),
)


@pytest.mark.parametrize("spoilt", ROUNDS, ids=["first", "second"])
def test_whatever_differs_is_found_by_the_one_question_and_undone_by_its_role(fresh, spoilt):
    assert fresh[1].rc == 0
    expected = set()
    for (name, address), commands in zip(HOSTS.items(), spoilt):
        for command, task in commands.items():
            ssh(address, command)
            expected.add((name, f"erlmcp.ops.{task}"))
    predicted = play("erlmcp.ops.site", HOSTS, CHANGE, ["--check", "--diff"])
    assert predicted.changed == expected
    done = play("erlmcp.ops.site", HOSTS, CHANGE)
    assert done.rc == 0, done.messages
    assert done.changed == expected


@pytest.mark.parametrize("options", [[], ["--check", "--diff"]], ids=["run", "check"])
def test_afterwards_there_is_nothing_left_to_do(fresh, options):
    assert fresh[1].rc == 0
    assert play("erlmcp.ops.site", HOSTS, CHANGE, options).changed == set()
