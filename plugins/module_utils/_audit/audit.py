# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module ``audit_rules``: observe, plan, apply, look again."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import re
import shutil
from dataclasses import dataclass, replace

from .._core.errors import OpsError
from .._core.files import read_if_there, sync_directory, write_atomically
from .._core.runner import SEARCH_PATH
from .rules import accounts, identity, parse_listing, plan, rules_file, wanted_watches

FILE = "/etc/audit/rules.d/50-erlmcp.rules"
_HEADING = (
    "# Made by Ansible (erlmcp.ops.audit_rules): what is changed here is replaced by the next run.",
    "# A directory that was taken away since must not keep the rules after it, or auditd itself, from being loaded.",
    "-i",
)


@dataclass(frozen=True)
class Kernel:
    """What the kernel says of audit.

    :param refusal: why it says nothing, as text; empty when it answers.
    :param locked: rules cannot be changed before the next boot.
    :param recording: rules take effect and auditd writes down what they find.
    :param rules: tuple of :class:`Loaded`.
    """

    refusal: str = ""
    locked: bool = False
    recording: bool = False
    rules: tuple = ()


def audit_rules(module, runner, file=FILE):
    """Bring the rules of file and kernel to those asked for, and return what changed.

    :param runner: a :class:`Runner`.
    :param file: where the rules are kept for the next boot.
    """
    watches = wanted_watches(module.params["rules"]) if module.params["enabled"] else ()
    installed = shutil.which("auditctl", path=SEARCH_PATH) is not None
    if watches and not module.check_mode:
        _check_host(watches, installed)
    watches = tuple(replace(watch, path=_real(watch)) for watch in watches)
    kernel = observe(runner) if installed else Kernel(refusal="auditd is not installed")
    before = (read_if_there(file) or b"").decode("utf-8", "replace")
    after = rules_file(watches, _HEADING) or ""
    planned = plan(_identities(watches), kernel.rules)
    loads = planned.changes and not kernel.refusal and not kernel.locked
    if not module.check_mode:
        # A rule that the kernel refuses must not wait for the next boot.
        if loads:
            _load(runner, planned, watches)
        if before != after:
            _write(file, after)
    for warning in _warnings(kernel, planned, watches, installed):
        module.warn(warning)
    return {
        "changed": bool(loads or before != after),
        "installed": installed,
        "loaded": bool(watches) and not kernel.refusal and (bool(loads) or not planned.changes),
        "recording": kernel.recording,
        "locked": kernel.locked,
        "added": [str(watches[number]) for number in planned.added] if loads else [],
        "removed": [rule.line for rule in planned.removed] if loads else [],
        "rules": [str(watch) for watch in watches],
        "diff": [
            *_diff(file, before, after),
            *(_diff("kernel", _listing(kernel.rules), _planned_listing(kernel, planned, watches)) if loads else []),
        ],
    }


def observe(runner):
    """Return the :class:`Kernel`. In a container it does not answer, whatever runs there."""
    status = runner.run(["auditctl", "-s"])
    if not status.ok:
        return Kernel(refusal=(status.err or status.out).strip().replace("\n", "; "))
    values = dict(re.findall(r"^(\w+) (\d+)", status.out, re.MULTILINE))
    listed = _auditctl(runner, "-l")
    return Kernel(
        locked=values["enabled"] == "2",
        recording=values["enabled"] != "0" and values["pid"] != "0",
        rules=parse_listing(listed),
    )


def _check_host(watches, installed):
    """Refuse before anything is changed what the kernel would refuse half-way."""
    if not installed:
        raise OpsError(
            "auditd is not installed on this host: install the package auditd, or use the role "
            "erlmcp.ops.erlmcp_hardening, which does",
            kind="audit",
        )
    for watch in watches:
        directory = watch.path if watch.kind == "directory" else os.path.dirname(watch.path)
        if not os.path.isdir(directory):
            raise OpsError(
                f"the rule {watch.key} needs the directory {directory}, which is not on this host: make "
                f"it first (role erlmcp_node does for its own), or leave the rule out",
                kind="audit",
                key=watch.key,
                path=watch.path,
            )
    users, groups = accounts(watches)
    for kind, name in [*(("account", name) for name in users), *(("group", name) for name in groups)]:
        if _id(kind == "group", name) is None:
            raise OpsError(
                f"a filter of an audit rule names the {kind} {name!r}, which is not on this host: make it first, or "
                f"change the filter",
                kind="audit",
            )


def _identities(watches):
    users, groups = accounts(watches)
    names = [*((False, name) for name in users), *((True, name) for name in groups)]
    numbers = {name: number for name in names if (number := _id(*name)) is not None}
    return [identity(watch, numbers) for watch in watches]


def _id(is_group, name):
    with contextlib.suppress(KeyError):
        return grp.getgrnam(name).gr_gid if is_group else pwd.getpwnam(name).pw_uid
    return None


def _real(watch):
    """The kernel watches a link to a directory as what it is, which never changes."""
    if watch.kind == "directory":
        return os.path.realpath(watch.path)
    return os.path.join(os.path.realpath(os.path.dirname(watch.path)), os.path.basename(watch.path))


def _load(runner, planned, watches):
    for rule in planned.removed:
        _auditctl(runner, *rule.removal)
    for number in planned.added:
        _auditctl(runner, "-a", *watches[number].arguments)
    if plan(_identities(watches), observe(runner).rules).changes:
        raise OpsError(
            "auditctl took the rules without an error, yet the kernel lists others: does something else manage rules "
            "with keys that begin with erlmcp_ at the same time?",
            kind="audit",
        )


def _auditctl(runner, *arguments):
    done = runner.run(["auditctl", *arguments])
    if not done.ok:
        raise OpsError(f"auditctl {' '.join(arguments)} failed: {(done.err or done.out).strip()}", kind="audit")
    return done.out


def _write(file, text):
    if text:
        os.makedirs(os.path.dirname(file), mode=0o750, exist_ok=True)
        write_atomically(file, text.encode(), mode=0o640)
    else:
        os.unlink(file)
        sync_directory(os.path.dirname(file))


def _warnings(kernel, planned, watches, installed):
    if not installed:
        return
    if kernel.refusal:
        if watches:
            yield (
                f"The audit rules are laid down, and this kernel does not take them: {kernel.refusal}. In a container "
                f"audit belongs to the machine; elsewhere boot without audit=0 on the kernel's command line."
            )
        return
    if planned.changes and kernel.locked:
        yield (
            "The audit rules are laid down, and others are loaded, which are locked (auditctl -e 2): reboot this host "
            "to load them."
        )
    if watches and not kernel.recording:
        yield (
            "The kernel has the audit rules, and nobody records what they find: auditd does not run, or auditing is "
            "switched off. Run systemctl start auditd and auditctl -e 1."
        )


def _diff(name, before, after):
    if before == after:
        return []
    return [{"before": before, "after": after, "before_header": name, "after_header": name}]


def _listing(rules):
    return "".join(f"{rule.line}\n" for rule in rules if rule.own)


def _planned_listing(kernel, planned, watches):
    kept = tuple(rule for rule in kernel.rules if rule not in planned.removed)
    return _listing(kept) + "".join(f"{watches[number]}\n" for number in planned.added)
