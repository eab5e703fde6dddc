# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The judgement: facts of a host on which everything is right, and what each fault makes of them."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.module_utils._security.checks import CHECKS, KNOWN, judge_host
from ansible_collections.erlmcp.ops.plugins.module_utils._security.report import make_report

NONE = {"count": 0, "paths": []}
ONE = {"count": 1, "paths": ["/x (0666 a:b)"]}
UNITS = ("erlmcp.service", "erlmcp-epmd.service")
PROCESS = {"pid": 7, "uids": [999], "capabilities": [], "no_new_privileges": True, "seccomp": True}
NFTABLES = {
    "pending": False,
    "backend": "nftables",
    "installed": True,
    "enabled": True,
    "added": [],
    "removed": [],
    "kept": [{"name": "ssh"}],
    "diff": {"before": "nftables: on\ndefault: deny incoming, allow outgoing\n"},
}
DUMP = {"path": "/l/d", "owner": "erlmcp", "group": "erlmcp", "mode": "0640", "bytes": 7, "age_days": 2}
SETTINGS = {
    "host": "n1",
    "accepted": [],
    "exposure_max": 1.2,
    "certificate_days": 30,
    "updates_max_age_days": 3,
    "firewall": NFTABLES,
    "firewall_enabled": True,
    "audit_keys": ["erlmcp_config", "erlmcp_exec"],
}


def tree(**other):
    lists = ("world_readable", "world_writable", "service_writable", "setuid", "access_lists")
    return {"path": "/p", "exists": True, "owner": "root", "group": "erlmcp", "mode": "0750", "entries": 3} | {
        **dict.fromkeys(lists, NONE),
        **other,
    }


def service(name, port, **other):
    secured = {"tls": True, "versions": ["1.2", "1.3"], "asks_for_certificate": True, "days_left": 90}
    return {"name": name, "port": port, "addresses": ["0.0.0.0"], **secured, **other}


FACTS = {
    "account": {
        "name": "erlmcp",
        "exists": True,
        "uid": 999,
        "shell": "/usr/sbin/nologin",
        "groups": ["erlmcp"],
        "sudo": False,
    },
    "trees": {
        **{name: tree() for name in ("config", "home", "tls", "backups")},
        "cookie": tree(mode="0400", owner="erlmcp", service_writable=ONE),
        "logs": tree(service_writable=ONE),
        "data": tree(service_writable=ONE),
        "releases": tree(world_readable=ONE),
    },
    "distribution": {"tls": True},
    "listeners": [
        {"address": "10.0.0.1", "port": 4369, "unit": "erlmcp-epmd.service", "application": ""},
        {"address": "0.0.0.0", "port": 5005, "unit": "erlmcp.service", "application": "erlmcp"},
        {"address": "0.0.0.0", "port": 22, "unit": "ssh.service", "application": ""},
        {"address": "127.0.0.1", "port": 6000, "unit": "erlmcp.service", "application": "erlmcp"},
    ],
    "services": [service("mcp", 5005), service("http", 8080), service("epmd", 4369, tls=None)],
    "units": {unit: {"exposure": 1.1, "process": PROCESS} for unit in UNITS},
    "audit": {
        "rules_path": "/r",
        "written": {"erlmcp_config": 2, "erlmcp_exec": 1},
        "loaded": {"erlmcp_config": 2, "erlmcp_exec": 1},
        "daemon": "active",
        "error": None,
    },
    "updates": {
        "error": None,
        "pending": 4,
        "security": [],
        "lists_age_days": 3,
        "automatic": True,
        "reboot_required": False,
        "reboot_for": [],
    },
    "replaced_code": [{"unit": "session-3.scope", "pids": [9], "files": ["/usr/lib/libc.so.6"]}],
    "backups": {"configured": True, "recipients": 1, "encrypted": 3, "plain": []},
    "crash_dumps": [],
    "secrets": {"processes": [], "files": [], "sealed": True, "encrypted_volume": False},
}


def changed(path, value, of=None):
    """Return the facts, or what is given, with another value at a path with slashes."""
    facts = copy.deepcopy(of or FACTS)
    *way, last = path.split("/")
    part = facts
    for name in way:
        part = part[int(name) if isinstance(part, list) else name]
    part[int(last) if isinstance(part, list) else last] = value
    return facts


def judged(facts, **settings):
    return {row["id"]: row for row in judge_host(facts, {**SETTINGS, **settings})}


def not_passed(facts, **settings):
    return {name: row["status"] for name, row in judged(facts, **settings).items() if row["status"] != "pass"}


