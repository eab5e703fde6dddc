# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._tls.openssl import Certificate
from ansible_collections.erlmcp.ops.plugins.module_utils._tls.plan import Held, days_left, is_renewed, reasons

NOW = 1_800_000_000
DAY = 86400


def held(days=100, names=("a.test", "b.test"), **others):
    found = Certificate("1", frozenset(names), NOW - DAY, NOW + days * DAY, "00", "key")
    return Held(found, **{"fits_key": True, **others})


@pytest.mark.parametrize(
    ("found", "due"),
    [
        (Held(), ["missing"]),
        (held(), []),
        (held(fits_key=False), ["key"]),
        (held(days=31), []),
        (held(days=30), ["expires"]),
        (held(days=0, problem="expired"), ["expired"]),
        (held(days=-5, problem="expired"), ["expired"]),
        (held(problem="unknown CA"), ["untrusted"]),
        (held(names=("b.test",)), ["names"]),
        (held(names=("a.test", "c.test")), []),
        (held(by_issuer=False), ["issuer"]),
        (held(days=3, names=(), by_issuer=False, fits_key=False), ["key", "expires", "names", "issuer"]),
    ],
)
def test_why_another_certificate_is_due(found, due):
    assert reasons(found, ["a.test"], NOW, 30) == due


@pytest.mark.parametrize(
    ("due", "unusable", "when_due"),
    [
        ([], False, False),
        (["expires"], False, True),
        (["names", "issuer"], False, True),
        (["missing"], True, True),
        (["issuer", "untrusted"], True, True),
        (["expired"], True, True),
        (["key"], True, True),
    ],
)
def test_what_is_asked_for(due, unusable, when_due):
    assert (is_renewed(due, "unusable"), is_renewed(due, "due"), is_renewed(due, "always")) == (
        unusable,
        when_due,
        True,
    )


def test_days_that_are_left_are_whole_ones():
    assert [days_left(NOW + seconds, NOW) for seconds in (0, DAY - 1, DAY, -1)] == [0, 0, 1, -1]
