# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime

from ansible_collections.erlmcp.ops.plugins.module_utils._core.sets import prunable, set_name


def test_the_name_of_a_set_tells_when_and_what():
    new, old = (dict.fromkeys(("sys.config", "vm.args", "env.sh"), content) for content in (b"new", b"old"))
    now = datetime.datetime(2026, 11, 24, 7, 15, tzinfo=datetime.timezone.utc)
    name = set_name(new, now)
    assert name.startswith("20261124T071500Z-")
    assert len(name) == 25
    assert name == set_name(dict(new), now)
    moved = {"sys.config": b"newnew", "vm.args": b"", "env.sh": b"new"}
    assert len({name, set_name(old, now), set_name(moved, now), set_name({}, now)}) == 4


def test_pruning_keeps_the_newest_and_what_is_linked():
    assert prunable(["1", "2", "3", "4", "5"], {"2", "5"}, 2) == ["1"]
    assert prunable(["1", "2"], {"2"}, 0) == ["1"]
    assert prunable(["1", "2"], set(), 5) == []
