# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who gets in where everything talks TLS, and that certificates and CAs are exchanged while the cluster serves."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import pytest
from hostile import HostileNode
from loadlib import McpLoad
from testlib import CACHE, Hosts, Mcp, Threads, console, play, ssh

SCENARIO = Path(__file__).parents[1]
HOSTS = Hosts(SCENARIO)
BALANCER = Hosts(SCENARIO, "erlmcp_balancers")["lb.tls.test"]
NODES = {name: f"erlmcp@{name}" for name in HOSTS}
FIRST, SECOND = HOSTS
ADDRESS = HOSTS[FIRST]
PORTS = (5005, 8080, 9090)
PKI = CACHE / "pki" / FIRST
CLIENT = PKI / "clients" / "test"


def openssl(*arguments):
    return subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, text=True).stdout


def context(directory=CLIENT, authorities=CLIENT / "ca.pem", check_hostname=True):
    """Return a client's context with what is on disk now."""
    made = ssl.create_default_context(cafile=str(authorities))
    made.check_hostname = check_hostname
    if directory:
        made.load_cert_chain(str(directory / "cert.pem"), str(directory / "key.pem"))
    return made


def health(address, tls):
    with urllib.request.urlopen(f"https://{address}:8080/health", timeout=5, context=tls) as response:
        return json.load(response)["status"]


def served(address, port):
    """Return the serial number and the issuer of the certificate that a port serves."""
    connection = socket.create_connection((address, port), timeout=5)
    with context(check_hostname=False).wrap_socket(connection) as secured:
        seen = secured.getpeercert()
    return seen["serialNumber"], dict(pair[0] for pair in seen["issuer"])["commonName"]


def is_answered(address, port, tls):
    """Whether a client gets an answer; in TLS 1.3 a server tells only then that it does not want the client.

    :param tls: a context, or ``None`` for plain TCP.
    """
    try:
        connection = socket.create_connection((address, port), timeout=5)
        secured = tls.wrap_socket(connection, server_hostname=address) if tls else connection
        with secured:
            request = b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}\n'
            secured.sendall(request if port == 5005 else b"GET /health HTTP/1.1\r\nHost: test\r\n\r\n")
            return secured.recv(4096).startswith((b"{", b"HTTP/1.1 "))
    except OSError:
        return False


def pids():
    return {name: ssh(address, "systemctl show -P MainPID erlmcp").stdout.strip() for name, address in HOSTS.items()}


def members(name):
    return set(json.loads(ssh(HOSTS[name], "erlmcp eval '[node() | nodes()].'").stdout.replace("'", '"')))


class Authority:
    """A CA of the test's own."""

    def __init__(self, directory):
        self.directory = directory
        openssl("req", "-x509", *self._key("ca"), "-days", 2, "-subj", "/CN=stranger", "-out", directory / "ca.pem")

    def _key(self, name):
        key = self.directory / f"{name}.key"
        return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-keyout", key)

    def issue(self, host, days=2):
        """Return a directory with a certificate for a host and its key."""
        made = self.directory / host
        made.mkdir()
        signed = ("-CA", self.directory / "ca.pem", "-CAkey", self.directory / "ca.key", "-days", days)
        names = ("-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}")
        openssl("req", "-x509", *self._key(f"{host}/key"), *names, *signed, "-out", made / "cert.pem")
        (made / "key.key").rename(made / "key.pem")
        return made


@pytest.fixture(name="stranger", scope="module")
def _stranger(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("stranger"))


@pytest.fixture(scope="module", autouse=True)
def _client():
    done = play("erlmcp.ops.client_certificates", HOSTS, {"erlmcp_tls_clients": ["test"]})
    assert done.rc == 0, done.messages


