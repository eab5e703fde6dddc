# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An attacker who runs code in the node gets nowhere, and the node lacks nothing.

What is tried runs in the live node, as Erlang and as commands of its own: in its sandbox and as its account.
"""

from __future__ import annotations

import base64
import json
import re
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from testlib import Hosts, Mcp, play, ssh, wait_until_healthy

DIRECTORY = Path(__file__).parents[1]
BARE, BOOKWORM, TRIXIE = (Hosts(DIRECTORY, "erlmcp", name) for name in ("bare", "system_erlang", "trixie"))
FILTERED = {**BOOKWORM, **TRIXIE}
ON_EACH_SUITE = pytest.mark.parametrize("address", [next(iter(hosts.values())) for hosts in (BOOKWORM, TRIXIE)])
UNITS = ("erlmcp", "erlmcp-epmd")

# What systemd-analyze holds against a service that serves a network, from the host's own root directory.
HELD_AGAINST = {
    "RestrictAddressFamilies=~AF_(INET|INET6)",
    "PrivateNetwork=",
    "RootDirectory=/RootImage=",
    "IPAddressDeny=",
    # ProtectClock=, which is worth more, allows to read the clock's device.
    "DeviceAllow=",
}
HELD_AGAINST_NODE = HELD_AGAINST | {"RestrictAddressFamilies=~AF_UNIX", "ProcSubset=", "UMask="}

OTHERS_DIRECTORIES = (
    "/home/other",
    "/tmp/other",
    "/var/tmp/other",
    "/dev/shm/other",
    "/srv/other",
    "/opt/erlmcp/other",
    "/etc/erlmcp/other",
    "/etc/systemd/system/other",
)

# Numbers are those of the C library's headers.
FORBIDDEN_CALLS = """
import ctypes, errno, mmap, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    ctypes.set_errno(0)
    print(name, errno.errorcode.get(ctypes.get_errno()) if getattr(libc, name)(*arguments) == -1 else "SUCCEEDED")
def python(name, function):
    try:
        function()
        print(name, "SUCCEEDED")
    except OSError as error:
        print(name, errno.errorcode[error.errno])
