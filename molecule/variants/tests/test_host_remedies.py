# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a refusal of the command on a host names is done at once, and helps."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from backuplib import ops, pid
from testlib import Hosts, play, ssh

NODES = Hosts(Path(__file__).parents[1], "erlmcp", "bare")
FIRST, SECOND = NODES.values()
FIRST_NAME, SECOND_NAME = NODES
LIMIT = ["--limit", FIRST_NAME]


def refused(*arguments):
    status, told = ops(FIRST, *arguments, check=False)
    assert status == 1, told
    return told


def excluded(told):
    return re.search(r"add '(\S+)' to erlmcp_backup_exclude", told)[1]


def start(address):
    """Start the node, and return when it answers: the next test may stop it at once."""
    ssh(address, "systemctl start erlmcp; until erlmcp ping; do sleep 0.1; done")


def test_another_nodes_archive_goes_in_with_the_options_that_the_refusals_name():
    archive = ops(SECOND, "backup")[1]["archive"]
    # Outside of the store, under the name that it was made with.
    there = f"/var/tmp/{Path(archive).name}"
    ssh(FIRST, f"base64 --decode > {there}", ssh(SECOND, f"base64 {archive}").stdout)
    ssh(FIRST, "touch /var/lib/erlmcp/of-the-first")
    try:
        name = re.search(r"on the host (--node-name \S+=\S+)", refused("restore", there))[1]
        part = re.search(r"on the host (--\S+)\)", refused("restore", there, name))[1]
        assert ops(FIRST, "restore", there, name, part)[1]["health"]["healthy"]
        assert ssh(FIRST, "ls /var/lib/erlmcp").stdout == ""
    finally:
        ssh(FIRST, f"rm -rf {there} /var/lib/erlmcp.* /var/lib/erlmcp/of-the-first")


def test_a_node_that_is_stopped_is_backed_up_by_the_method_that_the_refusal_names():
    ssh(FIRST, "systemctl stop erlmcp")
    try:
        method = re.search(r"erlmcp_backup_method: (\w+)", refused("backup"))[1]
        ops(FIRST, "backup", "--method", method)
    finally:
        start(FIRST)
    method = re.search(r"erlmcp_backup_method: (\w+)", refused("backup", "--method", method))[1]
    ops(FIRST, "backup", "--method", method)


def test_a_console_without_a_terminal_is_refused_and_the_question_asked_as_that_says():
    done = ssh(FIRST, "erlmcp remote_console", "node().\n", check=False)
    assert done.returncode == 64
    verb = re.search(r"without one, ask with (\w+)$", done.stderr.strip())[1]
    assert ssh(FIRST, f"erlmcp {verb} 'node().'").stdout == f"'erlmcp@{FIRST_NAME}'\n"


def test_a_node_is_restarted_beside_one_that_is_down_with_every_risk_that_the_refusals_name():
    # Of a run that was killed on another control node.
    locked = ["ansible", "-i", NODES.inventory, SECOND_NAME, "-m", "erlmcp.ops.cluster_lock", "-a", "what=an_upgrade"]
    subprocess.run(locked, check=True, capture_output=True)
    ssh(SECOND, """sed -i 's/"host": "[^"]*"/"host": "elsewhere"/' /run/erlmcp-ops/erlmcp.cluster-lock""")
    ssh(FIRST, "systemctl stop erlmcp")
    before, variables = pid(SECOND), {"erlmcp_cluster_wait_seconds": 1, "erlmcp_cluster_force": True}
    try:
        for risk in ("lock_break", "restart_gate"):
            done = play("erlmcp.ops.restart", NODES, variables, ["--limit", SECOND_NAME])
            assert (done.rc, pid(SECOND)) == (2, before)
            name, value = re.search(r"(erlmcp_cluster_\w+)(?:: |=)(true|false)", done.messages).groups()
            assert name == f"erlmcp_cluster_{risk}"
            variables[name] = value == "true"
        done = play("erlmcp.ops.restart", NODES, variables, ["--limit", SECOND_NAME])
    finally:
        start(FIRST)
    assert pid(SECOND) not in ("0", before)
    # The risk was taken, and the cluster is not whole all the same.
    assert f"does not see erlmcp@{FIRST_NAME}" in done.messages


