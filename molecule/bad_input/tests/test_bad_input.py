# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bad input: a clear error that names the variable or file, before anything on a host changed."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest
from testlib import CACHE, RELEASES, Hosts, Mcp, play, ssh

HOSTS = Hosts(Path(__file__).parents[1])
(ADDRESS,) = HOSTS.values()
STATE = (
    "find / -xdev \\( -path /var/log/journal -o -path /tmp -o -path /var/tmp -o -path /var/cache/test-bytecode"
    ' -o -path "$HOME" \\) -prune'
    " -o -newer /var/tmp/mark -not -path '/var/lib/systemd/*' -not -path '/var/log/*' -type f -print"
)

SCRIPT = "./bin/erlmcp"

VARIABLES = {
    "several at once": (
        {
            "erlmcp_http_port": 70000,
            "erlmcp_mcp_port": 9100,
            "erlmcp_cookie": "abcdefghijklmnopqrst#uvwxyz",
            "erlmcp_data_dir": "/",
            "erlmcp_log_dir": "",
            "erlmcp_node_crash_dump_bytes": -1,
            "erlmcp_cluster_wait_seconds": "-1",
            "erlmcp_backup_schedule": "sometimes",
            "erlmcp_node_vmargs": {"+P": 5},
        },
        [
            "erlmcp_http_port",
            "erlmcp_mcp_port",
            "erlmcp_cookie",
            "erlmcp_data_dir",
            "erlmcp_log_dir",
            "erlmcp_node_crash_dump_bytes is -1",
            "erlmcp_cluster_wait_seconds is -1",
            "erlmcp_backup_schedule is 'sometimes'",
            "write erlmcp_node_vm_args",
        ],
    ),
    "port that is a word": ({"erlmcp_mcp_port": "http"}, ["erlmcp_mcp_port"]),
    "node name with a space": ({"erlmcp_node_name": "erlmcp @n1.bad.test"}, ["erlmcp_node_name"]),
    "long name without a dot": ({"erlmcp_node_name": "erlmcp@n1"}, ["erlmcp_node_name"]),
    "host name without a dot, beside a port": (
        {"erlmcp_node_host": "n1", "erlmcp_http_port": 70000},
        ["n1.bad.test: 'erlmcp@n1' is no Erlang node name (erlmcp_node_name)", "erlmcp_http_port is 70000"],
    ),
    "the guide's cookie": ({"erlmcp_cookie": "erlmcp"}, ["erlmcp_cookie"]),
    "log level": ({"erlmcp_node_log_level": "loud"}, ["erlmcp_node_log_level"]),
    "term without an end": ({"erlmcp_node_config_terms": ["{my_app, [{a, 1}"]}, ["erlmcp_node_config_terms"]),
    "flag without a sign, and a name with a space": (
        {"erlmcp_node_vm_args": {"P": 5}, "erlmcp_node_environment": {"A B": "c"}},
        ["erlmcp_node_vm_args: 'P' is no flag", "erlmcp_node_environment: 'A B' is no name"],
    ),
    "address that is none": ({"erlmcp_node_allowed_addresses": ["10.0.0.300/99"]}, ["erlmcp_node_allowed_addresses"]),
    "cookie in vm.args": ({"erlmcp_node_vm_args": {"-setcookie": "x"}}, ["-setcookie"]),
    "secrets in archives that are not encrypted": (
        {"erlmcp_backup_members": ["data", "config", "tls"], "erlmcp_node_config_secrets": ["abcdefghijklmnopqrst"]},
        ["erlmcp_backup_members has tls", "erlmcp_node_config_secrets says"],
    ),
    "what the sandboxes keep from node and backup": (
        {
            "erlmcp_data_dir": "/home/erlmcp/data",
            "erlmcp_install_dir": "/var/log/erlmcp/releases",
            "erlmcp_node_log_file": "/srv/erlmcp.log",
            "erlmcp_backup_dir": "/var/tmp/backups",
        },
        [
            "erlmcp_data_dir is '/home/erlmcp/data', which ProtectHome hides from erlmcp.service",
            "erlmcp_install_dir is '/var/log/erlmcp/releases', where NoExecPaths lets erlmcp.service execute nothing",
            "erlmcp_node_log_file is '/srv/erlmcp.log', which erlmcp.service cannot write",
            "erlmcp_backup_dir is '/var/tmp/backups', which PrivateTmp hides from erlmcp-backup.service",
        ],
    ),
    "no archive": ({"erlmcp_release_archive": ""}, ["erlmcp_release_archive"]),
    "archive that is missing": ({"erlmcp_release_archive": "/nowhere/erlmcp.tar.gz"}, ["/nowhere/erlmcp.tar.gz"]),
    "wrong checksum": ({"erlmcp_release_checksum": f"sha256:{'0' * 64}"}, ["hashes to sha256:"]),
}


