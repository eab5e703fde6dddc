# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the scenarios' tests share: run playbooks, talk to hosts and nodes, watch who is down."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import yaml

CACHE = Path(os.environ.get("ERLMCP_OPS_CACHE", "/var/cache/erlmcp-ops"))
RELEASES = CACHE / "releases" / "current"


class Hosts(dict):
    """Names to addresses of a scenario's hosts, in the order of its inventory."""

    def __init__(self, scenario_dir, *groups):
        """:param groups: the way down the inventory to the hosts' group; without any, ``erlmcp``."""
        self.inventory = str(Path(scenario_dir) / "inventory")
        group = yaml.safe_load((Path(self.inventory) / "hosts.yml").read_text())["all"]
        for name in groups or ("erlmcp",):
            group = group["children"][name]
        super().__init__({name: variables["ansible_host"] for name, variables in group["hosts"].items()})

    def restore(self):
        """Give all hosts of the scenario what they had when it began; return when the cluster is whole again."""
        hosts_py = Path(__file__).with_name("hosts.py")
        subprocess.run([sys.executable, hosts_py, "restore", f"{self.inventory}/hosts.yml"], check=True)
        self.wait_until_whole()

    def wait_until_whole(self):
        """Wait after a boot of all hosts: nodes serve and see each other, and every balancer has found them."""
        for address in self.values():
            wait_until_healthy(address)
        wait_until(lambda: {*map(_peers, self.values())} == {len(self) - 1}, "the nodes do not see each other")
        groups = yaml.safe_load((Path(self.inventory) / "hosts.yml").read_text())["all"]["children"]
        for balancer in groups.get("erlmcp_balancers", {}).get("hosts", {}).values():
            address = balancer["ansible_host"]
            wait_until(lambda address=address: {*_found(address)} == {"UP"}, "the balancer does not find the nodes")

    def part(self, directory, names):
        """Return these of the hosts as the group ``erlmcp`` of an inventory of their own, made below ``directory``."""
        part = type(self).__new__(type(self))
        dict.__init__(part, {name: self[name] for name in names})
        made = Path(directory) / "-".join(name.partition(".")[0] for name in names)
        made.mkdir()
        (made / "group_vars").symlink_to(Path(self.inventory).resolve() / "group_vars")
        hosts = {name: {"ansible_host": address} for name, address in part.items()}
        (made / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": {"erlmcp": {"hosts": hosts}}}}))
        part.inventory = str(made)
        return part


@dataclass
class Played:
    """How a playbook went."""

    rc: int
    output: str
    report: dict = field(default_factory=dict)

    @property
    def changed(self):
        """(host, task) pairs that reported a change; role names are part of the task's name."""
        return {
            (host, task["task"]["name"])
            for play in self.report.get("plays", [])
            for task in play["tasks"]
            for host, result in task["hosts"].items()
            if result.get("changed")
        }

    @property
    def messages(self):
        """The messages of failed tasks."""
        return "\n".join(
            f"{host}: {result.get('msg', '')}"
            for play in self.report.get("plays", [])
            for task in play["tasks"]
            for host, result in task["hosts"].items()
            if result.get("failed")
        )

    @property
    def page(self):
        """What the playbook ``check_health`` found: host to code to the command that mends it."""
        (hosts,) = (
            result["ansible_facts"]["__erlmcp_health_page"]["hosts"]
            for play in self.report["plays"]
            for task in play["tasks"]
            if task["task"]["name"] == "Judge what was found"
            for result in task["hosts"].values()
        )
        return {
            host: {row["code"]: row["remedy"].replace("{host}", host) for row in found["checks"]}
            for host, found in hosts.items()
            if found["checks"]
        }

    @property
    def warnings(self):
        """What modules warned of."""
        return "\n".join(
            warning
            for play in self.report.get("plays", [])
            for task in play["tasks"]
            for result in task["hosts"].values()
            for warning in result.get("warnings", [])
        )


def command_line(playbook, hosts, variables=None, options=()):
    extra = ["--extra-vars", json.dumps(variables)] if variables else []
    return ["ansible-playbook", "-i", hosts.inventory, playbook, *extra, *options]


def play(playbook, hosts, variables=None, options=()):
    """Run a playbook and return what it reported."""
    done = subprocess.run(
        command_line(playbook, hosts, variables, options),
        capture_output=True,
        text=True,
        env={**os.environ, "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json", "ANSIBLE_NOCOLOR": "1"},
        check=False,
        timeout=900,
    )
    output = done.stdout + done.stderr
    # Alone on its line: what modules print of themselves stands before it.
    start = done.stdout.find("{\n")
    report = json.loads(done.stdout[start:]) if start >= 0 else {}
    return Played(done.returncode, output, report)


def start(playbook, hosts, variables=None, options=()):
    """Start a playbook in a process group of its own, to be killed half-way."""
    return subprocess.Popen(
        command_line(playbook, hosts, variables, options),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1"},
        start_new_session=True,
    )


def kill_after(process, *markers, times=1, timeout=120):
    """Kill a started playbook when it has printed all markers in turn, ``times`` times; return what it printed."""
    printed, awaited = [], list(markers) * times
    deadline = time.monotonic() + timeout
    for line in process.stdout:
        printed.append(line)
        if awaited[0] in line:
            awaited.pop(0)
        if not awaited:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return "".join(printed)
        if time.monotonic() > deadline:
            break
    raise AssertionError(f"{awaited[0]!r} was not printed:\n{''.join(printed)}")


def ssh_command(address, command, terminal=False):
    """Return the command line that runs a shell command on a host as root."""
    return [
        "ssh",
        *("-i", str(CACHE / "ssh" / "id_ed25519")),
        *("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"),
        *("-o", "BatchMode=yes", "-o", "ConnectTimeout=5"),
        *(["-tt"] if terminal else []),
        f"root@{address}",
        command,
    ]


# With a login for each command, ssh and sshd took a tenth of the processors. hosts.py forgets these with the host.
SHARED_LOGIN = ("ControlMaster=auto", "ControlPersist=60s", f"ControlPath={CACHE}/cp/%h-%p-%r-test")


def ssh(address, command, typed="", check=True, timeout=60, terminal=False):
    """Run a shell command on a host as root; ``typed`` is its input, from a ``terminal`` if that matters to it."""
    program, *arguments = ssh_command(address, command, terminal)
    shared = [word for option in SHARED_LOGIN for word in ("-o", option)]
    done = subprocess.run(
        [program, *shared, *arguments],
        input=typed,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )
    if check:
        assert done.returncode == 0, f"{address}: {command}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done


def console(address, expression, meanwhile=lambda: None, seconds=30):
    """Open a remote console, type an expression when it is ready, and close it; return what the terminal showed.

    :param meanwhile: called while the console is open; its result is returned as the second value.
    """
    process = subprocess.Popen(
        ssh_command(address, "ROOTS_SECRET=x erlmcp remote_console", terminal=True),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
    )
    shown = b""

    def read_until(text):
        nonlocal shown
        deadline = time.monotonic() + seconds
        while text not in shown:
            left = deadline - time.monotonic()
            ready = select.select([process.stdout], [], [], max(left, 0))[0]
            part = process.stdout.read(4096) if ready else b""
            assert part, shown.decode("utf-8", "replace")
            shown += part

    try:
        read_until(b")1> ")
        process.stdin.write(f"{expression}\r".encode())
        read_until(b")2> ")
        result = meanwhile()
    finally:
        process.kill()
        process.communicate()
    return shown.decode("utf-8", "replace").replace("\r\n", "\n"), result


def http(address, port, path, timeout=3):
    """Return (status, text) of a GET."""
    try:
        with urllib.request.urlopen(f"http://{address}:{port}{path}", timeout=timeout) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def health(address, timeout=3):
    """Return the health document, or ``None`` when nothing answers."""
    try:
        return json.loads(http(address, 8080, "/health", timeout)[1])
    except OSError:
        return None


def wait_until(condition, otherwise, seconds=60):
    """Wait for something that happens by itself; ``otherwise`` is what the test fails with."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.2)


def wait_until_healthy(address, seconds=60):
    """Wait for a node that was started without waiting for it."""
    deadline = time.monotonic() + seconds
    while (health(address) or {}).get("status") != "healthy":
        assert time.monotonic() < deadline, ssh(address, "journalctl -u erlmcp -n 30 -o cat").stdout
        time.sleep(0.2)


def _found(balancer):
    """What its health checks say of each server of each backend."""
    lines = ssh(balancer, "echo 'show stat' | nc -N -U /run/haproxy/erlmcp.sock").stdout.splitlines()
    columns = lines[0].removeprefix("# ").split(",")
    rows = [dict(zip(columns, line.split(","))) for line in lines[1:] if line]
    return [row["status"] for row in rows if row["svname"] not in ("FRONTEND", "BACKEND")]


def _peers(address):
    answer = ssh(address, "erlmcp eval 'length(nodes()).'", check=False)
    return int(answer.stdout) if answer.returncode == 0 else None


def reachable(address, port, timeout=2):
    """Whether a TCP connection from this machine is accepted."""
    with closing(socket.socket()) as connection:
        connection.settimeout(timeout)
        return connection.connect_ex((address, port)) == 0


class Mcp:
    """A client of the MCP port: JSON-RPC, one message a line.

    :param tls: an ``ssl.SSLContext``, or a function that returns one; ``None`` for plain TCP.
    """

    def __init__(self, address, port=5005, session=None, tls=None):
        self.connection = socket.create_connection((address, port), timeout=10)
        if tls:
            context = tls() if callable(tls) else tls
            self.connection = context.wrap_socket(self.connection, server_hostname=address)
        self.lines = self.connection.makefile("rw", encoding="utf-8", newline="\n")
        self.number = 0
        params = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "0"}}
        if session:
            params["_meta"] = {"sessionId": session}
        self.server = self.ask("initialize", params)

    def ask(self, method, params=None):
        """Send one request and return its result; an error answer raises."""
        self.number += 1
        self.lines.write(
            json.dumps({"jsonrpc": "2.0", "id": self.number, "method": method, "params": params or {}}) + "\n"
        )
        self.lines.flush()
        answer = json.loads(self.lines.readline())
        assert answer["id"] == self.number, answer
        assert "error" not in answer, answer
        return answer["result"]

    def call(self, tool, **arguments):
        return self.ask("tools/call", {"name": tool, "arguments": arguments})

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self.connection.close()


class Threads:
    """Does the same in some threads while the ``with`` lasts; ``stopped`` tells them to end.

    :param work: what a thread calls with one of ``arguments``, a list of tuples.
    """

    def __init__(self, work, arguments):
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=work, args=each, daemon=True) for each in arguments]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_exception):
        self.stopped.set()
        for thread in self.threads:
            thread.join()


class Watch(Threads):
    """Asks the health of every node all the time, to prove which were down together.

    >>> with Watch(hosts) as watch: ...
    >>> watch.most_down_together()
    """

    def __init__(self, hosts, interval=0.1):
        self.hosts = hosts
        self.interval = interval
        self.samples = {name: [] for name in hosts}
        super().__init__(self._look, hosts.items())

    def _look(self, name, address):
        while not self.stopped.is_set():
            asked = time.monotonic()
            answer = health(address, timeout=2)
            serves = answer is not None and answer["status"] == "healthy"
            self.samples[name].append((asked, time.monotonic(), serves))
            time.sleep(self.interval)

    def outages(self, name):
        """(start, end) of each time the node did not serve, from the last good answer to the next."""
        found, since, last_good = [], None, None
        for asked, answered, serves in self.samples[name]:
            if serves:
                if since is not None:
                    found.append((since, asked))
                since, last_good = None, answered
            elif since is None:
                since = last_good if last_good is not None else asked
        if since is not None:
            found.append((since, float("inf")))
        return found

    def most_down_together(self):
        """The largest number of nodes that were down at one moment."""
        # A node's last good answer is not yet an outage: only samples that failed count as moments.
        moments = sorted(
            asked for samples in self.samples.values() for asked, _answered, serves in samples if not serves
        )
        certain = {name: self._certain(name) for name in self.hosts}
        return max((sum(any(a <= m <= b for a, b in certain[name]) for name in self.hosts) for m in moments), default=0)

    def _certain(self, name):
        """(first failed, last failed) question of each outage: down for certain in between."""
        found, first, last = [], None, None
        for asked, answered, serves in self.samples[name]:
            if not serves:
                first, last = (asked if first is None else first), answered
            elif first is not None:
                found.append((first, last))
                first = None
        if first is not None:
            found.append((first, last))
        return found
