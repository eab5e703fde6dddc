# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Audit rules as data: what is refused, and what is planned for a kernel."""

from __future__ import annotations

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._audit.rules import (
    accounts,
    identity,
    parse_listing,
    plan,
    rules_file,
    wanted_watches,
)
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError

NUMBERS = {(False, "erlmcp"): 103, (True, "adm"): 4}

# As auditctl 3.0 and 4.0 list what they are given.
LISTED = """\
-w /etc/hostname -p wa -k by_hand
-a always,exit -S all -F uid!=103 -F dir=/etc/erlmcp/home -F perm=r -F key=erlmcp_cookie
-w /etc/erlmcp -p wa -k erlmcp_config
-a always,exit -S all -F auid!=-1 -F dir=/opt/erlmcp -F perm=x -F key=erlmcp_exec
"""


def rule(key, path, **options):
    return {
        "key": key,
        "path": path,
        "kind": "directory",
        "permissions": "wa",
        "filters": [],
        "enabled": True,
        **options,
    }


COOKIE = rule("erlmcp_cookie", "/etc/erlmcp/home", permissions="r", filters=["uid!=erlmcp"])
CONFIG = rule("erlmcp_config", "/etc/erlmcp")
EXEC = rule("erlmcp_exec", "/opt/erlmcp", permissions="x", filters=["auid!=unset"])


def planned(rules, listing):
    watches = wanted_watches(rules)
    found = plan([identity(watch, NUMBERS) for watch in watches], parse_listing(listing))
    return [rule.line for rule in found.removed], [str(watches[number]) for number in found.added]


def test_rules_are_written_as_auditctl_reads_them_with_what_is_tried_first_in_front():
    (watch,) = wanted_watches([COOKIE])
    assert str(watch) == "-a always,exit -F uid!=erlmcp -F dir=/etc/erlmcp/home -F perm=r -F key=erlmcp_cookie"
    (watch,) = wanted_watches([rule("erlmcp_unit", "/etc/a.service", kind="file")])
    assert str(watch) == "-a always,exit -F path=/etc/a.service -F perm=wa -F key=erlmcp_unit"


def test_what_the_kernel_lists_is_what_was_wanted():
    assert planned([COOKIE, CONFIG, EXEC], LISTED) == ([], [])


@pytest.mark.parametrize("unset", ["unset", "-1", "4294967295"])
def test_no_login_has_three_names(unset):
    listing = LISTED.replace("auid!=-1", f"auid!={unset}")
    assert planned([COOKIE, CONFIG, EXEC], listing) == ([], [])


def test_a_rule_that_somebody_took_away_comes_back_in_its_place():
    """The kernel appends, and the first one that matches gives the key: those behind it are loaded anew."""
    listing = "\n".join(line for line in LISTED.splitlines() if "erlmcp_config" not in line)
    removed, added = planned([COOKIE, CONFIG, EXEC], listing)
    assert removed == [LISTED.splitlines()[3]]
    assert added == [str(watch) for watch in wanted_watches([CONFIG, EXEC])]


def test_a_rule_that_is_no_longer_wanted_goes_and_those_of_others_stay():
    removed, added = planned([], LISTED)
    assert (removed, added) == (LISTED.splitlines()[1:], [])


def test_an_account_with_another_number_is_another_rule():
    removed, added = planned([COOKIE], LISTED.splitlines()[1].replace("103", "104"))
    assert (len(removed), len(added)) == (1, 1)


@pytest.mark.parametrize(
    "line",
    [
        "-a always,exit -S execve -F dir=/opt/erlmcp -F key=erlmcp_exec",
        "-a never,exit -S all -F dir=/opt/erlmcp -F perm=x -F auid!=-1 -F key=erlmcp_exec",
        "-a always,exit -F arch=b64 -S all -F auid!=-1 -F dir=/opt/erlmcp -F perm=x -F key=erlmcp_exec",
        "-w /opt/erlmcp -p x -k erlmcp_exec",
    ],
)
def test_a_rule_with_our_key_that_records_something_else_is_replaced(line):
    removed, added = planned([EXEC], line)
    assert removed == [line]
    assert added == [str(wanted_watches([EXEC])[0])]


def test_how_rules_are_taken_away():
    _by_hand, cookie, config, _exec = parse_listing(LISTED)
    assert cookie.removal[:4] == ["-d", "always,exit", "-S", "all"]
    assert config.removal == ["-W", "/etc/erlmcp", "-p", "wa", "-k", "erlmcp_config"]


def test_an_empty_kernel():
    assert parse_listing("No rules\n") == ()
    assert planned([CONFIG], "No rules\n")[1] == [str(wanted_watches([CONFIG])[0])]


def test_the_file_has_the_rules_or_is_none():
    assert rules_file(wanted_watches([CONFIG]), ["# heading"]).splitlines() == [
        "# heading",
        "-a always,exit -F dir=/etc/erlmcp -F perm=wa -F key=erlmcp_config",
    ]
    assert rules_file((), ["# heading"]) is None


def test_the_accounts_that_filters_name():
    rules = [COOKIE, rule("erlmcp_a", "/a", filters=["gid!=adm", "auid>=1000", "auid!=unset", "uid=root"])]
    assert accounts(wanted_watches(rules)) == (["erlmcp", "root"], ["adm"])


def test_a_rule_that_is_switched_off_is_not_there():
    assert wanted_watches([{**CONFIG, "enabled": False, "path": "no path"}]) == ()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"key": "config"}, "needs a key of erlmcp_"),
        ({"key": "erlmcp_a b"}, "needs a key of erlmcp_"),
        ({"key": f"erlmcp_{'a' * 25}"}, "needs a key of erlmcp_"),
        ({"path": "etc/erlmcp"}, "absolute path"),
        ({"path": "/"}, "absolute path"),
        ({"path": "/etc/erl mcp"}, "without blanks"),
        ({"path": "/etc/erlmcp\n-D"}, "without blanks"),
        ({"path": "/etc/*.conf"}, "wildcards"),
        ({"path": "/etc/../root"}, "absolute path"),
        ({"path": "/etc//erlmcp"}, "absolute path"),
        ({"path": "/etc/erlmcp/"}, "absolute path"),
        ({"path": f"/{'a' * 256}"}, "too long for the kernel"),
        ({"path": "/a" * 2048}, "too long for the kernel"),
        ({"permissions": ""}, "has permissions ''"),
        ({"permissions": "rwz"}, "has permissions 'rwz'"),
        ({"permissions": "ww"}, "has permissions 'ww'"),
        ({"filters": ["uid=er mcp"]}, "has the filter 'uid=er mcp'"),
        ({"filters": ["exe=/bin/sh"]}, "has the filter 'exe=/bin/sh'"),
    ],
)
def test_what_the_kernel_or_auditctl_would_not_take_is_refused(changes, told):
    with pytest.raises(OpsError, match="the rule ") as refused:
        wanted_watches([{**CONFIG, **changes}])
    assert told in str(refused.value)


@pytest.mark.parametrize("path", ["/" + "a" * 255, "/a" * 2047, "/etc/erlmcp-1.0_x@y,z"])
def test_what_it_takes_is_not(path):
    assert wanted_watches([{**CONFIG, "path": path}])[0].path == path


def test_a_rule_that_stands_twice_is_refused():
    with pytest.raises(OpsError, match="stands twice"):
        wanted_watches([CONFIG, EXEC, CONFIG])