@pytest.fixture(name="play_bad")
def _play_bad():
    """Runs site.yml; proves that it fails and that no file on the host changed."""

    def run(variables, options=()):
        ssh(ADDRESS, "touch /var/tmp/mark; sleep 0.05")
        done = play("erlmcp.ops.site", HOSTS, variables, options)
        assert done.rc != 0
        assert ssh(ADDRESS, STATE).stdout == ""
        return done.messages

    return run


@pytest.mark.parametrize(("variables", "named"), VARIABLES.values(), ids=VARIABLES)
def test_a_bad_variable(play_bad, variables, named):
    messages = play_bad(variables)
    assert [name for name in named if name not in messages] == []
    assert "abcdefghijklmnopqrst" not in messages
    # What Ansible wraps around the words of a filter is of no use to whoever has to correct a variable.
    assert "filter plugin" not in messages
    assert "Finalization" not in messages


@pytest.mark.parametrize("case", ["several at once", "term without an end", "wrong checksum"])
def test_check_mode_refuses_it_too(play_bad, case):
    variables, named = VARIABLES[case]
    messages = play_bad(variables, ["--check"])
    assert [name for name in named if name not in messages] == []


def test_two_nodes_of_one_name(tmp_path):
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(
        "erlmcp: {hosts: {a: {erlmcp_node_name: erlmcp@x.test}, b: {erlmcp_node_name: erlmcp@x.test}}}\n"
    )
    hosts = Hosts(Path(__file__).parents[1])
    hosts.inventory = str(inventory)
    done = play("erlmcp.ops.site", hosts, {"ansible_host": ADDRESS, "erlmcp_release_archive": "/x"})
    assert done.rc != 0
    assert "a and b" in done.messages or "a, b" in done.messages
    assert "erlmcp@x.test" in done.messages


def repack(path, change):
    """Write a copy of the release with ``change(name, data)``, which returns the new data."""
    with (
        tarfile.open(RELEASES / "erlmcp-1.0.0.tar.gz") as source,
        tarfile.open(path, "w:gz", compresslevel=1) as target,
    ):
        for member in source:
            data = source.extractfile(member).read() if member.isfile() else None
            if data is not None:
                data = change(member.name, data)
                member.size = len(data)
            target.addfile(member, io.BytesIO(data) if data is not None else None)
    return path


def another_processor(path):
    def change(name, data):
        return data[:18] + b"\xb7\x00" + data[20:] if name.endswith("/bin/beam.smp") else data

    return repack(path, change)


def truncated(path):
    path.write_bytes((RELEASES / "erlmcp-1.0.0.tar.gz").read_bytes()[:500_000])
    return path


def no_release(path):
    with tarfile.open(path, "w:gz") as target:
        target.addfile(tarfile.TarInfo("README"), io.BytesIO())
    return path


def climbing(path):
    with tarfile.open(path, "w:gz") as target:
        target.addfile(tarfile.TarInfo("../../etc/cron.d/evil"), io.BytesIO())
    return path


def leaving_link(path):
    with tarfile.open(path, "w:gz") as target:
        link = tarfile.TarInfo("lib")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        target.addfile(link)
    return path


def no_tar(path):
    path.write_bytes(gzip.compress(b"hello" * 1000))
    return path


def without_a_start_hook(path):
    def change(name, data):
        return data.replace(b'PRE_START_HOOKS=""', b'PRE_START_HOOKS="hooks/lacking"', 1) if name == SCRIPT else data

    return repack(path, change)


ARCHIVES = {
    "start hook that is missing": (without_a_start_hook, "erlmcp_start_hooks_enabled: false"),
    "another processor": (another_processor, "aarch64"),
    "truncated": (truncated, "is not a complete .tar.gz archive"),
    "no tar": (no_tar, "is not a"),
    "no release": (no_release, "is not a relx release"),
    "path that climbs": (climbing, "leads out of the release"),
    "link that leaves": (leaving_link, "out of the release"),
}


@pytest.mark.parametrize(("make", "named"), ARCHIVES.values(), ids=ARCHIVES)
def test_a_bad_archive(play_bad, tmp_path, make, named):
    archive = make(tmp_path / "bad.tar.gz")
    message = play_bad({"erlmcp_release_archive": str(archive)})
    assert named in message
    assert str(archive) in message


def test_too_little_space(play_bad):
    ssh(ADDRESS, "mkdir -p /opt/small && mount -t tmpfs -o size=20m tmpfs /opt/small")
    try:
        message = play_bad({"erlmcp_install_dir": "/opt/small/erlmcp"})
    finally:
        ssh(ADDRESS, "umount /opt/small && rmdir /opt/small")
    assert "MiB are free" in message
    assert "/opt/small/erlmcp" in message


