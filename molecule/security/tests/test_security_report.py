# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report on the security of hosts: one thing after the other is broken on them, and seen in its own check."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from testlib import Hosts, Played, play, ssh

SCENARIO = Path(__file__).parents[1]
HOSTS = Hosts(SCENARIO)
PLAYBOOK = "erlmcp.ops.audit_security"
COOKIE = "/etc/erlmcp/home/.erlang.cookie"
# The node answers as it did before.
SERVES = (
    "for try in $(seq 60); do erlmcp ping > /dev/null 2>&1 && curl -sk --max-time 2 --cert /etc/erlmcp/certs/cert.pem"
    " --key /etc/erlmcp/certs/key.pem https://127.0.0.1:8080/health | grep -q healthy && exit; sleep 0.5; done; exit 1"
)
SECURITY_UPDATE = """
mkdir -p /var/lib/audit-updates && cd /var/lib/audit-updates
cat > Packages << END
Package: zstd
Version: 99
Architecture: $(dpkg --print-architecture)
Filename: ./zstd.deb
Size: 1
SHA256: $(printf %064d 0)
Maintainer: nobody
Description: nothing
END
cat > Release << END
Origin: Debian
Label: Debian-Security
Suite: stable-security
Date: $(date --utc --rfc-email)
SHA256:
 $(sha256sum Packages | cut -d ' ' -f 1) $(stat --format %s Packages) Packages
END
echo 'deb [trusted=yes lang=none] file:/var/lib/audit-updates ./' > /etc/apt/sources.list.d/audit-updates.list
apt-get update
"""


@dataclass
class Audit:
    """A run of the playbook, and its report."""

    played: Played
    report: dict
    html: str
    rows: dict = field(init=False)

    def __post_init__(self):
        self.rows = {(row["host"], row["id"]): row for row in self.report["checks"]}

    @property
    def statuses(self):
        return {key: row["status"] for key, row in self.rows.items()}


def audit(directory, hosts=HOSTS, variables=None, options=()):
    played = play(PLAYBOOK, hosts, {"erlmcp_hardening_report_dir": str(directory), **(variables or {})}, options)
    report = Path(directory) / "audit_security.json"
    assert report.exists(), played.output
    return Audit(played, json.loads(report.read_text()), report.with_suffix(".html").read_text())


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    """How the hosts are as they were provisioned."""
    return audit(tmp_path_factory.mktemp("before"))


@dataclass(frozen=True)
class Break:
    """Something that goes wrong on a host.

    :param how: shell command that does it.
    :param undo: shell command that puts it back.
    :param shows: check to the status that it gets.
    :param evidence: part of the evidence of the first of these.
    """

    name: str
    how: str
    undo: str
    shows: dict
    evidence: str