def test_a_file_that_is_unfit_for_an_archive_is_left_out_as_the_refusals_say_it():
    ssh(FIRST, "runuser -u erlmcp -- truncate -s 2G '/var/lib/erlmcp/holes[1]'")
    holes = excluded(refused("backup"))
    ssh(FIRST, "rm /var/lib/erlmcp/holes*")
    # It takes a while to be read, and meanwhile it is written to.
    ssh(FIRST, "truncate -s 500M /var/lib/erlmcp/busy")
    ssh(FIRST, "systemd-run --quiet --unit=busy sh -c 'while :; do touch /var/lib/erlmcp/busy; done'")
    try:
        busy = excluded(refused("backup"))
        ssh(FIRST, "runuser -u erlmcp -- truncate -s 2G '/var/lib/erlmcp/holes[1]'")
        done = play("erlmcp.ops.backup", NODES, {"erlmcp_backup_exclude": [holes, busy]}, LIMIT)
    finally:
        ssh(FIRST, "systemctl stop busy; rm -f /var/lib/erlmcp/busy /var/lib/erlmcp/holes*")
    assert done.rc == 0, done.messages


def test_data_that_is_a_mount_point_goes_where_the_refusal_says_and_is_restored_there():
    mount, below = "/var/lib/erlmcp", "/var/lib/erlmcp/below"
    archive = ops(FIRST, "backup")[1]["archive"]
    ssh(FIRST, f"mount --bind {mount} {mount} && touch {mount}/kept")
    told = refused("restore", archive)
    given = re.search(
        r"stop the node, move its data to a directory below, give \S+ to root \((chown root \S+)\), set "
        r"(erlmcp_data_dir) to the directory below, and run the playbook (\w+)",
        told,
    )
    command, variable, playbook = given.groups()
    ssh(FIRST, f"systemctl stop erlmcp; mkdir {below}; mv {mount}/kept {below}; {command}")
    done = play(f"erlmcp.ops.{playbook}", NODES, {variable: below}, LIMIT)
    assert done.rc == 0, done.messages
    ops(FIRST, "backup")
    ssh(FIRST, f"rm {below}/kept")
    # Nothing was restored here yet.
    verb = re.search(r"an archive of before instead \(erlmcp-ops (\w+) shows them\)", refused("restore", "--undo"))[1]
    archive = ops(FIRST, verb)[1]["backups"][-1]["name"]
    assert ops(FIRST, "restore", archive)[1]["health"]["healthy"]
    assert ssh(FIRST, f"ls {below}").stdout == "kept\n"


SETTINGS, ASIDE = "/etc/erlmcp-ops/erlmcp.json", "/var/tmp/settings.json"
# What a host loses, to what is refused then.
LOSSES = {
    # The test before may have left the data below.
    f"sed 's,/below,,' {SETTINGS} > {ASIDE}; sed -i 's/{{/{{\"of_old\": 1, /' {SETTINGS}": "erlmcp-ops list",
    f"echo '{{}}' > {SETTINGS}": "erlmcp-ops backup",
    f"rm {SETTINGS}": "erlmcp-ops list",
    "systemctl stop erlmcp": "erlmcp ping",
    "rm /etc/systemd/system/erlmcp.service; systemctl daemon-reload": f"erlmcp-ops --settings {ASIDE} drill",
    "dpkg --purge --force-depends zstd": f"erlmcp-ops --settings {ASIDE} verify",
    "umount -q /var/lib/erlmcp; rm -r /var/lib/erlmcp": f"erlmcp-ops --settings {ASIDE} backup",
    "mkdir /var/lib/erlmcp; rm /opt/erlmcp/current": f"erlmcp-ops --settings {ASIDE} restore latest",
    "true": "erlmcp versions",
}


def test_what_a_host_has_lost_is_brought_back_by_the_playbook_that_all_refusals_name():
    ops(FIRST, "backup")
    named = []
    for loss, command in LOSSES.items():
        ssh(FIRST, loss)
        done = ssh(FIRST, command, check=False)
        assert done.returncode != 0, (loss, command)
        named.append(re.findall(r"playbook (\w+)", done.stderr))
    assert named == [["site"]] * len(LOSSES)
    done = play("erlmcp.ops.site", NODES, options=LIMIT)
    assert done.rc == 0, done.messages
    for command in LOSSES.values():
        ssh(FIRST, command)
