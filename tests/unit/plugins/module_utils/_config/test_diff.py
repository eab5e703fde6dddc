# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.erlmcp.ops.plugins.module_utils._config.diff import diffs, mask, secret_forms


def test_only_files_that_differ_are_shown():
    before = {"a": b"1\n", "b": b"same", "c": None}
    after = {"a": b"2\n", "b": b"same", "c": b"new"}
    assert diffs(before, after, [], "/etc/x") == [
        {"before": "1\n", "after": "2\n", "before_header": "/etc/x/a", "after_header": "/etc/x/a"},
        {"before": "", "after": "new", "before_header": "/etc/x/c", "after_header": "/etc/x/c"},
    ]


def test_a_secret_is_masked_as_it_is_and_as_it_is_escaped():
    forms = secret_forms(["it's \"new\"", ""])
    text = """plain it's "new" | {pw, "it's \\"new\\""} | export A='it'"'"'s "new"'"""
    masked = mask(text, forms)
    assert masked == """plain ******** | {pw, "********"} | export A='********'"""


def test_the_old_secret_in_its_place_is_masked_and_the_change_shows():
    before = {"f": b'{user, "u"},\n{password, "old"},\n{x, 1}\n'}
    after = {"f": b'{user, "v"},\n{password, "new"},\n{x, 1}\n'}
    (diff,) = diffs(before, after, secret_forms(["new"]), "/etc")
    assert diff["before"] == '{user, "u"},\n{password, "********"}, (old)\n{x, 1}\n'
    assert diff["after"] == '{user, "v"},\n{password, "********"},\n{x, 1}\n'


def test_a_hand_made_file_is_not_shown():
    before = {"vm.args": b"-setcookie hidden\n", "env.sh": None, "same": b"x"}
    after = {"vm.args": b"+P 5\n", "env.sh": b"A=1\n", "same": b"x"}
    one, two = diffs(before, after, [], "/etc", hand_made=True)
    assert "hidden" not in one["before"]
    assert one["before"].startswith("(made by hand")
    assert (one["after"], two["before"]) == ("+P 5\n", "")


def test_a_secret_that_stayed_shows_no_change():
    before = {"f": b"password new\nx 1\n"}
    after = {"f": b"password new\nx 2\n"}
    (diff,) = diffs(before, after, secret_forms(["new"]), "/etc")
    assert diff["before"] == "password ********\nx 1\n"
