# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who did what is found with ausearch, and security updates are installed, and no others.

The kernel gives containers no audit. So the hosts' own auditd, auditctl and module run in their files, but among the
machine's processes: they enter the mount namespace of a host and nothing else. What is recorded then are real logins.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from testlib import Hosts, health, play, ssh, ssh_command

DIRECTORY = Path(__file__).parents[1]
HOSTS = {
    name: address for group in ("bookworm", "trixie") for name, address in Hosts(DIRECTORY, "erlmcp", group).items()
}
SITE = Hosts(DIRECTORY, "erlmcp", "bookworm")
BY_HAND = ["-w", "/etc/hostname", "-p", "wa", "-k", "by_hand"]
COOKIE = "/etc/erlmcp/home/.erlang.cookie"
UPDATES = "/var/lib/test-updates"
DEADLINE_SECONDS = 30
# What somebody does, and the key, the field and the value by which it is found.
DEEDS = {
    "config changed": ("sudo touch /etc/erlmcp/by-hand", "erlmcp_config", "name=/etc/erlmcp/by-hand"),
    "release changed": ("sudo touch /opt/erlmcp/by-hand", "erlmcp_releases", "name=/opt/erlmcp/by-hand"),
    "unit changed": (
        "sudo sh -c 'mkdir -p /etc/systemd/system/erlmcp.service.d; touch /etc/systemd/system/erlmcp.service.d/a.conf'",
        "erlmcp_unit",
        "erlmcp.service.d/a.conf",
    ),
    "cookie read as root": (f"sudo cat {COOKIE}", "erlmcp_cookie", f"name={COOKIE}"),
    "cookie read as the service": (f"sudo -u erlmcp cat {COOKIE}", "erlmcp_cookie", f"name={COOKIE}"),
    "cookie changed": (f"sudo touch {COOKIE}", "erlmcp_cookie", f"name={COOKIE}"),
    "control command": ("sudo erlmcp ping", "erlmcp_exec", "proctitle=/bin/sh /usr/local/bin/erlmcp ping"),
    "start script": ("sudo /opt/erlmcp/current/bin/erlmcp versions || true", "erlmcp_exec", "bin/erlmcp versions"),
    "backup command": ("sudo erlmcp-ops list", "erlmcp_exec", "erlmcp-ops list"),
}


def harden(name, variables=None, options=()):
    return play(str(DIRECTORY / "apply.yml"), SITE, variables, ["--limit", name, *options])


def as_alice(address, command):
    """Somebody logs in under a name of her own, as operators should."""
    login = ssh_command(address, command)
    login[-2] = f"alice@{address}"
    return subprocess.run(login, capture_output=True, text=True, check=False, timeout=60)


