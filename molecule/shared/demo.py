# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asks each node of the demo what an operator would, and prints how to ask it."""

from __future__ import annotations

from pathlib import Path

from testlib import CACHE, Hosts, Mcp, http, ssh

SEEN = "erlmcp eval '[node() | nodes()].'"


def show(name, address):
    metrics = http(address, 9090, "/metrics")[1].splitlines()
    with Mcp(address) as client:
        server = client.server["serverInfo"]
    print(f"\n{name}")
    print(f"  curl http://{address}:8080/health\n    {http(address, 8080, '/health')[1]}")
    print(f"  curl http://{address}:9090/metrics\n    {next(each for each in metrics if each.startswith('erlmcp_'))}")
    print(f"  MCP initialize on {address}:5005\n    {server['name']} {server['version']}")
    print(f"  members it sees\n    {ssh(address, SEEN).stdout.strip()}")


def main():
    hosts = Hosts(Path(__file__).parents[1] / "default")
    print("\nNodes of the reference release (a stand-in for erlmcp), and what they answer:")
    for name, address in hosts.items():
        show(name, address)
    options = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
    print(f"\nLog in: ssh -i {CACHE / 'ssh' / 'id_ed25519'} {options} root@{next(iter(hosts.values()))}")
    print("On a node: erlmcp ping, erlmcp remote_console, journalctl -u erlmcp. Stop them: make clean")


if __name__ == "__main__":
    main()
