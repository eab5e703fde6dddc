# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the balancer is given: a configuration made of the inventory, and states that outlive a reload."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

ROLE = Path(__file__).parents[3] / "roles" / "erlmcp_load_balancer"

# One cluster a balancer, whose variables are those of its group alone.
CLUSTERS = {
    "guide": {
        "hosts": {
            "n2.test": {"ansible_host": "10.0.0.2"},
            "n1.test": {"ansible_host": "10.0.0.1", "erlmcp_address": "fd00::1"},
            "n3.test": {"ansible_host": "10.0.0.3"},
        }
    },
    "own": {
        "hosts": {"n4.test": {"erlmcp_mcp_port": 6005}, "n5.test": {}},
        "vars": {
            "ansible_host": "10.0.0.4",
            "erlmcp_http_port": 9090,
            "erlmcp_health_path": "/mcp/health?a=b#c",
            "erlmcp_health_status_value": "it's fine (#1)",
        },
    },
    "bare": {"hosts": {"n6.test": {"ansible_host": "10.0.0.6"}}, "vars": {"erlmcp_http_enabled": False}},
    "http": {
        "hosts": {"n7.test": {"ansible_host": "10.0.0.7"}},
        "vars": {"erlmcp_mcp_enabled": False, "erlmcp_health_status_key": ""},
    },
}

# The role's tasks have no such tag; its variables are there, and its arguments are validated.
PLAYBOOK = """
- hosts: balancers
  gather_facts: false
  roles: [erlmcp.ops.erlmcp_load_balancer]
  post_tasks:
    - ansible.builtin.template: {src: haproxy.cfg.j2, dest: "{{ playbook_dir }}/{{ inventory_hostname }}.cfg"}
      tags: [render]
    - ansible.builtin.template: {src: keep-states.sh.j2, dest: "{{ playbook_dir }}/{{ inventory_hostname }}.sh"}
      tags: [render]
"""


