# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What one line of the checklist is judged by.

A judge takes the facts of ``security_info`` and the settings, and returns a status and the evidence for it. Pure.
"""

from __future__ import annotations

from .._erlang.listeners import is_loopback

PASS, FAIL, WARN, SKIP = "pass", "fail", "warn", "skip"

_FAULTS = {
    "world_readable": "readable by everybody",
    "world_writable": "writable by everybody",
    "service_writable": "writable by the service",
    "setuid": "set-user-id or set-group-id",
    "access_lists": "with an access list, which its mode does not show",
}
PRIVATE = ("world_readable", "world_writable", "setuid", "access_lists")
OUT_OF_REACH = ("world_readable", "world_writable", "service_writable", "setuid", "access_lists")
UNCHANGEABLE = ("world_writable", "service_writable", "setuid", "access_lists")
_PRIVILEGED_GROUPS = {"root", "sudo", "wheel", "adm", "disk", "shadow", "docker", "lxd", "systemd-journal", "kmem"}
_NO_SHELL = ("/nologin", "/false")
_OLD_VERSIONS = ("1.0", "1.1")
_EVERYWHERE = ("0.0.0.0", "::")


def trees(faults, *names, optional=False):
    """Return a judge: none of these trees has an entry with one of the faults."""

    def judge(facts, _settings):
        trees = [facts["trees"][name] for name in names]
        missing = [tree["path"] for tree in trees if not tree["exists"]]
        if missing:
            return (SKIP if optional else FAIL), f"there is no {', '.join(missing)}"
        found = [
            f"{tree[fault]['count']} {_FAULTS[fault]}: {_few(tree[fault]['paths'], tree[fault]['count'])}"
            for tree in trees
            for fault in faults
            if tree[fault]["count"]
        ]
        if found:
            return FAIL, "; ".join(found)
        return PASS, ", ".join(f"{tree['path']} ({tree['mode']} {tree['owner']}:{tree['group']})" for tree in trees)

    return judge


def cookie(facts, _settings):
    tree = facts["trees"]["cookie"]
    if not tree["exists"]:
        return FAIL, f"there is no {tree['path']}"
    evidence = f"{tree['path']} ({tree['mode']} {tree['owner']}:{tree['group']})"
    is_right = (tree["mode"], tree["owner"]) == ("0400", facts["account"]["name"]) and not tree["access_lists"]["count"]
    return (PASS if is_right else FAIL), evidence


def account(facts, _settings):
    account = facts["account"]
    if not account["exists"]:
        return FAIL, f"there is no account {account['name']}"
    faults = {
        "it is root": account["uid"] == 0,
        f"it may log in with {account['shell']}": not account["shell"].endswith(_NO_SHELL),
        f"it is in {', '.join(sorted(_PRIVILEGED_GROUPS & set(account['groups'])))}": bool(
            _PRIVILEGED_GROUPS & set(account["groups"])
        ),
        "sudo lets it run commands": account["sudo"],
    }
    return _verdict(faults, f"{account['name']}, uid {account['uid']}, {account['shell']}, no sudo")


def process(facts, _settings):
    running = {unit: each["process"] for unit, each in facts["units"].items() if each["process"]}
    if not running:
        return SKIP, f"{_and(facts['units'])} does not run"
    faults = {}
    for unit, process in running.items():
        faults[f"{unit} runs as uid {_and(process['uids'])}"] = process["uids"] != [facts["account"]["uid"]]
        faults[f"{unit} has capabilities ({_and(process['capabilities'])})"] = bool(process["capabilities"])
        faults[f"{unit} may gain privileges"] = not process["no_new_privileges"]
        faults[f"{unit} may make any system call"] = not process["seccomp"]
    return _verdict(faults, f"{_and(running)}: no capabilities, no new privileges, system calls are filtered")


def sandbox(facts, settings):
    most = settings["exposure_max"]
    faults = {f"systemd does not know {unit}": each["exposure"] is None for unit, each in facts["units"].items()}
    known = {unit: each["exposure"] for unit, each in facts["units"].items() if each["exposure"] is not None}
    # Levels have one digit; the sum of two such numbers may not.
    faults.update({f"{unit} has {level}, more than {most}": level > most + 0.01 for unit, level in known.items()})
    return _verdict(faults, ", ".join(f"{unit} {level}" for unit, level in known.items()))


def tls_listeners(facts, _settings):
    asked = [service for service in facts["services"] if service["tls"] is not None]
    if not asked:
        return SKIP, "nothing listens that could be asked"
    old = {_name(service): [each for each in service.get("versions", []) if each in _OLD_VERSIONS] for service in asked}
    faults = {f"{_name(service)} talks in the clear": not service["tls"] for service in asked}
    faults.update({f"{name} offers TLS {_and(versions)}": bool(versions) for name, versions in old.items()})
    return _verdict(faults, ", ".join(f"{_name(each)} TLS {_and(each.get('versions', []))}" for each in asked))


def tls_clients(facts, _settings):
    secured = [service for service in facts["services"] if service["tls"]]
    if not secured:
        return SKIP, "no listener speaks TLS"
    faults = {f"{_name(each)} serves who has no certificate": not each["asks_for_certificate"] for each in secured}
    return _verdict(faults, f"{_and(map(_name, secured))}: clients need a certificate")


def tls_distribution(facts, _settings):
    if facts["distribution"]["tls"]:
        return PASS, "the config set in use has -proto_dist inet_tls"
    return FAIL, "the nodes talk to each other in the clear"


def tls_certificate(facts, settings):
    secured = [service for service in facts["services"] if service["tls"]]
    if not secured:
        return SKIP, "no listener speaks TLS"
    known = {_name(each): each["days_left"] for each in secured if each["days_left"] is not None}
    if len(known) < len(secured):
        return WARN, "not every listener showed its certificate"
    least = settings["certificate_days"]
    faults = {
        f"that of {name} {f'ends in {days} days' if days >= 0 else 'has ended'}": days < least
        for name, days in known.items()
    }
    return _verdict(faults, f"{min(known.values())} days left")


def listeners(facts, _settings):
    known = {service["port"] for service in facts["services"]}
    own = [listener for listener in facts["listeners"] if listener["unit"] in facts["units"]]
    faults = {
        f"{each['unit']} listens on {each['address']} port {each['port']}{_opened_by(each)}": each["port"] not in known
        and not is_loopback(each["address"])
        for each in own
    }
    ports = sorted({service["port"] for service in facts["services"] if service["name"] == "epmd"})
    faults.update(
        {
            f"epmd listens on every address (port {each['port']})": each["port"] in ports
            and each["address"] in _EVERYWHERE
            for each in own
        }
    )
    return _verdict(faults, f"ports {_and(sorted({each['port'] for each in own})) or 'none'}", fault=WARN)


def _opened_by(listener):
    return f", opened by application {listener['application']}" if listener["application"] else ""


def firewall(_facts, settings):
    found = settings["firewall"]
    if "enabled" not in found:
        return FAIL, found.get("msg", "the firewall was not looked at")
    before = found["diff"]["before"]
    if not settings["firewall_enabled"]:
        is_closed = found["enabled"] and "allow incoming" not in before
        return (WARN, f"{found['backend']} is on, and not by this collection") if is_closed else (FAIL, "it is off")
    names = {way: sorted({rule["name"] for rule in found[way]}) for way in ("added", "removed", "kept")}
    faults = {
        f"{found['backend']} is not installed": not found["installed"],
        f"{found['backend']} is off": f"{found['backend']}: on" not in before,
        f"{found['backend']} lets in what no rule says": "allow incoming" in before,
        f"there is no rule for {_and(names['added'])}": bool(names["added"]),
        f"there is a rule too many for {_and(names['removed'])}": bool(names["removed"]),
    }
    verdict = _verdict(faults, f"{found['backend']} is on and lets in {_and(names['kept'])} only")
    return (FAIL, "it is not as the inventory says") if found["pending"] and verdict[0] == PASS else verdict


def audit_rules(facts, settings):
    audit = facts["audit"]
    if audit["written"] is None:
        return FAIL, f"there is no {audit['rules_path']}"
    missing = [key for key in settings["audit_keys"] if key not in audit["written"]]
    return _verdict(
        {f"{audit['rules_path']} has no rule for {_and(missing)}": bool(missing)},
        f"{sum(audit['written'].values())} rules in {audit['rules_path']}",
    )


def audit_active(facts, settings):
    audit = facts["audit"]
    wanted = {**dict.fromkeys(settings["audit_keys"], 1), **(audit["written"] or {})}
    missing = [key for key, count in wanted.items() if audit["loaded"].get(key, 0) < count]
    faults = {
        f"auditd is {audit['daemon']}": audit["daemon"] != "active",
        f"the rules in the kernel are not known ({audit['error']})": audit["error"] is not None,
        f"the kernel has not all rules for {_and(missing)}": bool(missing) and audit["error"] is None,
    }
    return _verdict(faults, f"auditd is active, {sum(audit['loaded'].values())} rules are in the kernel")


def updates(judge):
    """Return a judge for hosts whose updates are known."""

    def known(facts, settings):
        updates = facts["updates"]
        return (FAIL, updates["error"]) if updates["error"] else judge(updates, settings)

    return known


def updates_automatic(updates, _settings):
    return (PASS, "unattended-upgrades is on") if updates["automatic"] else (FAIL, "they do not come by themselves")


def updates_lists(updates, settings):
    age, most = updates["lists_age_days"], settings["updates_max_age_days"]
    if age is None:
        return FAIL, "apt has no lists of packages"
    return (PASS if age <= most else FAIL), f"the lists of packages are {age} days old"


def updates_pending(updates, _settings):
    packages = [f"{each['package']} {each['offered']}" for each in updates["security"]]
    if packages:
        return FAIL, f"{len(packages)} pending: {_few(packages)}"
    return PASS, f"none pending, {updates['pending']} other updates"


def updates_reboot(updates, _settings):
    if updates["reboot_required"]:
        return FAIL, f"a reboot is due for {_and(updates['reboot_for']) or 'an update'}"
    return PASS, "no reboot is due"


def updates_code(facts, _settings):
    faults = {
        # What somebody who is logged in runs ends with the session.
        f"{each['unit']} runs {_few(each['files'])}": each["unit"].endswith(".service") or each["unit"] == "init.scope"
        for each in facts["replaced_code"]
    }
    return _verdict(faults, "every service runs the code that is on disk")


def backups(facts, _settings):
    backups = facts["backups"]
    faults = {
        "there is no nightly backup": not backups["configured"],
        "archives are encrypted for nobody": backups["configured"] and not backups["recipients"],
        f"{len(backups['plain'])} not encrypted: {_few(backups['plain'])}": bool(backups["plain"]),
    }
    return _verdict(faults, f"{backups['encrypted']} archives, {backups['recipients']} recipients")


def secrets_processes(facts, _settings):
    faults = {
        f"process {each['pid']} ({each['unit'] or 'no unit'}) shows {_and(each['shows'])}": True
        for each in facts["secrets"]["processes"]
    }
    return _verdict(faults, "no process shows the cookie")


def secrets_files(facts, _settings):
    files = facts["secrets"]["files"]
    return _verdict(
        {f"the cookie, or a flag that gives one, is in {_few(files)}": bool(files)},
        "neither config nor logs hold the cookie",
    )


def crash_dumps(facts, _settings):
    form = "{path} ({mode} {owner}:{group}, {bytes} bytes, {age_days} days old)"
    shown = [form.format(**each) for each in facts["crash_dumps"]]
    return _verdict(
        {f"the memory of the node, its cookie too, is in {_few(shown)}": bool(shown)}, "no crash dump is left"
    )


def secrets_disk(facts, _settings):
    if facts["secrets"]["sealed"]:
        return PASS, "cookie and keys are encrypted by systemd-creds"
    if facts["secrets"]["encrypted_volume"]:
        return PASS, "cookie and keys are on an encrypted volume"
    return WARN, "cookie and keys are in plain text, on no volume that this host encrypts"


def _verdict(faults, evidence, fault=FAIL):
    """:param faults: text to whether it is so."""
    found = [text for text, is_so in faults.items() if is_so]
    return (fault, "; ".join(found)) if found else (PASS, evidence)


def _few(names, count=None, shown=3):
    """:param count: how many there are, where not all of them are listed."""
    rest = (count or len(names)) - shown
    more = f" and {rest} more" if rest > 0 else ""
    return ", ".join(names[:shown]) + more


def _and(names):
    return ", ".join(map(str, names))


def _name(service):
    return f"{service['name']} ({service['port']})"