def expired():
    """Return a directory with a certificate that the cluster's own CA has issued, and that has ended."""
    made = CLIENT.parent / "expired"
    made.mkdir(exist_ok=True)
    issuer = (PKI / "ca" / "issuer.pem").resolve()
    passphrase = f"file:{PKI / 'ca' / 'passphrase'}"
    openssl("req", "-new", "-key", CLIENT / "key.pem", "-subj", "/CN=expired", "-out", made / "request.pem")
    signed = ("-CA", issuer, "-CAkey", PKI / "ca" / "keys" / issuer.name, "-passin", passphrase)
    openssl("x509", "-req", "-in", made / "request.pem", *signed, "-days", -1, "-out", made / "cert.pem")
    (made / "key.pem").write_bytes((CLIENT / "key.pem").read_bytes())
    return made


def test_a_client_with_a_certificate_is_served_and_nobody_else(stranger):
    of_others = stranger.issue("client.example")
    for port in PORTS:
        assert is_answered(ADDRESS, port, context(check_hostname=False)), port
        assert not is_answered(ADDRESS, port, None), f"{port}: plain TCP"
        assert not is_answered(ADDRESS, port, context(None, check_hostname=False)), f"{port}: no certificate"
        assert not is_answered(ADDRESS, port, context(of_others, check_hostname=False)), f"{port}: of another CA"
        assert not is_answered(ADDRESS, port, context(expired(), check_hostname=False)), f"{port}: expired"


@pytest.mark.parametrize("port", PORTS)
def test_old_versions_of_tls_are_refused(port):
    client = ("-cert", CLIENT / "cert.pem", "-key", CLIENT / "key.pem", "-CAfile", CLIENT / "ca.pem")
    # Security level 0, or the client itself would refuse.
    command = ["openssl", "s_client", "-connect", f"{ADDRESS}:{port}", *client, "-cipher", "ALL:@SECLEVEL=0"]

    def cipher(version):
        done = subprocess.run([*map(str, command), version], input="", capture_output=True, text=True, check=False)
        return "Cipher is (NONE)" not in done.stdout

    assert [cipher(version) for version in ("-tls1_2", "-tls1_1", "-tls1")] == [True, False, False]


def test_clients_find_the_name_they_connect_to_in_the_certificate():
    assert health(ADDRESS, context()) == "healthy"
    assert health(BALANCER, context()) == "healthy"
    for address in (ADDRESS, BALANCER):
        with Mcp(address, tls=context()) as client:
            assert client.call("echo", message="hello")["content"][0]["text"] == "hello"


def test_the_balancer_wants_certificates_too(stranger):
    of_others = stranger.issue("balancer.example")
    assert not is_answered(BALANCER, 8080, None)
    assert not is_answered(BALANCER, 8080, context(None))
    assert not is_answered(BALANCER, 8080, context(of_others))


# Of an attacker, who checks nothing.
_OPTIONS = "[{{server, [{files}, {{verify, verify_peer}}]}}, {{client, [{files}, {{verify, verify_none}}]}}]."


def ping(directory, cookie, tls=True):
    """Return what ``net_adm:ping`` says from the first host, with the certificate in a directory there."""
    files = ", ".join(
        f'{{{key}, "{directory}/{file}"}}'
        for key, file in (("certfile", "cert.pem"), ("keyfile", "key.pem"), ("cacertfile", "ca.pem"))
    )
    options = _OPTIONS.format(files=files)
    script = f"""
set -eu
umask 077
home=$(mktemp -d)
printf %s '{cookie}' > $home/.erlang.cookie
chmod 400 $home/.erlang.cookie
cat > $home/options <<'END'
{options}
END
release=$(readlink -f /opt/erlmcp/current)
erts=$(echo $release/erts-*/bin)
export HOME=$home ROOTDIR=$release BINDIR=$erts EMU=beam PROGNAME=erl ERL_EPMD_PORT=4369
timeout 20 $erts/erlexec -boot $(echo $release/releases/*/start_clean.boot | sed 's/.boot$//') -mode interactive \
    -boot_var SYSTEM_LIB_DIR $release/lib -pa $release/lib/*/ebin -noinput -hidden -name stranger@{FIRST} \
    -dist_listen false -start_epmd false {"-proto_dist inet_tls -ssl_dist_optfile $home/options" if tls else ""} \
    -kernel logger_level none \
    -eval 'io:format("~p", [net_adm:ping(list_to_atom("{NODES[SECOND]}"))]), halt().'
rm -rf $home
"""
    return ssh(ADDRESS, script).stdout.strip()