@pytest.fixture(name="rendered", scope="module")
def _rendered(tmp_path_factory):
    """The directory with a configuration and a script for each balancer, named like its cluster."""
    directory = tmp_path_factory.mktemp("balancers")
    (directory / "templates").symlink_to(ROLE / "templates")
    (directory / "playbook.yml").write_text(PLAYBOOK)
    balancers = {
        f"{name}-balancer": {"erlmcp_hosts_group": name, "erlmcp_cluster_leaving": ["n3.test"]} for name in CLUSTERS
    }
    balancers["own-balancer"]["erlmcp_load_balancer_connections_per_source"] = 0
    inventory = {"all": {"children": {**CLUSTERS, "balancers": {"hosts": balancers}}}}
    (directory / "hosts.yml").write_text(json.dumps(inventory))
    internals = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "__erlmcp_load_balancer_socket": str(directory / "socket"),
        "__erlmcp_load_balancer_states": str(directory / "states"),
    }
    done = subprocess.run(
        ["ansible-playbook", "-i", "hosts.yml", "--tags", "render", "-e", json.dumps(internals), "playbook.yml"],
        cwd=directory,
        # So that nobody's cookie is touched: a balancer needs none.
        env={**os.environ, "HOME": str(directory), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return directory


def section(rendered, cluster, name):
    """Return the lines of a section, or ``None``."""
    text = (rendered / f"{cluster}-balancer.cfg").read_text()
    found = re.search(rf"^(?:listen|frontend) {name}\n((?:    .*\n)*)", text, re.MULTILINE)
    return found and [line.strip() for line in found[1].splitlines()]


def servers(rendered, cluster, name):
    return [line for line in section(rendered, cluster, name) if line.startswith("server ")]


def test_the_servers_are_the_nodes_that_stay_in_the_order_of_the_inventory(rendered):
    assert servers(rendered, "guide", "erlmcp_mcp") == [
        "server n2.test 10.0.0.2:5005 port 8080",
        "server n1.test fd00::1:5005 port 8080",
    ]
    assert servers(rendered, "guide", "erlmcp_http") == [
        "server n2.test 10.0.0.2:8080",
        "server n1.test fd00::1:8080",
    ]
    assert "maxconn 100000" in (rendered / "guide-balancer.cfg").read_text()


def test_ports_and_health_are_those_of_the_nodes(rendered):
    assert servers(rendered, "own", "erlmcp_mcp") == [
        "server n4.test 10.0.0.4:6005 port 9090",
        "server n5.test 10.0.0.4:5005 port 9090",
    ]
    assert "bind *:8080" in section(rendered, "own", "erlmcp_http")
    text = (rendered / "own-balancer.cfg").read_text()
    assert "http-check send meth GET uri '/mcp/health?a=b#c' ver" in text


def test_one_source_has_a_tenth_of_all_connections_unless_it_is_to_have_all(rendered):
    assert "tcp-request connection reject if { sc0_conn_cur gt 10000 }" in section(rendered, "guide", "erlmcp_mcp")
    assert "tcp-request connection reject if { sc0_conn_cur gt 10000 }" in section(rendered, "guide", "erlmcp_http")
    assert "stick-table" not in (rendered / "own-balancer.cfg").read_text()


def test_a_release_without_a_listener_gets_none_for_it(rendered):
    assert section(rendered, "bare", "erlmcp_http") is None
    assert servers(rendered, "bare", "erlmcp_mcp") == ["server n6.test 10.0.0.6:5005"]
    assert "httpchk" not in (rendered / "bare-balancer.cfg").read_text()
    assert section(rendered, "http", "erlmcp_mcp") is None
    assert "rstring" not in (rendered / "http-balancer.cfg").read_text()


def test_every_configuration_has_a_version_of_its_own(rendered):
    versions = {re.search(r"string ([0-9a-f]{64}) if", path.read_text())[1] for path in rendered.glob("*.cfg")}
    assert len(versions) == len(CLUSTERS)


@pytest.mark.skipif(not shutil.which("haproxy"), reason="needs HAProxy")
@pytest.mark.parametrize("cluster", CLUSTERS)
def test_haproxy_finds_it_valid(rendered, cluster):
    done = subprocess.run(
        ["haproxy", "-c", "-f", rendered / f"{cluster}-balancer.cfg"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    # The only one, which is about the states that there are none of yet.
    assert done.stderr.count("[WARNING]") == 1, done.stderr


def keep_states(rendered, tools, nc):
    """Run the script at a reload of the balancer ``own``; ``nc`` is a shell command in the place of the program."""
    (tools / "nc").write_text(f"#!/bin/sh\n{nc}\n")
    (tools / "nc").chmod(0o755)
    (rendered / "states").write_text("of an earlier reload")
    (rendered / "socket").unlink(missing_ok=True)
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(rendered / "socket"))
        return subprocess.run(
            ["sh", rendered / "own-balancer.sh"],
            env={"PATH": f"{tools}:{os.environ['PATH']}", "CONFIG": str(rendered / "own-balancer.cfg")},
            check=False,
        )


def test_a_reload_keeps_the_states_and_takes_the_ports_of_the_configuration(rendered, tmp_path):
    fields = "10.0.0.4 2 8 1 1 3 15 3 4 6 0 0 0 - 5005 - 0 9090 - - 9090"
    told = ["1", "# be_id be_name …", f"2 erlmcp_mcp 1 n4.test {fields}", f"2 erlmcp_mcp 2 gone.test {fields}", "", ""]
    (tmp_path / "told").write_text("\n".join(told))
    assert keep_states(rendered, tmp_path, f"cat > {tmp_path}/asked; cat {tmp_path}/told").returncode == 0
    assert (tmp_path / "asked").read_text() == "show servers state\n"
    kept = (rendered / "states").read_text().splitlines()
    assert kept[0] == "1"
    assert kept[2] == "2 erlmcp_mcp 1 n4.test 10.0.0.4 2 8 1 1 3 15 3 4 6 0 0 0 - 6005 - 0 9090 - - 0"
    assert kept[3] == told[3]


def test_states_that_cannot_be_read_end_the_reload(rendered, tmp_path):
    assert keep_states(rendered, tmp_path, "exit 1").returncode != 0
    assert not (rendered / "states").exists()
