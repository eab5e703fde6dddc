# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module ``security_info``: what the host says, read: procfs, apt, systemd, auditctl, files."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import threading

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Completed, Runner
from ansible_collections.erlmcp.ops.plugins.module_utils._security.audit import keys_of, observe_audit
from ansible_collections.erlmcp.ops.plugins.module_utils._security.files import Account, Tree
from ansible_collections.erlmcp.ops.plugins.module_utils._security.info import exposure_of
from ansible_collections.erlmcp.ops.plugins.module_utils._security.processes import (
    Process,
    exposures,
    listening,
    observe_processes,
    replaced_by_unit,
    replaced_code,
    status_of,
    unit_of,
)
from ansible_collections.erlmcp.ops.plugins.module_utils._security.secrets import (
    is_on_encrypted_volume,
    observe_backups,
    observe_crash_dumps,
    read_cookie,
    search,
)
from ansible_collections.erlmcp.ops.plugins.module_utils._security.services import observe_services
from ansible_collections.erlmcp.ops.plugins.module_utils._security.updates import is_automatic, pending

COOKIE = b"K7sYxTq0aVbP2mRd"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (
            "Inst libssl3 [3.0.11-1] (3.0.13-1 Debian-Security:12/stable-security [amd64])",
            {"package": "libssl3", "installed": "3.0.11-1", "offered": "3.0.13-1", "security": True},
        ),
        (
            "Inst libc6 [2.36-9] (2.36-10 Debian:12.5/stable, Debian-Security:12/stable-security [amd64]) []",
            {"package": "libc6", "installed": "2.36-9", "offered": "2.36-10", "security": True},
        ),
        (
            "Inst zstd [1.5.4] (1.5.5 Debian-Security:11/oldstable [amd64])",
            {"package": "zstd", "installed": "1.5.4", "offered": "1.5.5", "security": True},
        ),
        (
            "Inst tzdata [2024a] (2024b Debian:12.5/stable [all])",
            {"package": "tzdata", "installed": "2024a", "offered": "2024b", "security": False},
        ),
        (
            "Inst bash [5.1] (5.2 Ubuntu:24.04/noble-security [amd64])",
            {"package": "bash", "installed": "5.1", "offered": "5.2", "security": True},
        ),
    ],
)
def test_a_pending_update(line, found):
    assert pending(f"Reading package lists...\n{line}\nConf {line[5:]}\n") == [found]


def test_a_package_that_comes_along_is_no_update():
    assert pending("Inst linux-image-6 (6.1 Debian-Security:12/stable-security [amd64])\n") == []


@pytest.mark.parametrize(
    ("settings", "is_so"),
    [
        ('APT::Periodic "";\nAPT::Periodic::Update-Package-Lists "1";\nAPT::Periodic::Unattended-Upgrade "1";\n', True),
        ('APT::Periodic::Update-Package-Lists "1";\nAPT::Periodic::Unattended-Upgrade "0";\n', False),
        ('APT::Periodic::Unattended-Upgrade "1";\n', False),
        ("", False),
    ],
)
def test_updates_come_by_themselves(settings, is_so):
    assert is_automatic(settings, True) is is_so
    assert not is_automatic(settings, False)


def test_keys_of_rules_as_they_are_written_and_listed():
    written = (
        "# -k no\n-w /etc/erlmcp -p wa -k erlmcp_config\n-a always,exit -F dir=/x -F perm=wa -F key=erlmcp_config\n"
    )
    assert keys_of(written) == {"erlmcp_config": 2}
    assert keys_of("-a always,exit -S all -F dir=/etc/erlmcp -F perm=wa -F key=erlmcp_config\nNo rules\n") == {
        "erlmcp_config": 1
    }


def test_audit_rules_that_are_not_laid_down(tmp_path):
    class Silent:
        def run(self, argv, **_options):
            return Completed(3, "inactive\n", "") if argv[0] == "systemctl" else Completed(1, "", "Error")

    found = observe_audit(Silent(), str(tmp_path / "missing"))
    assert (found["written"], found["loaded"], found["daemon"], found["error"]) == (None, {}, "inactive", "Error")