BREAKS = (
    Break(
        "a log that everybody can read",
        "chmod 0644 /var/log/erlmcp/erlmcp.log",
        "chmod 0640 /var/log/erlmcp/erlmcp.log",
        {"files_logs": "fail"},
        "1 readable by everybody: /var/log/erlmcp/erlmcp.log (0644 erlmcp:erlmcp)",
    ),
    Break(
        "code that the service can write",
        "chown erlmcp /opt/erlmcp/current/bin/erlmcp",
        "chown root /opt/erlmcp/current/bin/erlmcp",
        {"files_releases": "fail"},
        "1 writable by the service: /opt/erlmcp/releases/",
    ),
    Break(
        "a copy of the cookie, under a name that is markup",
        f"install -m 0644 {COOKIE} '/etc/erlmcp/<img src=x onerror=alert(1)>'",
        "rm '/etc/erlmcp/<img src=x onerror=alert(1)>'",
        {"files_config": "fail", "secrets_files": "fail"},
        "1 readable by everybody: /etc/erlmcp/<img src=x onerror=alert(1)> (0644 root:root)",
    ),
    Break(
        "a cookie that the group can read",
        f"chmod 0440 {COOKIE}",
        f"chmod 0400 {COOKIE}",
        {"files_cookie": "fail"},
        "0440",
    ),
    Break(
        "a copy of a private key",
        "install -m 0604 /etc/erlmcp/certs/key.pem /etc/erlmcp/certs/copy.pem",
        "rm /etc/erlmcp/certs/copy.pem",
        {"files_keys": "fail"},
        "copy.pem (0604 root:root)",
    ),
    Break(
        "data that everybody can write",
        "install -m 0606 /dev/null /var/lib/erlmcp/audit",
        "rm /var/lib/erlmcp/audit",
        {"files_data": "fail"},
        "/var/lib/erlmcp/audit (0606 root:root)",
    ),
    Break(
        "an archive that is not encrypted",
        r"umask 077; printf '\050\265\057\375' > /var/backups/erlmcp/plain.tar.zst",
        "rm /var/backups/erlmcp/plain.tar.zst",
        {"backups_encrypted": "fail"},
        "1 not encrypted: plain.tar.zst",
    ),
    Break(
        "an account with rights",
        "gpasswd -a erlmcp adm",
        "gpasswd -d erlmcp adm",
        {"account": "fail"},
        "it is in adm",
    ),
    Break(
        "a hole in the sandbox",
        "d=/etc/systemd/system/erlmcp.service.d; mkdir -p $d; printf '[Service]\nSystemCallFilter=\nPrivateUsers=no\n'"
        " > $d/audit.conf; systemctl daemon-reload",
        "rm -r /etc/systemd/system/erlmcp.service.d; systemctl daemon-reload",
        {"sandbox": "fail"},
        "erlmcp.service has ",
    ),
    Break(
        "no firewall",
        "nft delete table inet erlmcp_ops",
        "systemctl restart erlmcp-firewall",
        {"firewall": "fail"},
        "nftables is off",
    ),
    Break(
        "a listener of the release that nobody knows",
        "erlmcp eval 'P = spawn(fun() -> {ok, _} = gen_tcp:listen(7777, []), receive stop -> ok end end),"
        " register(audit, P).'",
        "erlmcp eval 'audit ! stop.'",
        {"listeners": "warn"},
        "erlmcp.service listens on 0.0.0.0 port 7777",
    ),
    Break(
        "a cookie after -setcookie",
        "systemd-run --quiet --unit audit-leak python3 -c 'import time; time.sleep(600)' -setcookie somebody",
        "systemctl stop audit-leak",
        {"secrets_processes": "fail"},
        "(audit-leak.service) shows a cookie after -setcookie",
    ),
    Break(
        "a library of the node that was upgraded",
        "set -e; lib=$(readlink -f /lib/*/libtinfo.so.6); cp -p $lib $lib.new; mv $lib.new $lib",
        f"systemctl restart erlmcp; {SERVES}",
        {"updates_code": "fail"},
        "erlmcp.service runs /usr/lib/",
    ),
    Break(
        "a security update that waits",
        SECURITY_UPDATE,
        "rm -r /var/lib/audit-updates /etc/apt/sources.list.d/audit-updates.list; apt-get update",
        {"updates_pending": "fail"},
        "1 pending: zstd 99",
    ),
    Break(
        "old lists of packages",
        "find /var/lib/apt/periodic /var/lib/apt/lists -maxdepth 1 -exec touch -d '-9 days' {} +",
        "touch /var/lib/apt/lists",
        {"updates_lists": "fail"},
        "9 days old",
    ),
    Break(
        "a reboot that is due",
        "touch /run/reboot-required; echo linux-image > /run/reboot-required.pkgs",
        "rm /run/reboot-required /run/reboot-required.pkgs",
        {"updates_reboot": "fail"},
        "a reboot is due for linux-image",
    ),
    Break(
        "a crash dump",
        f"(echo =erl_crash_dump:0.5; cat {COOKIE})"
        " | install -m 0640 -o erlmcp -g erlmcp /dev/stdin /var/log/erlmcp/moved-away",
        "rm /var/log/erlmcp/moved-away",
        {"secrets_crash_dumps": "fail"},
        "/var/log/erlmcp/moved-away (0640 erlmcp:erlmcp, ",
    ),
)