class Audited:
    """A host whose tools talk to the machine's kernel.

    :param wrapper: path for the host's Python among the machine's processes.
    """

    def __init__(self, name, leader, wrapper):
        self.name = name
        self.address = HOSTS[name]
        self.enter = ["nsenter", "--mount", "--target", leader]
        self.wrapper = wrapper
        wrapper.write_text(f'#!/bin/sh\nexec {" ".join(self.enter)} /usr/bin/python3 "$@"\n')
        wrapper.chmod(0o755)
        self.daemon = None

    def run(self, *argv, check=True):
        done = subprocess.run([*self.enter, *argv], capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0 or not check, f"{argv}: {done.stdout}{done.stderr}"
        return done

    def status(self):
        found = self.run("auditctl", "-s", check=False)
        return dict(re.findall(r"^(\w+) (\d+)", found.stdout, re.MULTILINE))

    def rules(self):
        return self.run("auditctl", "-l").stdout.splitlines()

    def harden(self, variables=None, options=()):
        """The role, whose modules run in the host's files with the machine's kernel."""
        local = {"ansible_connection": "local", "ansible_python_interpreter": str(self.wrapper)}
        return harden(self.name, {**(variables or {}), **local, "ansible_pipelining": True}, options)

    def found(self, key, since):
        """What an operator finds on the host; ``since`` is a time as ausearch takes it."""
        command = f"ausearch --input-logs -i -k {key} --start {since} 2>&1"
        return ssh(self.address, command, check=False).stdout

    def now(self):
        """A time that no earlier event has: ausearch counts in seconds."""
        time.sleep(1.1)
        return ssh(self.address, "date '+%m/%d/%y %H:%M:%S'").stdout.strip()

    def wait_for(self, condition):
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not condition():
            assert time.monotonic() < deadline, "not in time"
            time.sleep(0.1)

    def start(self):
        self.daemon = subprocess.Popen([*self.enter, "auditd", "-n"], stdout=subprocess.DEVNULL)
        self.wait_for(lambda: self.status()["pid"] != "0")

    def clean_up(self, before):
        """Leave the kernel as it was, also when a test, or what it tests, went wrong."""
        for line in self.rules():
            if "erlmcp_" in line or "by_hand" in line:
                flag, *words = line.split()
                self.run("auditctl", {"-a": "-d", "-w": "-W"}[flag], *words, check=False)
        if self.daemon:
            self.daemon.send_signal(signal.SIGTERM)
            self.daemon.wait(timeout=DEADLINE_SECONDS)
        self.run("auditctl", "-e", before["enabled"])
        self.run("auditctl", "-b", before["backlog_limit"])
        self.run("auditctl", "--backlog_wait_time", before["backlog_wait_time"])


@pytest.fixture(name="audited", scope="module", params=HOSTS)
def _audited(request, tmp_path_factory):
    hosts = DIRECTORY.parent / "shared" / "hosts.py"
    listed = subprocess.run(["python", str(hosts), "list"], capture_output=True, text=True, check=True).stdout
    leaders = {line.split()[0]: line.split()[-1] for line in listed.splitlines()}
    audited = Audited(request.param, leaders[request.param], tmp_path_factory.mktemp("python") / "python3")
    before = audited.status()
    if not before:
        pytest.skip("the kernel of this machine has no audit, or leaves none to this process")
    if before["enabled"] == "2" or before["pid"] != "0" or audited.rules() != ["No rules"]:
        pytest.skip("this machine uses audit itself: its rules would be in the way, and ours in its log")
    ssh(
        audited.address,
        "id alice > /dev/null 2>&1 || useradd -m alice;"
        " echo 'alice ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/alice;"
        " install -d -o alice -m 0700 /home/alice/.ssh;"
        " install -o alice -m 0600 ~/.ssh/authorized_keys /home/alice/.ssh/authorized_keys",
    )
    try:
        audited.start()
        audited.run("auditctl", "-b", "8192")
        predicted, done = audited.harden(options=["--check", "--diff"]), audited.harden()
        assert (predicted.rc, done.rc) == (0, 0), predicted.messages + done.messages
        assert predicted.changed == done.changed
        assert any("audit rules" in task for _host, task in done.changed)
        yield audited
    finally:
        audited.clean_up(before)


def test_the_kernel_has_the_rules_and_there_is_nothing_left_to_do(audited):
    keys = re.findall(r"(?:-k |key=)(\w+)", "\n".join(audited.rules()))
    assert set(keys) == {"erlmcp_cookie", "erlmcp_config", "erlmcp_releases", "erlmcp_unit", "erlmcp_exec"}
    done = audited.harden()
    assert (done.rc, done.changed) == (0, set()), done.messages
    assert "WARNING" not in done.output


@pytest.mark.parametrize("deed", DEEDS)
def test_who_did_it_is_found(audited, deed):
    command, key, told = DEEDS[deed]
    since = audited.now()
    done = as_alice(audited.address, command)
    assert done.returncode == 0, done.stderr
    audited.wait_for(lambda: told in audited.found(key, since))
    events = audited.found(key, since).split("----\n")
    assert any(told in event and "auid=alice" in event for event in events), events


def test_a_service_that_reads_the_cookie_is_found_too(audited):
    since = audited.now()
    ssh(audited.address, f"systemd-run --wait --quiet cat {COOKIE}")
    audited.wait_for(lambda: f"name={COOKIE}" in audited.found("erlmcp_cookie", since))
    assert "auid=unset uid=root" in audited.found("erlmcp_cookie", since)


def test_the_node_makes_no_noise(audited):
    since = audited.now()
    ssh(audited.address, "systemctl restart erlmcp")
    audited.wait_for(lambda: health(audited.address))
    # Comes after all that the start has left.
    ssh(audited.address, f"systemd-run --wait --quiet head -c 0 {COOKIE}")
    audited.wait_for(lambda: "comm=head" in audited.found("erlmcp_cookie", since))
    for key in ("erlmcp_cookie", "erlmcp_exec"):
        assert not re.search(r"\buid=erlmcp", audited.found(key, since))


def test_a_rule_that_somebody_took_away_comes_back_and_those_of_others_stay(audited):
    before = audited.rules()
    audited.run("auditctl", *BY_HAND)
    stolen = next(line for line in before if "erlmcp_releases" in line).split()
    audited.run("auditctl", "-W", *stolen[1:])
    since = audited.now()
    as_alice(audited.address, "sudo touch /opt/erlmcp/unseen")
    predicted, done = audited.harden(options=["--check", "--diff"]), audited.harden()
    assert (predicted.rc, done.rc) == (0, 0), predicted.messages + done.messages
    assert predicted.changed == done.changed
    assert len(done.changed) == 1
    assert "-F dir=/opt/erlmcp -F perm=wa -F key=erlmcp_releases" in predicted.output
    assert [line for line in audited.rules() if "by_hand" not in line] == before
    assert " ".join(BY_HAND) in audited.rules()
    as_alice(audited.address, "sudo touch /opt/erlmcp/seen")
    audited.wait_for(lambda: "name=/opt/erlmcp/seen" in audited.found("erlmcp_releases", since))
    assert "/opt/erlmcp/unseen" not in audited.found("erlmcp_releases", since)
    audited.run("auditctl", "-W", *BY_HAND[1:])


def test_what_a_boot_loads_is_what_the_role_wants_also_after_a_directory_is_gone(audited):
    """auditctl ends at the first rule that fails, and with its service auditd."""
    before = audited.rules()
    ssh(audited.address, "mkdir -p /srv/gone")
    rules = "{{ [{'key': 'erlmcp_extra', 'path': '/srv/gone'}] + __erlmcp_hardening_audit_rules }}"
    assert audited.harden({"erlmcp_hardening_audit_rules": rules}).rc == 0
    assert len(audited.rules()) == len(before) + 1
    ssh(audited.address, "rmdir /srv/gone")
    audited.run("augenrules", "--load")
    assert audited.rules() == before
    done = audited.harden()
    # The file alone.
    assert (done.rc, len(done.changed)) == (0, 1), done.messages
    assert audited.rules() == before


def test_all_of_it_is_taken_away_and_comes_back(audited):
    before = audited.rules()
    audited.run("auditctl", *BY_HAND)
    off = {"erlmcp_hardening_audit_enabled": False}
    predicted, done = audited.harden(off, ["--check"]), audited.harden(off)
    assert predicted.changed == done.changed
    assert audited.rules() == [" ".join(BY_HAND)]
    audited.run("augenrules", "--load")
    assert audited.rules() == ["No rules"]
    assert audited.harden().rc == 0
    assert audited.rules() == before


def test_nobody_who_records_is_told_of(audited):
    os.kill(audited.daemon.pid, signal.SIGTERM)
    audited.daemon.wait(timeout=DEADLINE_SECONDS)
    done = audited.harden()
    assert (done.rc, done.changed) == (0, set()), done.messages
    assert "nobody records what they find" in done.output
    audited.start()


@pytest.fixture(name="updates", scope="module", params=HOSTS)
def _updates(request):
    """Packages of which newer ones are in the security pocket, in another one, and for what is left to the operator."""
    address = HOSTS[request.param]
    ssh(address, "sh -s", typed=(DIRECTORY / "tests" / "make_updates.sh").read_text(), timeout=120)
    try:
        yield request.param
    finally:
        ssh(address, f"rm -rf {UPDATES} /etc/apt/sources.list.d/test-updates.list; apt-get -q update")


def upgraded(address):
    versions = ssh(address, "dpkg-query -W -f '${Package} ${Version}\\n' 'test-*' 'erlang-test'").stdout.splitlines()
    return {line.split()[0] for line in versions if line.endswith(" 2")}


def test_security_updates_are_installed_and_no_others_and_the_node_runs_on(updates):
    address = HOSTS[updates]
    before = ssh(address, "systemctl show -P MainPID erlmcp").stdout
    own_erlang = harden(updates, {"erlmcp_release_system_erlang": True})
    assert own_erlang.rc == 0, own_erlang.messages
    ssh(address, "unattended-upgrade --debug", timeout=120)
    assert upgraded(address) == {"test-security"}
    assert harden(updates).rc == 0
    ssh(address, "unattended-upgrade --debug", timeout=120)
    assert upgraded(address) == {"test-security", "erlang-test"}
    assert ssh(address, "systemctl show -P MainPID erlmcp").stdout == before
    assert health(address)


def test_updates_come_every_day_and_a_reboot_only_when_it_is_asked_for():
    name = next(iter(HOSTS))

    def settings():
        return dict(re.findall(r'^(\S+) "(.*)";$', ssh(HOSTS[name], "apt-config dump").stdout, re.MULTILINE))

    assert settings()["APT::Periodic::Unattended-Upgrade"] == "1"
    assert settings()["APT::Periodic::Update-Package-Lists"] == "1"
    assert settings()["Unattended-Upgrade::Automatic-Reboot"] == "false"
    assert harden(name, {"erlmcp_hardening_updates_reboot_time": "03:30"}).rc == 0
    assert settings()["Unattended-Upgrade::Automatic-Reboot"] == "true"
    assert settings()["Unattended-Upgrade::Automatic-Reboot-Time"] == "03:30"
    assert harden(name).rc == 0


@pytest.mark.parametrize("name", HOSTS)
def test_needrestart_would_leave_the_node_alone(name):
    """Read and asked as needrestart does."""
    program = """
        our %nrconf = (override_rc => {qr(^dbus) => 0});
        eval do { local(@ARGV, $/) = "/etc/needrestart/conf.d/erlmcp.conf"; <> };
        die $@ if $@;
        foreach my $service (qw(erlmcp.service erlmcp-epmd.service erlmcp-backup.service nginx.service)) {
            foreach my $pattern (keys %{$nrconf{override_rc}}) {
                print "$service\n" if $service =~ /$pattern/ && !$nrconf{override_rc}{$pattern};
            }
        }
    """
    assert ssh(HOSTS[name], "perl -w -", typed=program).stdout.split() == ["erlmcp.service", "erlmcp-epmd.service"]


def test_on_a_host_without_any_of_it_check_predicts_what_the_run_changes():
    name, address = next(iter(HOSTS.items()))
    ssh(
        address,
        "apt-get -qy purge auditd unattended-upgrades;"
        " rm -rf /etc/audit /etc/needrestart /etc/apt/apt.conf.d/52erlmcp-unattended-upgrades",
        timeout=120,
    )
    predicted, done = harden(name, options=["--check", "--diff"]), harden(name)
    assert (predicted.rc, done.rc) == (0, 0), predicted.messages + done.messages
    assert predicted.changed == done.changed
    assert len(done.changed) == 3
    for options in ([], ["--check", "--diff"]):
        assert harden(name, options=options).changed == set()


def test_bad_input_is_refused_before_anything_is_changed():
    bad = {
        "erlmcp_hardening_updates_reboot_time": "25:00",
        "erlmcp_hardening_updates_origins": ['a"b'],
        "erlmcp_hardening_audit_extra_rules": [{"key": "mine", "path": "/srv"}],
    }
    changes = {**bad, "erlmcp_node_log_level": "debug", "erlmcp_hardening_updates_enabled": False}
    done = play("erlmcp.ops.site", SITE, changes)
    assert done.rc != 0
    assert [name for name in (*bad, "the rule mine") if name not in done.messages] == []
    assert done.changed == set()
