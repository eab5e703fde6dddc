# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is wrong with the variables of role ``erlmcp_hardening`` that argument specs let through. Pure: no I/O."""

from __future__ import annotations

import re

from .._audit.rules import wanted_watches
from .._core.errors import OpsError

# apt.conf has no way to write them, and one word that apt cannot read keeps it from doing anything at all.
_UNREADABLE = re.compile(r'["\n]')
_TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
_RULE = {"kind": "directory", "permissions": "wa", "filters": [], "enabled": True}


def hardening_problems(variables):
    """Return the problems as a list of texts, each with the variable and the next action.

    :param variables: variable name to value, of ``_audit_rules``, ``_audit_extra_rules``, ``_updates_origins``,
        ``_updates_blacklist`` and ``_updates_reboot_time``.
    """
    return list(_problems(**{name.partition("erlmcp_hardening_")[2]: value for name, value in variables.items()}))


def _problems(audit_rules, audit_extra_rules, updates_origins, updates_blacklist, updates_reboot_time):
    try:
        wanted_watches([{**_RULE, **rule} for rule in [*audit_rules, *audit_extra_rules]])
    except OpsError as error:
        yield f"erlmcp_hardening_audit_rules with erlmcp_hardening_audit_extra_rules: {error}"
    for name, values in (("origins", updates_origins), ("blacklist", updates_blacklist)):
        for value in values:
            if _UNREADABLE.search(value):
                yield f"erlmcp_hardening_updates_{name}: {value!r} has a quote or a line break: apt cannot read it"
    if not updates_origins:
        yield (
            "erlmcp_hardening_updates_origins is empty, so nothing would be updated: name an origin, or set "
            "erlmcp_hardening_updates_enabled: false"
        )
    for value in updates_blacklist:
        try:
            re.compile(value)
        except re.error as error:
            # unattended-upgrades would end with it every night.
            yield f"erlmcp_hardening_updates_blacklist: {value!r} is no regular expression ({error}): escape it"
    if updates_reboot_time and not _TIME.fullmatch(updates_reboot_time):
        yield (
            f"erlmcp_hardening_updates_reboot_time: {updates_reboot_time!r} is no time of day: write it like 03:30, "
            f"or leave it empty"
        )