def test_each_thing_that_is_broken_shows_in_its_own_check_and_nowhere_else(before, tmp_path):
    """All at once, on the hosts in turn: what one of them did to the check of another would show too."""
    places = [list(HOSTS.items())[number % len(HOSTS)] for number in range(len(BREAKS))]
    undo = []
    try:
        for (name, address), broken in zip(places, BREAKS):
            assert all(before.statuses[name, check] == "pass" for check in broken.shows), broken.name
            undo.append((address, broken.undo))
            ssh(address, broken.how)
        after = audit(tmp_path)
    finally:
        for address, command in undo:
            ssh(address, command)
    differs = {key: status for key, status in after.statuses.items() if status != before.statuses[key]}
    assert differs == {
        (name, check): status
        for (name, _address), broken in zip(places, BREAKS)
        for check, status in broken.shows.items()
    }
    for (name, _address), broken in zip(places, BREAKS):
        first = after.rows[name, next(iter(broken.shows))]
        assert broken.evidence in first["evidence"]
        assert first["remedy"]
    assert "<img" not in after.html
    assert "&lt;img src=x onerror=alert(1)&gt;" in after.html
    assert after.played.rc != 0
    assert "checks fail, see the report above" in after.played.messages


def test_all_is_put_back_and_what_need_not_pass_is_accepted(before, tmp_path):
    failed = sorted({check for (_host, check), status in before.statuses.items() if status == "fail"})
    own = yaml.safe_load((SCENARIO / "inventory/hosts.yml").read_text())["all"]["children"]["erlmcp"]["vars"]
    accepted = own["erlmcp_hardening_accepted"] + [{"check": check, "reason": "a test"} for check in failed]
    after = audit(tmp_path, variables={"erlmcp_hardening_accepted": accepted})
    assert after.played.rc == 0, after.played.output
    assert {**before.statuses, **{key: "accepted" for key in before.statuses if key[1] in failed}} == after.statuses
    assert after.rows[next(iter(HOSTS)), "audit_active"]["reason"] in after.html
    # Nothing changes but the report, which is for its owner alone.
    assert {task for _host, task in after.played.changed} <= {
        f"erlmcp.ops.erlmcp_hardening : {task}"
        for task in ("Ensure the report is kept for programs", "Ensure the report is kept for people")
    }
    assert (tmp_path / "audit_security.json").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "audit_security.html").stat().st_mode & 0o777 == 0o600


def test_check_mode_sees_the_same_and_leaves_no_file(before, tmp_path):
    variables = {"erlmcp_hardening_report_dir": str(tmp_path / "report")}
    played = play(PLAYBOOK, HOSTS, variables, ["--check"])
    assert not (tmp_path / "report").exists()
    (shown,) = {
        tuple(result["msg"])
        for play_ in played.report["plays"]
        for task in play_["tasks"]
        for result in task["hosts"].values()
        if task["task"]["name"].endswith("Show the report")
    }
    assert shown == tuple(before.report["text"])


def test_no_output_shows_the_cookie_that_processes_and_logs_show(tmp_path):
    name, address = next(iter(HOSTS.items()))
    cookie = ssh(address, f"cat {COOKIE}").stdout.strip()
    ssh(
        address,
        f"cp --preserve=all /var/log/erlmcp/erlmcp.log /var/tmp/log; cat {COOKIE} >> /var/log/erlmcp/erlmcp.log;"
        f' systemd-run --quiet --unit audit-leak -E AUDIT="$(cat {COOKIE})" sleep 600',
    )
    try:
        after = audit(tmp_path, options=["-vvv", "--diff"])
    finally:
        ssh(address, "systemctl stop audit-leak; cat /var/tmp/log > /var/log/erlmcp/erlmcp.log; rm /var/tmp/log")
    assert "shows the cookie in its environment" in after.rows[name, "secrets_processes"]["evidence"]
    assert "/var/log/erlmcp/erlmcp.log" in after.rows[name, "secrets_files"]["evidence"]
    assert cookie not in after.played.output + json.dumps(after.report) + after.html


def test_a_listener_without_tls_is_found_by_asking_it(before, tmp_path):
    name, address = list(HOSTS.items())[-1]
    assert before.statuses[name, "tls_listeners"] == before.statuses[name, "tls_clients"] == "pass"
    ssh(address, "systemd-run --quiet --unit audit-plain nc -lk 9999")
    try:
        after = audit(tmp_path, variables={"erlmcp_metrics_port": 9999})
    finally:
        ssh(address, "systemctl stop audit-plain")
    assert after.rows[name, "tls_listeners"]["evidence"] == "metrics (9999) talks in the clear"
    assert after.statuses[name, "tls_clients"] == "pass"