def test_exposures_of_units():
    text = "  NAME  DESCRIPTION\n→ Overall exposure level for erlmcp.service: 1.1 OK :-)\n"
    assert exposure_of(text) == {"erlmcp.service": 1.1}


@pytest.mark.parametrize(
    ("cgroup", "unit"),
    [
        ("0::/system.slice/erlmcp.service\n", "erlmcp.service"),
        ("0::/system.slice/system-getty.slice/getty@tty1.service\n", "getty@tty1.service"),
        ("0::/user.slice/user-0.slice/session-3.scope\n", "session-3.scope"),
        ("1:name=systemd:/system.slice/ssh.service\n0::/system.slice/ssh.service\n", "ssh.service"),
        ("0::/\n", ""),
    ],
)
def test_the_unit_of_a_process(cgroup, unit):
    assert unit_of(cgroup) == unit


def test_code_that_was_replaced():
    maps = (
        b"7f00-7f01 r-xp 00000000 08:01 11 /usr/lib/x86_64-linux-gnu/libssl.so.3 (deleted)\n"
        b"7f01-7f02 r--p 00000000 08:01 11 /usr/lib/locale/C.utf8 (deleted)\n"
        b"7f02-7f03 rwxp 00000000 00:01 12 /memfd:vmem (deleted)\n"
        b"7f03-7f04 r-xp 00000000 08:01 13 /usr/lib/x86_64-linux-gnu/libc.so.6\n"
        b"7f04-7f05 r-xp 00000000 08:01 14 /opt/a b/libx.so\xff (deleted)\n"
    )
    found = replaced_code(maps)
    assert found == ("/opt/a b/libx.so\\xdcff", "/usr/lib/x86_64-linux-gnu/libssl.so.3")
    processes = [Process(pid, "a.service", b"", b"", found, frozenset()) for pid in (1, 2)]
    assert replaced_by_unit(processes) == [{"unit": "a.service", "pids": [1, 2], "files": list(found)}]


def test_privileges_of_a_process_are_those_of_procfs():
    with open("/proc/self/status", encoding="utf-8") as stream:
        status = status_of(stream.read())
    assert status["uids"] == [os.getuid()]
    text = "Uid:\t0\t9\t9\t9\nNoNewPrivs:\t1\nSeccomp:\t2\n" + "".join(
        f"{name}:\t{digits}\n"
        for name, digits in (("CapInh", "0"), ("CapPrm", "0"), ("CapEff", "0"), ("CapBnd", "3f"), ("CapAmb", "0"))
    )
    assert status_of(text) == {"uids": [0, 9], "capabilities": ["CapBnd"], "no_new_privileges": True, "seccomp": True}


def test_what_listens_is_found_with_its_process():
    with (
        socket.create_server(("127.0.0.1", 0)) as four,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as six,
    ):
        (own,) = [process for process in observe_processes() if process.pid == os.getpid()]
        for server, table in ((four, "tcp"), (six, "tcp6")):
            with open(f"/proc/net/{table}", encoding="utf-8") as stream:
                found = {entry[:2]: entry[2] for entry in listening(stream.read())}
            assert found[server.getsockname()[:2]] in own.sockets


def test_a_cookie_that_others_see_is_told_by_its_place_only():
    processes = [
        Process(1, "", b"beam\0-setcookie\0other", b"", (), frozenset()),
        Process(2, "a.service", b"erl_call\0-c\0" + COOKIE, b"A=" + COOKIE, (), frozenset()),
        Process(3, "", b"vi\0not-setcookie-at-all", b"", (), frozenset()),
    ]
    found = exposures(processes, COOKIE)
    assert [each["pid"] for each in found] == [1, 2]
    assert found[1]["shows"] == ["the cookie in its arguments", "the cookie in its environment"]
    assert COOKIE.decode() not in str(found)


