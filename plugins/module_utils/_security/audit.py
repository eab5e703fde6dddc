# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Audit logging: the rules that are laid down, those in the kernel, and whether their reports are kept."""

from __future__ import annotations

import re

from .._core.errors import OpsError
from .._core.files import read_if_there

# As rules are written, and as auditctl lists them.
_KEY = re.compile(r"(?:-k\s+|-F\s+key=|--key[= ]\s*)(\S+)")


def keys_of(rules):
    """Return key to number of rules, of a rule file or of ``auditctl -l``."""
    counts = {}
    for line in rules.splitlines():
        for key in _KEY.findall(line.partition("#")[0]):
            counts[key] = counts.get(key, 0) + 1
    return counts


def observe_audit(runner, rules_path):
    """Return what ``security_info`` documents as ``audit``."""
    rules = read_if_there(rules_path)
    state = runner.run(["systemctl", "is-active", "auditd.service"]).out.strip()
    loaded, error = {}, None
    try:
        listed = runner.run(["auditctl", "-l"])
        loaded, error = keys_of(listed.out), None if listed.ok else listed.err.strip()[:300]
    except OpsError as missing:
        error = str(missing)
    return {
        "rules_path": rules_path,
        "written": keys_of(rules.decode("utf-8", "replace")) if rules is not None else None,
        "loaded": loaded,
        "daemon": state or "unknown",
        "error": error,
    }
