# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Variables of hardening that would end in the middle of a run, or every night."""

from __future__ import annotations

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._hardening.problems import hardening_problems

GOOD = {
    "audit_rules": [{"key": "erlmcp_config", "path": "/etc/erlmcp"}],
    "audit_extra_rules": [],
    "updates_origins": ["origin=Debian,codename=${distro_codename}-security,label=Debian-Security"],
    "updates_blacklist": [r"erlang-", r"libstdc\+\+6$"],
    "updates_reboot_time": "03:30",
}


def problems(**changes):
    return hardening_problems({f"erlmcp_hardening_{name}": value for name, value in {**GOOD, **changes}.items()})


def test_good_ones():
    assert problems() == []
    assert problems(updates_reboot_time="", updates_blacklist=[]) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"audit_extra_rules": [{"key": "mine", "path": "/srv"}]}, "erlmcp_hardening_audit_extra_rules: the rule mine"),
        ({"audit_rules": [{"key": "erlmcp_a", "path": "/a b"}]}, "erlmcp_hardening_audit_rules with"),
        ({"audit_extra_rules": GOOD["audit_rules"]}, "stands twice"),
        ({"updates_origins": ['origin="Debian"']}, "erlmcp_hardening_updates_origins"),
        ({"updates_origins": []}, "erlmcp_hardening_updates_origins is empty"),
        ({"updates_blacklist": ['lib"']}, "erlmcp_hardening_updates_blacklist"),
        ({"updates_blacklist": ["libstdc("]}, "is no regular expression"),
        ({"updates_reboot_time": "24:00"}, "erlmcp_hardening_updates_reboot_time"),
        ({"updates_reboot_time": "now"}, "erlmcp_hardening_updates_reboot_time"),
    ],
)
def test_bad_ones(changes, told):
    (problem,) = problems(**changes)
    assert told in problem
