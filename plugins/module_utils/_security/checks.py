# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The checklist: what the facts of a host mean. Pure, so that facts that were kept can be judged too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

from .._core.errors import OpsError
from . import judges
from .judges import FAIL, PASS, SKIP, WARN
from .text import printable

ACCEPTED = "accepted"
STATUSES = (PASS, FAIL, WARN, SKIP, ACCEPTED)

_PERMISSIONS = "Restrict file permissions"
_ACCOUNT = "Use non-root user for service"
_TLS = "Enable TLS for all network traffic"
_FIREWALL = "Configure firewall rules"
_AUDIT = "Enable audit logging"
_UPDATES = "Regular security updates"
_SECRETS = "Secrets encrypted at rest"
_ALL = "All"

_RUN_SITE = "run site, which puts right what it laid down; remove or chmod the rest"
_HARDEN = "set erlmcp_hardening_enabled: true and run site"


@dataclass(frozen=True)
class Check:
    """One line of the checklist.

    :param guide: the item of the administration guide's checklist that it belongs to.
    :param judge: function from facts and settings to status and evidence.
    :param remedy: what to do when it does not pass.
    """

    id: str
    title: str
    guide: str
    judge: Callable
    remedy: str


CHECKS = (
    # The guide wants config 600. The service has to read its config, and should not be able to rewrite it: so root
    # owns it and the service reads it through its group, 0640.
    Check(
        "files_config",
        "Config is for root to write and the service to read",
        _PERMISSIONS,
        judges.trees(judges.OUT_OF_REACH, "config", "home"),
        _RUN_SITE,
    ),
    Check("files_cookie", "The cookie is for the service alone", _PERMISSIONS, judges.cookie, _RUN_SITE),
    Check(
        "files_keys",
        "Private keys are for root to write and the service to read",
        _PERMISSIONS,
        judges.trees(judges.OUT_OF_REACH, "tls", optional=True),
        f"{_RUN_SITE}; rotate_tls with erlmcp_tls_renew=always where a key was readable",
    ),
    # The guide wants logs 644. They hold names, addresses and what clients sent, so everybody could read that: 0640.
    Check(
        "files_logs",
        "Logs are not for everybody",
        _PERMISSIONS,
        judges.trees(judges.PRIVATE, "logs"),
        "chmod o-rwx what is named; erlmcp_logrotate makes new logs 0640",
    ),
    Check(
        "files_data",
        "Data are not for everybody",
        _PERMISSIONS,
        judges.trees(judges.PRIVATE, "data"),
        "chmod o-rwx what is named; the unit's UMask keeps new files from everybody",
    ),
    Check(
        "files_backups",
        "Archives are for root alone",
        _PERMISSIONS,
        judges.trees(judges.OUT_OF_REACH, "backups", optional=True),
        _RUN_SITE,
    ),
    Check(
        "files_releases",
        "The service cannot change the code it runs",
        _PERMISSIONS,
        judges.trees(judges.UNCHANGEABLE, "releases"),
        "chown root: and chmod go-w what is named; where it may have been changed, install the release anew",
    ),
    Check(
        "account",
        "The service account has no rights of its own",
        _ACCOUNT,
        judges.account,
        "run the playbook site; take groups and sudo rights from the account",
    ),
    Check(
        "process",
        "What runs has no privileges",
        _ACCOUNT,
        judges.process,
        "take the exception out of erlmcp_node_unit_settings; run the playbook site",
    ),
    Check(
        "sandbox",
        "The units are in their sandbox",
        _ACCOUNT,
        judges.sandbox,
        "take the exception out of erlmcp_node_unit_settings and run site, or raise erlmcp_hardening_exposure_max",
    ),
    Check(
        "tls_listeners",
        "Listeners speak TLS 1.2 or newer only",
        _TLS,
        judges.tls_listeners,
        "set erlmcp_tls_enabled: true and run site, once the clients have certificates (client_certificates)",
    ),
    Check(
        "tls_clients",
        "Clients need a certificate",
        _TLS,
        judges.tls_clients,
        "set erlmcp_node_tls_verify: verify_peer and erlmcp_node_tls_fail_if_no_peer_cert: true, and run site",
    ),
    Check(
        "tls_distribution",
        "The nodes talk TLS to each other",
        _TLS,
        judges.tls_distribution,
        "set erlmcp_tls_distribution_enabled: true, stop the unit on all hosts, and run site",
    ),
    Check(
        "tls_certificate",
        "The certificate does not end soon",
        _TLS,
        judges.tls_certificate,
        "run the playbook rotate_tls",
    ),
    Check(
        "firewall",
        "The firewall is on and as the inventory says",
        _FIREWALL,
        judges.firewall,
        "set erlmcp_firewall_enabled: true and run site",
    ),
    Check(
        "listeners",
        "The node listens where it is expected to",
        _FIREWALL,
        judges.listeners,
        "find out what the release opened; set erlmcp_node_epmd_address for epmd",
    ),
    Check("audit_rules", "Audit rules are laid down", _AUDIT, judges.audit_rules, _HARDEN),
    Check(
        "audit_active", "Audit rules are in effect", _AUDIT, judges.audit_active, f"{_HARDEN}; systemctl status auditd"
    ),
    Check(
        "updates_automatic",
        "Security updates come by themselves",
        _UPDATES,
        judges.updates(judges.updates_automatic),
        _HARDEN,
    ),
    Check(
        "updates_lists",
        "apt knows of new updates",
        _UPDATES,
        judges.updates(judges.updates_lists),
        "apt-get update; find out why the timer apt-daily does not do it",
    ),
    Check(
        "updates_pending",
        "No security update is pending",
        _UPDATES,
        judges.updates(judges.updates_pending),
        "unattended-upgrade, or apt-get upgrade, on the host",
    ),
    Check(
        "updates_code",
        "No service runs code that was replaced",
        _UPDATES,
        judges.updates_code,
        "systemctl restart what is named; the node with the playbook restart",
    ),
    Check(
        "updates_reboot",
        "No reboot is due",
        _UPDATES,
        judges.updates(judges.updates_reboot),
        "reboot the hosts one at a time, each when the others are healthy (check_health)",
    ),
    Check(
        "backups_encrypted",
        "Archives are encrypted",
        _SECRETS,
        judges.backups,
        "set erlmcp_backup_recipients and run site; plain archives go with the retention, or by hand",
    ),
    Check(
        "secrets_processes",
        "No process shows the cookie",
        _SECRETS,
        judges.secrets_processes,
        "end what is named, ask the node with the command erlmcp instead, and run rotate_cookie",
    ),
    Check(
        "secrets_files",
        "The cookie is in its own file only",
        _SECRETS,
        judges.secrets_files,
        "remove it there, and run rotate_cookie",
    ),
    Check(
        "secrets_crash_dumps",
        "No crash dump is left",
        _SECRETS,
        judges.crash_dumps,
        "find out why the node crashed and remove the dump; run rotate_cookie if others than the service could read it",
    ),
    Check(
        "secrets_disk",
        "Cookie and keys are encrypted on disk",
        _SECRETS,
        judges.secrets_disk,
        "set erlmcp_credentials_enabled: true and run site; accept this check where the disk below is encrypted",
    ),
)
_REACHED = Check(
    "reached", "The host was looked at", _ALL, None, "make the host reachable, or take it out of the inventory"
)
KNOWN = tuple(check.id for check in (_REACHED, *CHECKS))