def laid_down(directory, authorities):
    """Copy a certificate and its key to the first host, and what they trust; return the directory there."""
    there = f"/var/tmp/{directory.name}"
    ssh(ADDRESS, f"install -d -m 0700 {there}")
    for path, name in (
        (directory / "cert.pem", "cert.pem"),
        (directory / "key.pem", "key.pem"),
        (authorities, "ca.pem"),
    ):
        ssh(ADDRESS, f"cat > {there}/{name}", typed=path.read_text())
    return there


def test_a_node_needs_the_cookie_and_a_certificate(stranger):
    right = ssh(ADDRESS, "cat /etc/erlmcp/home/.erlang.cookie").stdout.strip()
    wrong = "A" * 48
    of_others = laid_down(stranger.issue(FIRST), CLIENT / "ca.pem")
    assert ping("/etc/erlmcp/certs", right) == "pong"
    assert ping("/etc/erlmcp/certs", wrong) == "pang"
    assert ping(of_others, right) == "pang"
    assert ping(of_others, right, tls=False) == "pang"


def test_the_tools_of_an_operator_work_over_tls():
    for name, address in HOSTS.items():
        assert ssh(address, "erlmcp ping").stdout.strip() == "pong"
        assert members(name) == set(NODES.values())
    assert ssh(ADDRESS, "erlmcp rpc erlang node").stdout.strip().strip("'") == NODES[FIRST]
    assert ssh(ADDRESS, "erlmcp pid").stdout.strip() == pids()[FIRST]
    done = play("erlmcp.ops.check_health", HOSTS)
    assert done.rc == 0, done.messages
    done = play("erlmcp.ops.backup", HOSTS, {"erlmcp_hosts": FIRST})
    assert done.rc == 0, done.messages


def terminals_in_use():
    return ssh(ADDRESS, "ps -eo tty=,args= | grep -e [r]emsh -e '[s]ystemd-run'").stdout.splitlines()


OPEN = "/var/tmp/open.json"
WITHOUT_RECIPIENTS = f"""
import json
settings = json.load(open("/etc/erlmcp-ops/erlmcp.json"))
json.dump({{**settings, "recipients": []}}, open("{OPEN}", "w"))
"""


def back_up_verify_and_drill(address):
    """With an archive that is not encrypted, so that its tables are read."""
    ssh(address, "python3 -", typed=WITHOUT_RECIPIENTS)
    for command in ("backup", "verify", "drill"):
        ssh(address, f"ROOTS_SECRET=x erlmcp-ops {command} --settings {OPEN}", timeout=120)
    ssh(address, f"rm $(ls -t /var/backups/erlmcp/*.zst | head -n 1)* {OPEN}")


def test_a_node_in_an_attackers_hands_runs_nothing_outside_of_its_sandbox():
    """Who asks over TLS, or opens a console, is an Erlang that the node can make run anything: Debian 12's and 13's."""
    with ExitStack() as stack:
        hostile = [stack.enter_context(HostileNode(address)) for address in HOSTS.values()]
        for node in hostile:
            assert node.evaluate("timer:sleep(1500), asked.").strip() == "asked"
        shown, terminals = console(ADDRESS, "timer:sleep(1000), 1 + 41.", terminals_in_use)
        assert "42" in shown
        assert "42" in console(HOSTS[SECOND], "timer:sleep(1000), 1 + 41.")[0]
        for _attempt in range(3):
            assert play("erlmcp.ops.check_health", HOSTS).rc == 0
        for address in HOSTS.values():
            back_up_verify_and_drill(address)
    for node in hostile:
        assert node.victims() == {"ctl", "ops", ""}, node.told
        assert node.escaped() == []
    # Nothing can be typed into root's terminal from another one.
    of = {line.split()[1].rpartition("/")[2][:7]: line.split()[0] for line in terminals}
    assert len({of["systemd"], of["beam.sm"]}) == 2, terminals


