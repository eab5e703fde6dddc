# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What each node gets back, also when a run was killed; and what is refused because it would not fit together."""

from __future__ import annotations

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.undo_plan import plan_undo
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError

HOSTS = ["a", "b"]
NODES = {"a": "n@a", "b": "n@b", "c": "n@c"}
EVERY = [NODES[host] for host in HOSTS]
BEFORE, LATER = "erlmcp.before-restore-20261124T030000Z", "erlmcp.reverted-20261125T030000Z"


def copy(name=BEFORE, run="20261124T025900Z", together=EVERY, **more):
    kind, _dash, time = name.partition(".")[2].rpartition("-")
    return {
        "path": f"/var/lib/{name}",
        "kind": kind,
        "time": time,
        "replaced_by": "x.tar.zst",
        "run": run,
        "together": together,
        **more,
    }


def under_way(phase, undo=False, archive="x.tar.zst", together=EVERY):
    return {"phase": phase, "undo": undo, "archive": archive, "together": together, "run": "20261124T025900Z"}


def there(*copies, restore=None):
    return {"safety_copies": list(copies), "restore": restore}


def archives(found):
    return {host: part["archive"] for host, part in plan_undo(list(found), NODES, found).items()}


def test_each_host_gets_what_the_last_restore_has_replaced():
    found = {host: there(copy("erlmcp.before-restore-20261120T030000Z", "earlier"), copy()) for host in HOSTS}
    plan = plan_undo(HOSTS, NODES, found)
    assert plan["a"]["archive"] == BEFORE
    assert plan["a"]["text"] == (
        f"a (n@a) gets back /var/lib/{BEFORE}, which x.tar.zst has replaced at 20261124T030000Z"
    )
    assert plan["a"]["copies"] == plan["a"]["files"] == []


def test_an_undo_is_undone_by_another_one():
    assert archives({host: there(copy(), copy(LATER, "undo")) for host in HOSTS}) == dict.fromkeys(HOSTS, LATER)


def test_what_a_restore_failed_with_is_no_way_back():
    failed = copy("erlmcp.failed-restore-20261126T030000Z", run=None, together=[])
    assert archives({host: there(copy(), failed) for host in HOSTS}) == dict.fromkeys(HOSTS, BEFORE)


def test_a_node_alone_is_taken_back_alone_also_when_an_older_version_restored_it():
    assert archives({"a": there(copy(run=None, together=[]))}) == {"a": BEFORE}


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({"a": there(copy()), "b": there()}, "stands on b, so there is none.*erlmcp_backup_restore_before"),
        ({"a": there(copy()), "b": there(copy(run="another"))}, "not of one restore .a: .*at 20261124T025900Z; b: "),
        ({"a": there(copy(run=None)), "b": there(copy(run=None))}, "at a time that nobody noted"),
        ({"a": there(copy())}, "together with n@b, and those are not in this run: .*without --limit"),
        (
            {"a": there(copy(), restore=under_way("exchanged", together=[])), "b": there(copy())},
            "a restore of a has not ended, .* run the playbook restore there first .--limit.",
        ),
    ],
    ids=["none", "several restores", "unknown", "one is not here", "one was restored alone and killed"],
)
def test_what_does_not_fit_together_is_refused(found, told):
    with pytest.raises(OpsError, match=told):
        plan_undo(list(found), NODES, found)


@pytest.mark.parametrize("phase", ["exchanged", "proven", "withdrawn"])
def test_a_restore_that_has_not_ended_has_nothing_to_be_looked_for(phase):
    """What is to be done with it first is all that has to be done (plan_leftovers)."""
    assert archives({host: there(restore=under_way(phase)) for host in HOSTS}) == dict.fromkeys(HOSTS)


def test_a_restore_that_all_are_to_keep_has_moved_aside_what_it_undoes():
    unnoted = copy(run=None, together=[])
    found = {"a": there(copy()), "b": there(unnoted, restore=under_way("kept"))}
    assert archives(found) == dict.fromkeys(HOSTS, BEFORE)


def test_what_is_only_staged_is_no_restore():
    found = {host: there(copy(), restore=under_way("staged")) for host in HOSTS}
    assert archives(found) == dict.fromkeys(HOSTS, BEFORE)


@pytest.mark.parametrize("phase", ["exchanged", "proven", "withdrawn"])
def test_an_undo_that_was_killed_goes_on_with_what_it_had_begun_with(phase):
    """The copy is in service by now, and what it has replaced is newer."""
    found = {
        "a": there(copy(LATER, None, []), restore=under_way(phase, undo=True, archive=BEFORE)),
        "b": there(copy(), restore=under_way("staged", undo=True, archive=BEFORE)),
    }
    assert archives(found) == dict.fromkeys(HOSTS, BEFORE)


def test_after_an_undo_that_all_have_kept_nothing_more_is_looked_for():
    found = {"a": there(copy(LATER, "undo")), "b": there(restore=under_way("kept", undo=True, archive=BEFORE))}
    assert archives(found) == {"a": None, "b": BEFORE}