def test_a_cookie_in_files(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    (home / ".erlang.cookie").write_bytes(COOKIE)
    (home / "other").write_bytes(COOKIE)
    (tmp_path / "erlmcp.log").write_bytes(b"crash: " + COOKIE + b"\n")
    (tmp_path / "vm.args").write_text("-name a@b\n-setcookie secret\n")
    (tmp_path / "vm.args.old").write_text("# -setcookie is gone\n")
    (tmp_path / "link").symlink_to(home / ".erlang.cookie")
    # It has a check of its own.
    (tmp_path / "erl_crash.dump").write_bytes(COOKIE)
    assert read_cookie(str(home)) == COOKIE
    found = search([str(tmp_path)], COOKIE, str(home))
    assert found == [str(tmp_path / "erlmcp.log"), str(tmp_path / "vm.args")]
    assert search([str(tmp_path), "/no/where"], b"", str(home)) == [str(tmp_path / "vm.args")]


def test_a_cookie_that_is_too_short_is_not_searched_for(tmp_path):
    (tmp_path / ".erlang.cookie").write_text("erlmcp")
    assert read_cookie(str(tmp_path)) == b""
    assert read_cookie(str(tmp_path / "missing")) == b""


def test_archives_are_told_apart_by_what_they_begin_with(tmp_path):
    (tmp_path / "a.tar.zst").write_bytes(b"\x28\xb5\x2f\xfd...")
    (tmp_path / "b.tar.zst.age").write_bytes(b"age-encryption.org/v1\n-> X25519")
    (tmp_path / "b.tar.zst.age.json").write_text("{}")
    (tmp_path / "settings").write_text('{"recipients": ["age1x"]}')
    assert observe_backups(str(tmp_path), str(tmp_path / "settings")) == {
        "configured": True,
        "recipients": 1,
        "encrypted": 1,
        "plain": ["a.tar.zst"],
    }
    missing = str(tmp_path / "missing")
    assert observe_backups(missing, missing) == {"configured": False, "recipients": 0, "encrypted": 0, "plain": []}


@pytest.mark.parametrize(
    ("slaves", "is_so"), [({}, False), ({"a": b"CRYPT-LUKS2-x"}, True), ({"a": b"CRYPT-x", "b": b"LVM-x"}, False)]
)
def test_a_volume_is_encrypted_when_all_below_it_is(tmp_path, slaves, is_so):
    device = os.stat(tmp_path).st_dev
    block = tmp_path / f"dev/block/{os.major(device)}:{os.minor(device)}"
    (block / "slaves").mkdir(parents=True)
    for name, uuid in slaves.items():
        (block / "slaves" / name / "dm").mkdir(parents=True)
        (block / "slaves" / name / "dm/uuid").write_bytes(uuid)
    assert is_on_encrypted_volume(str(tmp_path), str(tmp_path)) is is_so
    assert is_on_encrypted_volume(str(tmp_path / "missing")) is None


def test_a_tree_is_summed_up_without_what_has_a_name_of_its_own(tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir(mode=0o750)
    tmp_path.chmod(0o750)
    for name in ("a", "b\nb", "inner/c"):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0o646)
    (tmp_path / "link").symlink_to("/etc/shadow")
    found = Tree(str(tmp_path), Account("no such account"), [str(inner), str(tmp_path)]).observe()
    assert found["entries"] == 3
    assert found["mode"] == "0750"
    shown = [path.split(" (")[0] for path in found["world_writable"]["paths"]]
    assert shown == [str(tmp_path / "a"), f"{tmp_path}/b\\x0ab"]
    assert found["world_readable"]["count"] == found["service_writable"]["count"] == 2
    assert Tree(str(tmp_path / "no"), Account("nobody")).observe() == {"path": str(tmp_path / "no"), "exists": False}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_the_service_can_write(tmp_path):
    account = Account("nobody")
    entries = {"owned": (account.uid, 0, 0o400), "shared": (0, account.entry.pw_gid, 0o460), "safe": (0, 0, 0o640)}
    for name, (uid, gid, mode) in entries.items():
        (tmp_path / name).write_text("")
        os.chown(tmp_path / name, uid, gid)
        (tmp_path / name).chmod(mode)
    shown = Tree(str(tmp_path), account).observe()["service_writable"]["paths"]
    assert [path.split("/")[-1].split(" ")[0] for path in shown] == ["owned", "shared"]


def test_crash_dumps_are_known_by_what_is_in_them(tmp_path):
    (tmp_path / "below").mkdir()
    for name, content in (("below/moved", "=erl_crash_dump:0.5\n"), ("erl_crash.dump.1", "packed"), ("log", "=erl")):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o640)
    os.symlink("log", tmp_path / "erl_crash.dump")
    os.utime(tmp_path / "below/moved", (0, 0))
    recent, old = observe_crash_dumps([str(tmp_path), str(tmp_path / "below"), str(tmp_path / "missing")])
    assert (recent["path"], recent["bytes"], recent["mode"]) == (str(tmp_path / "erl_crash.dump.1"), 6, "0640")
    assert recent["age_days"] == 0
    assert old["path"] == str(tmp_path / "below/moved")
    assert old["age_days"] > 10000


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A certificate and its key."""
    directory = tmp_path_factory.mktemp("tls")
    paths = [str(directory / name) for name in ("cert.pem", "key.pem")]
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-days", "10", "-subj", "/CN=test", "-out", paths[0], "-keyout", paths[1]),
        ],
        check=True,
        capture_output=True,
    )
    return paths


class Listener:
    """A port that shakes hands as its context says, or says nothing."""

    def __init__(self, context):
        self.context = context
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _address = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection):
        with connection:
            try:
                if self.context:
                    connection = self.context.wrap_socket(connection, server_side=True)
                while connection.recv(100):
                    pass
            except OSError:
                pass

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()


def asked(pair, context):
    with Listener(context) as listener:
        services = [{"name": "x", "port": listener.port, "ask": True, "enabled": True}]
        listeners = [{"address": "0.0.0.0", "port": listener.port, "unit": ""}]
        (found,) = observe_services(services, listeners, pair, Runner())
    return found


def server_context(pair, least, most, asks=False):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version, context.maximum_version = least, most
    if asks:
        context.load_verify_locations(pair[0])
        context.verify_mode = ssl.CERT_REQUIRED
    return context


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("least", "most", "asks", "versions"),
    [
        ("TLSv1_2", "TLSv1_3", True, ["1.2", "1.3"]),
        ("TLSv1_2", "TLSv1_3", False, ["1.2", "1.3"]),
        ("TLSv1_3", "TLSv1_3", True, ["1.3"]),
        ("TLSv1_3", "TLSv1_3", False, ["1.3"]),
        ("TLSv1", "TLSv1_2", True, ["1.0", "1.1", "1.2"]),
    ],
)
def test_what_a_listener_with_tls_answers(pair, least, most, asks, versions):
    found = asked(pair, server_context(pair, ssl.TLSVersion[least], ssl.TLSVersion[most], asks))
    assert found["tls"]
    assert found["versions"] == versions
    assert found["asks_for_certificate"] is asks
    assert found["days_left"] == 9


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_host_without_a_certificate_still_sees_tls(pair):
    found = asked(None, server_context(pair, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2, asks=True))
    assert (found["tls"], found["asks_for_certificate"]) == (True, True)


def test_a_listener_without_tls_is_not_waited_for_long(pair):
    assert asked(pair, None)["tls"] is False


def test_what_does_not_listen_is_not_asked(pair):
    service = {"name": "x", "port": 1, "ask": True, "enabled": True}
    (found,) = observe_services([service, {**service, "enabled": False}], [], pair, Runner())
    assert found == {"name": "x", "port": 1, "addresses": [], "tls": None}