def test_a_running_cluster_is_not_split_by_a_change_of_protocol():
    before = pids()
    done = play("erlmcp.ops.site", HOSTS, {"erlmcp_tls_distribution_enabled": False})
    assert done.rc != 0
    assert "Stop the unit erlmcp on all hosts of the cluster" in done.messages
    assert pids() == before
    assert ssh(ADDRESS, "ls /etc/erlmcp/next", check=False).returncode != 0


def test_an_end_that_is_near_is_warned_of_and_no_reason_to_replace_anything():
    near = {"erlmcp_tls_renew_days": 398, "erlmcp_tls_days": 399}
    done = play("erlmcp.ops.site", HOSTS, near, ["--tags", "erlmcp_tls"])
    assert done.rc == 0, done.messages
    assert not done.changed
    assert done.output.count("run the playbook rotate_tls") == len(HOSTS) + 1


@pytest.mark.parametrize("given", ["none", "another"])
def test_a_control_node_without_the_ca_of_the_hosts_changes_nothing(given, tmp_path):
    """A second operator: every playbook that would make a CA, or use a wrong one, refuses before it does."""
    wrong = tmp_path / "ca"
    if given == "another":
        (wrong / "trusted").mkdir(parents=True)
        stranger = Authority(tmp_path)
        (wrong / "trusted" / "1.pem").write_text((stranger.directory / "ca.pem").read_text())
        (wrong / "issuer.pem").symlink_to("trusted/1.pem")
    before = sorted(tmp_path.rglob("*")), {(name, port): served(HOSTS[name], port) for name in HOSTS for port in PORTS}
    variables = {"erlmcp_tls_ca_dir": str(wrong), "erlmcp_tls_clients": ["another"], "erlmcp_tls_renew": "always"}
    has = "none" if given == "none" else "another one"
    for playbook, options in (
        ("site", ["--check"]),
        *((name, []) for name in ("site", "client_certificates", "introduce_ca", "rotate_tls")),
    ):
        done = play(f"erlmcp.ops.{playbook}", HOSTS, variables, options)
        assert done.rc != 0, playbook
        assert f"trusts 1 CA(s), and this control node has {has}" in done.messages, (playbook, done.messages)
        assert not done.changed, playbook
    assert (sorted(tmp_path.rglob("*")), {key: served(HOSTS[key[0]], key[1]) for key in before[1]}) == before


class HealthLoad(Threads):
    """Asks the balancer for the health of a node all the time, each time over a new connection."""

    def __init__(self):
        self.answers, self.failures = 0, []
        super().__init__(self._ask_on, [()])

    def _ask_on(self):
        while not self.stopped.wait(0.2):
            try:
                assert health(BALANCER, context()) == "healthy"
                self.answers += 1
            except (OSError, AssertionError) as error:
                self.failures.append((time.strftime("%H:%M:%S"), repr(error)))


@pytest.fixture(name="under_load")
def _under_load(shown):
    """Function that runs a playbook while clients are served, none of whom may notice; keeps what it printed."""

    def run(name, **variables):
        with McpLoad(BALANCER, calls_per_session=4, tls=context) as mcp, HealthLoad() as http:
            done = play(f"erlmcp.ops.{name}", HOSTS, {"erlmcp_tls_clients": ["test"], **variables}, ["-vvv", "--diff"])
        assert done.rc == 0, done.messages
        shown[name] = done.output
        assert mcp.requests > 100
        assert not mcp.failures, mcp
        assert http.answers > 20
        assert not http.failures, http.failures
        return done

    return run