def judge_host(facts, settings):
    """Return the checks of a host, in the order of the checklist, as dicts.

    :param facts: what ``security_info`` returned, or how it failed.
    :param settings: as the filter ``security_checks`` documents them.
    :raises OpsError: when what is accepted is not said properly.
    """
    accepted = _accepted(settings["accepted"], settings["host"])
    if "trees" not in facts:
        verdicts = [(_REACHED, FAIL, str(facts.get("msg", "no answer")))]
    else:
        verdicts = [(_REACHED, PASS, "everything was looked at")]
        verdicts += [(check, *check.judge(facts, settings)) for check in CHECKS]
    return [_row(check, status, evidence, settings["host"], accepted) for check, status, evidence in verdicts]


def _row(check, status, evidence, host, accepted):
    reason = accepted.get(check.id) if status in (FAIL, WARN) else None
    return {
        "host": host,
        "id": check.id,
        "title": check.title,
        "guide": check.guide,
        "status": ACCEPTED if reason else status,
        "evidence": printable(evidence.strip()),
        "remedy": check.remedy if status in (FAIL, WARN) else "",
        "reason": printable(reason or ""),
    }


def _accepted(entries, host):
    """Return check to reason for this host; refuse what is not understood."""
    for number, entry in enumerate(entries):
        name = f"erlmcp_hardening_accepted[{number}]"
        if entry.get("check") not in KNOWN:
            raise OpsError(f"{name}: {entry.get('check')!r} is no check. Name one of {', '.join(KNOWN)}", kind="input")
        if not str(entry.get("reason") or "").strip():
            raise OpsError(f"{name}: {entry['check']} is accepted without a reason. Say why", kind="input")
    return {entry["check"]: entry["reason"] for entry in entries if host in (entry.get("hosts") or [host])}
