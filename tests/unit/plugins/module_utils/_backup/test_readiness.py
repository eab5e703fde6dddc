# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._backup import readiness
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.module_utils._erlang.node import Unreachable

HERE, THERE = "a@here", "b@there"
ERLANG = OpsError("aborted: no_exists", kind="erlang")


def table(rows, name="t", nodes=(HERE,)):
    return {"kind": "mnesia", "name": name, "rows": rows, "nodes": list(nodes)}


def dets(rows=9):
    return {"kind": "dets", "name": "d", "rows": rows, "file": "d.dets"}


def seen(*tables, state="yes", open_dets=()):
    """A node with Mnesia on disk; without, where no tables are given."""
    mnesia = {"directory": "/d/mnesia", "db_nodes": [HERE], "tables": list(tables)} if tables else None
    return {"state": state, "mnesia": mnesia, "dets": list(open_dets)}


@pytest.mark.parametrize("rows", [5, 6])
def test_a_started_node_may_have_more_rows_than_were_restored(rows):
    assert readiness.row_problems(seen(table(rows)), [table(5), dets()], HERE) == []


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (seen(table(4)), ["table t has 4 rows of 5"]),
        (seen(table(None)), ["table t is not loaded"]),
        (seen(table(7, "other")), ["table t is not there"]),
        (seen(state="starting"), ["Mnesia is starting, so t cannot be counted"]),
        (seen(state="stopping"), ["Mnesia is stopping, so t cannot be counted"]),
        (seen(state="no"), ["Mnesia does not run with tables on disk, so t cannot be counted"]),
        (seen(state="yes"), ["Mnesia does not run with tables on disk, so t cannot be counted"]),
    ],
)
def test_what_is_not_there_yet_is_told(found, said):
    assert readiness.row_problems(found, [table(5), dets()], HERE) == said


def test_a_table_without_a_copy_here_is_for_the_others_to_count():
    assert readiness.row_problems(seen(table(None, nodes=[THERE])), [table(5)], HERE) == []


def test_without_mnesia_in_the_archive_nothing_is_counted():
    assert readiness.row_problems(seen(state="starting"), [dets()], HERE) == []


@pytest.mark.parametrize(
    ("found", "application", "schema", "said"),
    [
        (seen(table(5), table(None, nodes=[THERE])), None, "/d/mnesia/schema.DAT", []),
        (seen(state="starting"), None, None, ["Mnesia is starting"]),
        (seen(table(None)), None, None, ["table t is not loaded"]),
        (seen(state="no"), None, "/d/schema.DAT", ["Mnesia does not run, and tables are there (/d/schema.DAT)"]),
        (seen(), None, "/d/schema.DAT", ["Mnesia keeps nothing on disk, and tables are there (/d/schema.DAT)"]),
        (seen(state="no"), "erlmcp", None, ["application erlmcp does not run, which may have tables"]),
        (seen(state="no"), None, None, []),
        # A node whose application has crashed is backed up before it is repaired.
        (seen(state="no", open_dets=[dets()]), "erlmcp", None, []),
        (seen(table(5)), "erlmcp", "/d/schema.DAT", []),
    ],
)
def test_what_a_backup_waits_for(found, application, schema, said):
    assert readiness.not_ready(found, HERE, application, schema) == said


class Clock:
    now = 0.0

    def sleep(self, seconds):
        self.now += seconds


def wait(answers, seconds=10):
    """Wait for tables of a node that gives these answers, the last one for ever; return what came of it, and when."""
    answers, clock = list(answers), Clock()

    def look():
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, OpsError):
            raise answer
        return answer

    def missing(found):
        return readiness.not_ready(found, HERE)

    return *readiness.look_until_ready(look, missing, seconds, lambda: clock.now, clock.sleep), clock.now


def test_a_node_that_starts_is_waited_for():
    there = seen(table(5))
    found, problems, seconds = wait([Unreachable("no"), seen(state="starting"), ERLANG, seen(table(None)), there])
    assert (found, problems) == (there, [])
    assert 0 < seconds < 10


def test_at_the_end_it_is_told_what_was_not_there():
    _found, problems, seconds = wait([seen(state="starting"), seen(table(None))])
    assert problems == ["table t is not loaded"]
    assert seconds == pytest.approx(10, abs=0.3)
    assert wait([ERLANG])[1] == ["aborted: no_exists"]


def test_an_error_that_time_does_not_mend_is_raised_at_once():
    with pytest.raises(OpsError, match="broken"):
        wait([OpsError("broken", kind="release")])


class FakeNode:
    name = HERE


def prove(monkeypatch, answer, wanted, healthy=True, silence=None):
    def look(_node):
        if isinstance(answer, OpsError):
            raise answer
        return answer

    monkeypatch.setattr(readiness.tables, "look", look)
    health = {"healthy": healthy, "detail": "why"}
    state = {"name": HERE, "health": health, "distribution_error": silence, "epmd_error": None}
    return readiness.prove(FakeNode(), state, wanted)


def test_a_node_that_is_not_healthy_is_not_asked(monkeypatch):
    assert prove(monkeypatch, None, [table(5)], healthy=False) == ({}, [f"{HERE} is not healthy: why"])


def test_rows_are_told_and_compared(monkeypatch):
    assert prove(monkeypatch, seen(table(4), open_dets=[dets()]), [table(5)]) == (
        {"t": 4, "d": 9},
        ["table t has 4 rows of 5"],
    )


@pytest.mark.parametrize("error", [Unreachable("no answer"), ERLANG])
def test_a_node_that_cannot_count_yet_has_not_proven_its_tables(monkeypatch, error):
    assert prove(monkeypatch, error, [table(5)]) == ({}, [f"its rows cannot be counted: {error}"])
    assert prove(monkeypatch, error, [dets()]) == ({}, [])


def test_where_nobody_has_counted_the_rows_every_table_has_to_be_loaded(monkeypatch):
    assert prove(monkeypatch, seen(table(4)), None) == ({"t": 4}, [])
    assert prove(monkeypatch, seen(table(None)), None) == ({"t": None}, ["table t is not loaded"])
    assert prove(monkeypatch, ERLANG, None) == ({}, [f"its rows cannot be counted: {ERLANG}"])
    assert prove(monkeypatch, None, None, silence="no") == ({}, [])


def test_a_node_without_distribution_needs_no_tables_to_be_proven(monkeypatch):
    assert prove(monkeypatch, None, [], silence="no") == ({}, [])