def test_certificates_are_rotated_while_the_cluster_serves(under_load):
    before, running = {(name, port): served(HOSTS[name], port) for name in HOSTS for port in PORTS}, pids()
    at_balancer = served(BALANCER, 8080)
    assert play("erlmcp.ops.check_health", HOSTS).page == {}
    done = under_load("rotate_tls", erlmcp_tls_renew="always", erlmcp_tls_days=20, erlmcp_tls_renew_days=10)
    assert done.changed
    for (name, port), (serial, issuer) in before.items():
        now = served(HOSTS[name], port)
        assert now[0] != serial, (name, port)
        assert now[1] == issuer
    assert served(BALANCER, 8080)[0] != at_balancer[0]
    assert pids() == running
    due = play("erlmcp.ops.check_health", HOSTS)
    assert due.page == {
        host: {"ERLMCP_CERTIFICATE": "ansible-playbook erlmcp.ops.rotate_tls"} for host in (*HOSTS, "lb.tls.test")
    }
    mended = play("erlmcp.ops.rotate_tls", HOSTS)
    assert mended.rc == 0, mended.messages
    assert play("erlmcp.ops.check_health", HOSTS).page == {}


def test_the_ca_is_replaced_while_the_cluster_serves(tmp_path, under_load):
    running = pids()
    _serial, old = served(ADDRESS, 5005)
    # A client that the operator forgets.
    forgotten = tmp_path / "forgotten"
    forgotten.mkdir()
    for name in ("cert.pem", "key.pem"):
        (forgotten / name).write_bytes((CLIENT / name).read_bytes())

    def forgotten_is_served():
        return [is_answered(ADDRESS, port, context(forgotten, check_hostname=False)) for port in PORTS]

    under_load("introduce_ca")
    assert served(ADDRESS, 5005)[1] == old
    under_load("replace_ca")
    assert {served(address, port)[1] != old for address in HOSTS.values() for port in PORTS} == {True}
    assert forgotten_is_served() == [True] * len(PORTS)
    under_load("retire_ca")
    assert forgotten_is_served() == [False] * len(PORTS)
    assert not is_answered(BALANCER, 8080, context(forgotten))
    assert pids() == running
    # The nodes have not lost each other, and the distribution takes the new CA and not the old one.
    assert all(members(name) == set(NODES.values()) for name in HOSTS)
    cookie = ssh(ADDRESS, "cat /etc/erlmcp/home/.erlang.cookie").stdout.strip()
    assert ping(laid_down(forgotten, CLIENT / "ca.pem"), cookie) == "pang"
    assert ping("/etc/erlmcp/certs", cookie) == "pong"
    again = play("erlmcp.ops.rotate_tls", HOSTS)
    assert again.rc == 0, again.messages
    assert not again.changed


def test_a_ca_that_is_lost_is_replaced_in_the_same_three_steps(tmp_path):
    running = pids()
    _serial, lost = served(ADDRESS, 5005)
    (PKI / "ca").rename(tmp_path / "lost")
    client = {"erlmcp_tls_clients": ["test"]}
    for playbook, variables in (
        ("introduce_ca", {**client, "erlmcp_tls_ca_adopt": "true"}),
        ("replace_ca", client),
        ("retire_ca", client),
    ):
        done = play(f"erlmcp.ops.{playbook}", HOSTS, variables)
        assert done.rc == 0, done.messages
        assert is_answered(ADDRESS, 5005, context(check_hostname=False))
        assert is_answered(BALANCER, 8080, context(check_hostname=False))
    assert served(ADDRESS, 5005)[1] != lost
    assert all(members(name) == set(NODES.values()) for name in HOSTS)
    assert pids() == running
