# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Three nodes are destroyed; their rows come back on three hosts with other names."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from backuplib import content, put
from testlib import Hosts, Mcp, health, play, reachable, ssh

SCENARIO = Path(__file__).parents[1]
LOST = Hosts(SCENARIO)
FOUND = Hosts(SCENARIO, "replacement")
TABLES = ("erlmcp_session", "erlmcp_item")


def evaluate(address, text):
    return ssh(address, f'erlmcp eval "{" ".join(text.split())}"').stdout.strip()


def hosts(*arguments):
    shared = SCENARIO.parent / "shared"
    subprocess.run([sys.executable, shared / "hosts.py", *arguments], check=True, stdout=subprocess.DEVNULL)


def test_a_cluster_comes_back_on_machines_with_other_names(tmp_path):
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

    replacement = {"erlmcp_hosts": "replacement"}
    provisioned = play("erlmcp.ops.site", FOUND, replacement)
    assert provisioned.rc == 0, provisioned.messages
    recover = {
        **replacement,
        "erlmcp_backup_restore_from": str(tmp_path),
        "erlmcp_backup_restore_map": dict(zip(FOUND, LOST)),
    }
    shown = play("erlmcp.ops.restore", FOUND, recover, ["--check"])
    assert shown.rc == 0, shown.messages
    assert "a.found.test (erlmcp@a.found.test) gets erlmcp-n1.lost.test-" in shown.output
    assert all(content(address)[1] == 0 for address in FOUND.values())

    started = time.monotonic()
    done = play("erlmcp.ops.restore", FOUND, recover)
    print(f"restored in {time.monotonic() - started:.1f} s")
    assert done.rc == 0, done.messages

    names = {f"erlmcp@{name}" for name in FOUND}
    for number, address in enumerate(FOUND.values()):
        assert health(address)["status"] == "healthy"
        found = content(address)
        assert (found[0], found[1], found[3], found[4]) == (wanted[0], wanted[1], 0, wanted[4])
        assert found[2] == audit[number]
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


def test_a_node_that_cannot_be_restored_takes_the_others_back(tmp_path):
    addresses = list(FOUND.values())
    before = [content(address) for address in addresses]
    replacement = {"erlmcp_hosts": "replacement", "erlmcp_backup_fetch_dir": str(tmp_path)}
    assert play("erlmcp.ops.backup", FOUND, replacement).rc == 0
    put(addresses[0], 5, "later")
    wanted = [content(address) for address in addresses]
    assert wanted != before
    # Whatever is restored, this host will not serve with it.
    ssh(addresses[2], "mkdir -p /etc/systemd/system/erlmcp.service.d")
    ssh(
        addresses[2],
        "printf '[Service]\\nExecStartPre=/bin/sh -c \"! ls -d /var/lib/erlmcp.before-restore-*\"\\n' "
        "> /etc/systemd/system/erlmcp.service.d/fail.conf && systemctl daemon-reload",
    )
    ssh(addresses[2], "rm -rf /var/lib/erlmcp.before-restore-*")
    source = {"erlmcp_backup_restore_from": str(tmp_path), "erlmcp_backup_restore_start_timeout_seconds": 20}
    done = play("erlmcp.ops.restore", FOUND, {"erlmcp_hosts": "replacement", **source})
    assert done.rc != 0
    assert "Every node has back what it had" in done.messages
    assert all(health(address)["status"] == "healthy" for address in addresses)
    ssh(addresses[2], "rm -r /etc/systemd/system/erlmcp.service.d && systemctl daemon-reload")
    assert [content(address) for address in addresses] == wanted


def test_one_node_of_a_shared_schema_is_not_restored_among_running_ones():
    before = [content(address) for address in FOUND.values()]
    done = play("erlmcp.ops.restore", FOUND, {"erlmcp_hosts": "a.found.test"})
    assert done.rc != 0
    assert "shares its tables with erlmcp@b.found.test, erlmcp@c.found.test" in done.messages
    assert [content(address) for address in FOUND.values()] == before