call("mount", b"none", b"/var/lib/erlmcp", b"tmpfs", 0, None)
call("unshare", 0x10000000)
call("ptrace", 0, 0, 0, 0)
call("personality", 0x0040000)
call("reboot", 0)
call("swapoff", b"/nowhere")
call("sethostname", b"mine", 4)
call("chroot", b"/var/lib/erlmcp")
call("setresuid", 0, 0, 0)
call("chown", b"/var/lib/erlmcp", os.getuid(), os.getgid())
call("setpriority", 0, 0, 5)
call("init_module", None, 0, b"")
python("write_and_execute", lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC))
python("AF_NETLINK", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))
python("AF_PACKET", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
python("AF_VSOCK", lambda: socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM))
python("set_user_id_bit", lambda: os.chmod(os.open("/var/lib/erlmcp/set-user-id", os.O_CREAT), 0o4755))
python("device", lambda: os.open("/dev/kmsg", os.O_RDONLY))
"""
OTHER_ERRORS = {
    **dict.fromkeys(("AF_NETLINK", "AF_PACKET", "AF_VSOCK"), "EAFNOSUPPORT"),
    "device": "ENOENT",
}

TLS = """
Key = [{key, {rsa, 2048, 65537}}],
Chain = #{root => Key, intermediates => [], peer => Key},
#{server_config := Server, client_config := Client} =
    public_key:pkix_test_data(#{server_chain => Chain, client_chain => Chain}),
{ok, _} = application:ensure_all_started(ssl),
{ok, Listening} = ssl:listen(0, [{active, false}, {ip, {127, 0, 0, 1}}, {verify, verify_peer} | Server]),
{ok, {_, Port}} = ssl:sockname(Listening),
spawn(fun() -> {ok, S} = ssl:transport_accept(Listening), {ok, T} = ssl:handshake(S), ssl:send(T, "sealed"),
               receive after 5000 -> ok end end),
{ok, Socket} = ssl:connect("localhost", Port,
    [{active, false}, {verify, verify_peer}, {server_name_indication, disable} | Client], 5000),
{ok, "sealed"} = ssl:recv(Socket, 6, 5000), ssl:connection_information(Socket, [protocol]).
"""


def evaluate(address, text):
    """Return what Erlang in the running node makes of ``text``."""
    return ssh(address, 'erlmcp eval "$(cat)"', text).stdout.strip()


def inside(address, command):
    """Return what a shell command prints that the running node starts."""
    packed = base64.b64encode(command.encode()).decode()
    answer = evaluate(
        address,
        f'base64:encode_to_string(unicode:characters_to_binary(os:cmd("echo {packed} | base64 -d | sh 2>&1"))).',
    )
    return base64.b64decode(answer.strip('"')).decode()


def write(address, path):
    """Return what ``file:write_file/3`` in the running node says; nothing that is there is lost."""
    return evaluate(address, f'file:write_file("{path}", <<"attacked">>, [append]).')


def show(address, unit, name):
    return ssh(address, f"systemctl show -P {name} {unit}").stdout.strip()


def exposure(address, unit):
    """Return (overall exposure times ten, what it is made of)."""
    overall = re.search(
        r"exposure level for .*: ([0-9.]+)", ssh(address, f"systemd-analyze security --no-pager {unit}.service").stdout
    )
    items = json.loads(ssh(address, f"systemd-analyze security --json=short {unit}.service").stdout)
    return round(float(overall[1]) * 10), {each["name"] for each in items if each["exposure"]}


@contextmanager
def provisioned(variables, groups="system_erlang,trixie"):
    """Provision filtered clusters with ``variables``, and as they were in the end."""
    limit = ["--limit", groups]
    try:
        done = play("erlmcp.ops.site", BARE, variables, limit)
        assert done.rc == 0, done.messages
        yield done
    finally:
        assert play("erlmcp.ops.site", BARE, options=limit).rc == 0


@pytest.fixture(name="others_files", scope="module")
def _others_files():
    """Files of another user that everybody may write, and two ways to be root for those who can take them."""
    files = "; ".join(
        f"install -d -m 0777 {each} && echo theirs > {each}/file && chown -R games: {each} && chmod 0666 {each}/file"
        for each in OTHERS_DIRECTORIES
    )
    for address in FILTERED.values():
        ssh(
            address,
            f"{files}; install -m 4755 /usr/bin/id /usr/local/bin/root-id; "
            "echo 'erlmcp ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/attacked; chmod 0440 /etc/sudoers.d/attacked",
        )
    yield
    for address in FILTERED.values():
        ssh(address, f"rm -rf /usr/local/bin/root-id /etc/sudoers.d/attacked {' '.join(OTHERS_DIRECTORIES)}")


@pytest.mark.parametrize("address", FILTERED.values(), ids=list(FILTERED))
def test_nodes_whose_partners_are_known_score_1_0(address):
    assert exposure(address, "erlmcp") == (10, HELD_AGAINST_NODE)
    assert exposure(address, "erlmcp-epmd") == (10, HELD_AGAINST)


@pytest.mark.parametrize("address", BARE.values(), ids=list(BARE))
def test_by_default_they_score_1_1(address):
    assert exposure(address, "erlmcp") == (11, HELD_AGAINST_NODE)
    assert exposure(address, "erlmcp-epmd") == (11, HELD_AGAINST)


@ON_EACH_SUITE
def test_it_runs_as_its_account_without_capabilities(address):
    assert inside(address, "id -un; id -Gn") == "erlmcp\nerlmcp\n"
    status = dict(line.split(":\t", 1) for line in inside(address, "cat /proc/self/status").splitlines())
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"


@ON_EACH_SUITE
@pytest.mark.parametrize(
    "path",
    [
        "/opt/erlmcp/current/bin/erlmcp",
        "/opt/erlmcp/current/releases/start_erl.data",
        "/opt/erlmcp/releases/attacked",
        "/etc/systemd/system/erlmcp.service",
        "/etc/systemd/system/erlmcp.service.d/attacked.conf",
        "/run/systemd/system/attacked.service",
        "/etc/erlmcp/sys.config",
        "/etc/erlmcp/vm.args",
        "/etc/erlmcp/env.sh",
        "/etc/erlmcp/home/.erlang.cookie",
        "/etc/erlmcp/home/.erlang",
        "/usr/local/bin/erlmcp",
        "/etc/cron.d/attacked",
        "/etc/passwd",
        "/proc/sys/kernel/core_pattern",
        "/sys/fs/cgroup/cgroup.procs",
    ],
)
def test_what_it_runs_from_cannot_be_written(address, path):
    assert re.fullmatch(r"\{error, (erofs|eacces|enoent)\}", write(address, path))


@ON_EACH_SUITE
def test_not_even_the_cookie_file_which_it_owns(address):
    assert ssh(address, "stat -Lc %U /etc/erlmcp/home/.erlang.cookie").stdout == "erlmcp\n"
    assert "{error, " in evaluate(address, 'file:change_mode("/etc/erlmcp/home/.erlang.cookie", 8#600).')
    assert ssh(address, "stat -Lc %a /etc/erlmcp/home/.erlang.cookie").stdout == "400\n"


@ON_EACH_SUITE
@pytest.mark.parametrize("directory", OTHERS_DIRECTORIES)
@pytest.mark.usefixtures("others_files")
def test_files_of_others_that_everybody_may_write_cannot_be(address, directory):
    assert "{error, " in write(address, f"{directory}/file")
    assert "{error, " in write(address, f"{directory}/attacked")
    assert ssh(address, f"cat {directory}/*").stdout == "theirs\n"


@ON_EACH_SUITE
@pytest.mark.usefixtures("others_files")
def test_privileges_cannot_be_gained(address):
    account = ssh(address, "id -u erlmcp").stdout
    assert ssh(address, "setpriv --reuid=erlmcp --clear-groups root-id -u").stdout == "0\n"
    assert inside(address, "root-id -u") == account
    assert ssh(address, "setpriv --reuid=erlmcp --clear-groups sudo -n id -u").stdout == "0\n"
    assert "0\n" not in inside(address, "sudo -n id -u")


@ON_EACH_SUITE
def test_forbidden_calls_fail(address):
    packed = base64.b64encode(FORBIDDEN_CALLS.encode()).decode()
    answers = dict(line.split() for line in inside(address, f"echo {packed} | base64 -d | python3 -").splitlines())
    ssh(address, "rm -f /var/lib/erlmcp/set-user-id")
    assert len(answers) == 18
    # From systemd 254 on it is the kernel that denies it, with another error.
    assert answers.pop("write_and_execute") in ("EPERM", "EACCES")
    assert answers == {name: OTHER_ERRORS.get(name, "EPERM") for name in answers}


@ON_EACH_SUITE
@pytest.mark.parametrize("directory", ["/var/lib/erlmcp", "/var/log/erlmcp", "/run/erlmcp", "/tmp", "/var/tmp"])
def test_what_it_writes_cannot_be_run(address, directory):
    program = f"{directory}/attack"
    answer = inside(address, f"cp /bin/echo {program} && chmod 755 {program} && {program} ran; rm {program}")
    assert "Permission denied" in answer
    assert "ran" not in answer


@ON_EACH_SUITE
def test_other_processes_cannot_be_seen(address):
    assert "No such file" in inside(address, "ls -d /proc/1")
    seen = inside(address, "stat -c %U /proc/[0-9]* 2> /dev/null | sort -u")
    assert seen == "erlmcp\n"


@ON_EACH_SUITE
def test_the_jit_compiles(address):
    assert evaluate(address, "erlang:system_info(emu_flavor).") == "jit"


@ON_EACH_SUITE
def test_tls_connects(address):
    assert "tlsv1.3" in evaluate(address, TLS)


@ON_EACH_SUITE
def test_names_are_looked_up(address):
    assert evaluate(address, 'inet:getaddr("localhost", inet).') == "{ok, {127, 0, 0, 1}}"


@ON_EACH_SUITE
def test_the_log_is_rotated(address):
    log = "/var/log/erlmcp/erlmcp.log"
    ssh(address, "logrotate --force /etc/logrotate.d/erlmcp")
    with Mcp(address) as client:
        client.ask("ping")
    ssh(address, f"for each in $(seq 100); do grep -q ping {log} && exit; sleep 0.1; done; exit 1")
    assert ssh(address, f"stat -c '%U:%G %a' {log}").stdout == "erlmcp:erlmcp 640\n"


@ON_EACH_SUITE
def test_a_crash_leaves_its_dump_and_mnesia_its_rows(address):
    ssh(address, "rm -f /var/log/erlmcp/erl_crash.dump; systemctl reset-failed erlmcp")
    with Mcp(address):
        before = int(evaluate(address, "mnesia:table_info(erlmcp_session, size)."))
    assert before > 0
    assert evaluate(address, "mnesia:sync_log().") == "ok"
    ssh(address, "erlmcp eval 'erlang:halt(\"tried in the sandbox\").'", check=False)
    time.sleep(1)
    wait_until_healthy(address)
    assert "Slogan: tried in the sandbox" in ssh(address, "head -3 /var/log/erlmcp/erl_crash.dump").stdout
    assert int(evaluate(address, "mnesia:table_info(erlmcp_session, size).")) == before


def test_schedulers_are_bound_when_that_is_asked_for():
    with provisioned({"erlmcp_node_vm_args": {"+sbt": "db"}}, "system_erlang"):
        for address in BOOKWORM.values():
            assert "unbound" not in evaluate(address, "erlang:system_info(scheduler_bindings).")
            assert exposure(address, "erlmcp")[0] == 11


def test_who_may_talk_to_a_node_changes_without_a_restart():
    pids = {address: show(address, "erlmcp", "MainPID") for address in FILTERED.values()}
    with provisioned({"erlmcp_node_outgoing_addresses": ["any"]}):
        for address in FILTERED.values():
            assert {show(address, unit, "IPAddressDeny") for unit in UNITS} == {""}
            assert exposure(address, "erlmcp")[0] == 11
    for hosts in (BOOKWORM, TRIXIE):
        peers = {f"{address}/32" for address in hosts.values()}
        for address in hosts.values():
            for unit in UNITS:
                allowed = set(show(address, unit, "IPAddressAllow").split())
                assert allowed == {"127.0.0.0/8", "::1/128", "10.83.0.1/32"} | peers
                assert set(show(address, unit, "IPAddressDeny").split()) == {"0.0.0.0/0", "::/0"}
    assert {address: show(address, "erlmcp", "MainPID") for address in FILTERED.values()} == pids


def test_a_list_that_systemd_would_not_understand_is_refused():
    for addresses in (["10.83.0.1", "balancer.example.com"], ["10.83.0.300"]):
        done = play("erlmcp.ops.site", BARE, {"erlmcp_node_allowed_addresses": addresses}, ["--limit", "trixie"])
        assert done.rc != 0
        assert "erlmcp_node_allowed_addresses" in done.messages
        assert addresses[-1] in done.messages
        assert not done.changed