def test_a_host_on_which_everything_is_right():
    assert not_passed(FACTS) == {}
    assert tuple(judged(FACTS)) == KNOWN


@pytest.mark.parametrize(
    ("path", "value", "check", "status"),
    [
        *(
            (f"trees/{name}/{fault}", ONE, check, "fail")
            for name, check in (("config", "files_config"), ("home", "files_config"), ("tls", "files_keys"))
            for fault in ("world_readable", "world_writable", "service_writable", "access_lists")
        ),
        ("trees/logs/world_readable", ONE, "files_logs", "fail"),
        ("trees/data/world_writable", ONE, "files_data", "fail"),
        ("trees/backups/service_writable", ONE, "files_backups", "fail"),
        ("trees/releases/service_writable", ONE, "files_releases", "fail"),
        ("trees/releases/setuid", ONE, "files_releases", "fail"),
        ("trees/cookie/mode", "0440", "files_cookie", "fail"),
        ("trees/cookie/owner", "root", "files_cookie", "fail"),
        ("trees/cookie", {"path": "/c", "exists": False}, "files_cookie", "fail"),
        ("trees/tls", {"path": "/t", "exists": False}, "files_keys", "skip"),
        ("trees/config", {"path": "/t", "exists": False}, "files_config", "fail"),
        ("account/shell", "/bin/bash", "account", "fail"),
        ("account/groups", ["docker", "erlmcp"], "account", "fail"),
        ("account/sudo", True, "account", "fail"),
        ("account/exists", False, "account", "fail"),
        ("units/erlmcp.service/process", {**PROCESS, "uids": [0]}, "process", "fail"),
        ("units/erlmcp.service/process", {**PROCESS, "capabilities": ["CapEff"]}, "process", "fail"),
        ("units/erlmcp.service/process", {**PROCESS, "no_new_privileges": False}, "process", "fail"),
        ("units/erlmcp-epmd.service/process", {**PROCESS, "seccomp": False}, "process", "fail"),
        ("units/erlmcp.service/exposure", 1.3, "sandbox", "fail"),
        ("units/erlmcp.service/exposure", None, "sandbox", "fail"),
        ("services/0/tls", False, "tls_listeners", "fail"),
        ("services/0/versions", ["1.1", "1.2"], "tls_listeners", "fail"),
        ("services/0/asks_for_certificate", False, "tls_clients", "fail"),
        ("services/0/days_left", 29, "tls_certificate", "fail"),
        ("services/0/days_left", None, "tls_certificate", "warn"),
        ("distribution/tls", False, "tls_distribution", "fail"),
        ("listeners/1/port", 5006, "listeners", "warn"),
        ("listeners/0/address", "::", "listeners", "warn"),
        ("audit/written", {"erlmcp_config": 2}, "audit_rules", "fail"),
        ("audit/written", None, "audit_rules", "fail"),
        ("audit/loaded", {"erlmcp_config": 1, "erlmcp_exec": 1}, "audit_active", "fail"),
        ("audit/daemon", "failed", "audit_active", "fail"),
        ("audit/error", "no such command", "audit_active", "fail"),
        ("updates/automatic", False, "updates_automatic", "fail"),
        ("updates/lists_age_days", 4, "updates_lists", "fail"),
        ("updates/lists_age_days", None, "updates_lists", "fail"),
        ("updates/security", [{"package": "libssl3", "offered": "3"}], "updates_pending", "fail"),
        ("updates/reboot_required", True, "updates_reboot", "fail"),
        ("replaced_code/0/unit", "ssh.service", "updates_code", "fail"),
        ("replaced_code/0/unit", "init.scope", "updates_code", "fail"),
        ("backups/recipients", 0, "backups_encrypted", "fail"),
        ("backups/plain", ["a.tar.zst"], "backups_encrypted", "fail"),
        ("backups/configured", False, "backups_encrypted", "fail"),
        ("secrets/processes", [{"pid": 4, "unit": "", "shows": ["it"]}], "secrets_processes", "fail"),
        ("secrets/files", ["/x"], "secrets_files", "fail"),
        ("crash_dumps", [DUMP], "secrets_crash_dumps", "fail"),
        ("secrets/sealed", False, "secrets_disk", "warn"),
    ],
)
def test_a_fault_shows_in_its_own_check_only(path, value, check, status):
    assert not_passed(changed(path, value)) == {check: status}