def test_a_certificate_that_ends_too_soon(before, tmp_path):
    after = audit(tmp_path, variables={"erlmcp_hardening_certificate_days": 1000})
    differs = {check for (_host, check), status in after.statuses.items() if status == "fail"} - {
        check for (_host, check), status in before.statuses.items() if status == "fail"
    }
    assert differs == {"tls_certificate"}


def test_audit_rules_are_read_from_the_file_that_is_laid_down(tmp_path):
    path = "/etc/audit/rules.d/50-erlmcp.rules"
    keys = [f"erlmcp_{name}" for name in ("config", "cookie", "keys", "releases", "unit", "exec")]
    whole, lacking = HOSTS.items()
    for (_name, address), written in ((whole, keys), (lacking, keys[1:])):
        rules = "\n".join(f"-w /etc/{key} -p wa -k {key}" for key in written)
        ssh(address, f"mkdir -p /etc/audit/rules.d; cp -p {path} /var/tmp/rules; cat > {path}", rules, check=False)
    try:
        after = audit(tmp_path)
    finally:
        for address in HOSTS.values():
            ssh(address, f"if [ -e /var/tmp/rules ]; then mv /var/tmp/rules {path}; else rm {path}; fi")
    assert after.rows[whole[0], "audit_rules"]["evidence"] == f"6 rules in {path}"
    assert after.statuses[whole[0], "audit_rules"] == "pass"
    assert after.rows[lacking[0], "audit_rules"]["evidence"] == f"{path} has no rule for erlmcp_config"


def test_a_host_that_cannot_be_reached_is_a_row_that_fails(tmp_path):
    name = next(iter(HOSTS))
    part = HOSTS.part(tmp_path, [name])
    inventory = Path(part.inventory) / "hosts.yml"
    content = yaml.safe_load(inventory.read_text())
    gone = HOSTS[name].rpartition(".")[0] + ".99"
    content["all"]["children"]["erlmcp"]["hosts"] = {
        "gone.test": {"ansible_host": gone},
        name: {"ansible_host": HOSTS[name]},
    }
    inventory.write_text(yaml.safe_dump(content))
    after = audit(tmp_path, part)
    assert [row["id"] for (host, _check), row in after.rows.items() if host == "gone.test"] == ["reached"]
    assert after.statuses["gone.test", "reached"] == "fail"
    assert after.statuses[name, "files_cookie"] == "pass"
    assert after.played.rc != 0


def test_what_is_accepted_and_is_no_check_is_refused_before_anything_is_looked_at(tmp_path):
    accepted = [{"check": "firewal", "reason": "a slip"}]
    played = play(
        PLAYBOOK, HOSTS, {"erlmcp_hardening_accepted": accepted, "erlmcp_hardening_report_dir": str(tmp_path)}
    )
    assert played.rc != 0
    assert "value of check must be one of: reached, files_config," in played.messages
    assert "Look at files" not in played.output
    assert list(tmp_path.iterdir()) == []


def test_site_finds_by_its_one_question_what_differs_of_certificates_and_audit():
    """The other kinds are in scenario check, where there are neither."""
    first, second = HOSTS
    ssh(HOSTS[first], "chmod 0600 /etc/erlmcp/certs/current/key.pem")
    ssh(HOSTS[second], "echo '# by hand' >> /etc/audit/rules.d/50-erlmcp.rules")
    expected = {
        (first, "erlmcp.ops.erlmcp_tls : Ask for what is due, and bring everything else up to date"),
        (second, "erlmcp.ops.erlmcp_hardening : Ensure the audit rules are laid down and loaded"),
    }
    assert play("erlmcp.ops.site", HOSTS, options=["--check", "--diff"]).changed == expected
    done = play("erlmcp.ops.site", HOSTS)
    assert done.rc == 0, done.messages
    assert done.changed == expected
    assert play("erlmcp.ops.site", HOSTS).changed == set()