class TestOnAServingNode:
    """What only the release's own Erlang can judge is refused before the set gets its name."""

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _serving(cls):
        done = play("erlmcp.ops.site", HOSTS)
        assert done.rc == 0, done.messages

    @pytest.mark.parametrize(
        ("variables", "named"),
        [
            ({"erlmcp_node_config_terms": ["{my_app, [{a, 'b c'd}]}"]}, "sys.config"),
            ({"erlmcp_node_config_terms": ["{erlmcp, []}"]}, "erlmcp"),
            ({"erlmcp_node_config_terms": ["{kernel, [{net_ticktime, 60}]}"]}, "kernel"),
            ({"erlmcp_node_vm_args": {"+nosuchflag": 1}}, "+nosuchflag"),
            ({"erlmcp_node_vm_args": {"-kernel": {"inet_dist_listen_min": "many"}}}, "inet_dist_listen_min"),
        ],
        ids=["syntax", "application twice", "kernel twice", "unknown flag", "kernel value of the wrong type"],
    )
    def test_a_config_that_erlang_refuses(self, variables, named):
        before = ssh(ADDRESS, "ls -lR /etc/erlmcp; systemctl show -P MainPID erlmcp").stdout
        done = play("erlmcp.ops.site", HOSTS, variables)
        assert done.rc != 0
        assert named in done.messages
        assert ssh(ADDRESS, "ls -lR /etc/erlmcp; systemctl show -P MainPID erlmcp").stdout == before

    def test_another_cookie_is_refused(self):
        done = play("erlmcp.ops.site", HOSTS, {"erlmcp_cookie": "anotherCookieanotherCookie"})
        assert done.rc != 0
        assert "/etc/erlmcp/home/.erlang.cookie is there with other content" in done.messages
        assert str(CACHE / "cookies" / "erlmcp") in done.messages
        assert "anotherCookie" not in done.output
        assert ssh(ADDRESS, "erlmcp ping").stdout == "pong\n"

    def test_a_text_that_says_no_is_no(self):
        """As ``-e name=false`` gives it, and an inventory in INI."""
        another = {"erlmcp_cookie": "anotherCookieanotherCookie", "erlmcp_node_cookie_replace": "false"}
        done = play("erlmcp.ops.site", HOSTS, another, ["--check"])
        assert done.rc != 0
        assert "/etc/erlmcp/home/.erlang.cookie is there with other content" in done.messages
        off = {"erlmcp_http_enabled": "false", "erlmcp_tls_enabled": "no", "erlmcp_credentials_enabled": "off"}
        done = play("erlmcp.ops.site", HOSTS, off, ["--check", "--diff"])
        assert done.rc == 0, done.messages
        # Not only the firewall, and no certificates.
        assert {task for _host, task in done.changed} == {
            "erlmcp.ops.erlmcp_node : Ensure the config set is laid down",
            "erlmcp.ops.erlmcp_backup : Ensure command, settings, store and timer are laid down",
            "erlmcp.ops.erlmcp_firewall : Ensure the firewall lets in what the rules say and nothing else",
            "erlmcp.ops.erlmcp_cluster : Bring the node to what is on disk",
        }

    def test_another_archive_of_an_installed_version_is_refused(self, tmp_path):
        archive = repack(tmp_path / "same.tar.gz", lambda _name, data: data)
        done = play("erlmcp.ops.site", HOSTS, {"erlmcp_release_archive": str(archive)})
        assert done.rc != 0
        assert "Releases are immutable" in done.messages

    @pytest.mark.parametrize(
        ("variables", "named"),
        [
            ({"erlmcp_data_dir": "/srv/erlmcp"}, ["/var/lib/erlmcp", "/srv/erlmcp", "erlmcp_data_dir", "mv -T"]),
            ({"erlmcp_node_host": "n9.bad.test"}, ["erlmcp@n1.bad.test", "erlmcp@n9.bad.test", "erlmcp_node_host"]),
        ],
        ids=["directory", "name"],
    )
    def test_check_mode_refuses_what_would_leave_the_rows_behind(self, variables, named):
        done = play("erlmcp.ops.site", HOSTS, variables, ["--check"])
        assert done.rc != 0
        assert [name for name in named if name not in done.messages] == []

    def test_the_data_can_be_moved_as_the_run_says_that_refuses_to_leave_them_behind(self):
        with Mcp(ADDRESS) as client:
            session = client.server["_meta"]["sessionId"]
            for number in range(100):
                client.call("put", key=f"k{number}", value=number)
        moved = {"erlmcp_data_dir": "/srv/erlmcp"}
        before = ssh(ADDRESS, "ls -lR /etc/erlmcp /srv; systemctl show -P MainPID erlmcp").stdout
        refused = play("erlmcp.ops.site", HOSTS, moved)
        assert refused.rc != 0
        assert ssh(ADDRESS, "ls -lR /etc/erlmcp /srv; systemctl show -P MainPID erlmcp").stdout == before
        ssh(ADDRESS, refused.messages.partition("on the host: ")[2].partition(";")[0])
        done = play("erlmcp.ops.site", HOSTS, moved)
        assert done.rc == 0, done.messages
        with Mcp(ADDRESS, session=session) as client:
            stored = [client.call("get", key=f"k{number}")["content"][0]["text"] for number in range(100)]
        assert stored == list(map(str, range(100)))