def test_a_stray_listener_is_told_with_the_application_that_opened_it():
    row = judged(changed("listeners/1/port", 41231))["listeners"]
    assert "erlmcp.service listens on 0.0.0.0 port 41231, opened by application erlmcp" in str(row)


def test_without_updates_nothing_is_said_of_them():
    found = not_passed(changed("updates", {"error": "apt-get is missing"}))
    assert set(found) == {check.id for check in CHECKS if check.id.startswith("updates_")} - {"updates_code"}


@pytest.mark.parametrize(
    ("path", "value", "evidence"),
    [
        ("diff/before", "nftables: off\ndefault: deny incoming", "nftables is off"),
        ("diff/before", "nftables: on\ndefault: allow incoming", "lets in what no rule says"),
        ("installed", False, "not installed"),
        ("added", [{"name": "mcp"}], "no rule for mcp"),
        ("removed", [{"name": "old"}], "a rule too many for old"),
        ("pending", True, "not as the inventory says"),
    ],
)
def test_a_firewall_that_is_not_as_it_should_be(path, value, evidence):
    row = judged(FACTS, firewall=changed(path, value, NFTABLES))["firewall"]
    assert (row["status"], evidence in row["evidence"]) == ("fail", True), row


def test_a_firewall_that_could_not_be_looked_at():
    assert judged(FACTS, firewall={"msg": "iptables failed"})["firewall"]["evidence"] == "iptables failed"


def test_a_firewall_of_somebody_else_is_named_and_none_at_all_fails():
    assert judged(FACTS, firewall_enabled=False)["firewall"]["status"] == "warn"
    off = {**NFTABLES, "enabled": False}
    assert judged(FACTS, firewall_enabled=False, firewall=off)["firewall"]["status"] == "fail"


def test_a_host_that_was_not_reached_has_one_check():
    (row,) = judge_host({"unreachable": True, "msg": "no route"}, SETTINGS)
    assert (row["id"], row["status"], row["evidence"]) == ("reached", "fail", "no route")


def test_what_is_accepted_is_named_with_its_reason_on_these_hosts_only():
    facts = changed("distribution/tls", False)
    accepted = [{"check": "tls_distribution", "hosts": ["n1"], "reason": "a tunnel"}]
    row = judged(facts, accepted=accepted)["tls_distribution"]
    assert (row["status"], row["reason"]) == ("accepted", "a tunnel")
    assert judged(facts, accepted=accepted, host="n2")["tls_distribution"]["status"] == "fail"
    assert judged(FACTS, accepted=accepted)["tls_distribution"]["status"] == "pass"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"check": "firewal", "reason": "x"},
            r"accepted\[0\]: 'firewal' is no check. Name one of reached, files_config",
        ),
        ({"check": "firewall", "reason": " "}, r"accepted\[0\]: firewall is accepted without a reason"),
    ],
)
def test_what_is_accepted_has_to_be_said_properly(entry, message):
    with pytest.raises(OpsError, match=message):
        judge_host(FACTS, {**SETTINGS, "accepted": [entry]})


def test_the_specs_of_the_role_know_the_same_checks():
    specs = Path(__file__).parents[5] / "roles/erlmcp_hardening/meta/argument_specs.yml"
    options = yaml.safe_load(specs.read_text())["argument_specs"]["audit"]["options"]
    assert tuple(options["erlmcp_hardening_accepted"]["options"]["check"]["choices"]) == KNOWN


def test_the_report_has_every_check_and_each_remedy_once():
    facts = changed("secrets/files", ["/etc/erlmcp/" + "x" * 200 + "\x1b[2J"])
    hosts = {name: judge_host(facts, {**SETTINGS, "host": name}) for name in ("n2", "n1")}
    report = make_report(hosts)
    assert report["failed"]
    assert report["hosts"] == ["n1", "n2"]
    assert report["counts"] == {"pass": 2 * len(CHECKS), "fail": 2, "warn": 0, "skip": 0, "accepted": 0}
    assert [line for line in report["text"] if line.startswith("fail: ")] == [
        "fail: secrets_files on n1, n2: remove it there, and run rotate_cookie"
    ]
    assert report["text"][-1] == f"2 hosts: {2 * len(CHECKS)} pass, 2 fail"
    assert "\x1b" not in "".join(report["text"])


def test_a_report_of_what_is_accepted_does_not_fail():
    accepted = [{"check": "reached", "reason": "it is built anew"}]
    report = make_report({"n1": judge_host({"msg": "no route"}, {**SETTINGS, "accepted": accepted})})
    assert not report["failed"]
    assert any("(accepted: it is built anew)" in line for line in report["text"])
