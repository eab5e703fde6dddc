# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.module_utils._core.slots import SlotState
from ansible_collections.erlmcp.ops.plugins.module_utils._release.archive import Release
from ansible_collections.erlmcp.ops.plugins.module_utils._release.plan import (
    SPARE_BYTES,
    Machine,
    State,
    check_hooks,
    check_machine,
    plan_absent,
    plan_present,
)


def release(version, **changes):
    made = Release(
        version=version,
        erts="13.1.5",
        erts_included=True,
        architecture="x86_64",
        size=1000,
        sha256=f"sha of {version}",
        archive=f"erlmcp-{version}.tar.gz",
    )
    return replace(made, **changes)


def state(*versions, current=None, next=None, previous=None, **more):
    return State(SlotState(current, next, previous), tuple(release(version) for version in versions), **more)


MACHINE = Machine(name="node-1", architecture="x86_64", free_bytes=10 * SPARE_BYTES, system_erts=None)


def test_a_state_survives_json():
    there = state("1", "2", current="1", foreign=("x",), leftovers=(".staging-1",), stopped=True)
    assert State.from_dict(json.loads(json.dumps(there.as_dict()))) == there


def test_on_an_empty_host():
    plan = plan_present(State(), release("1"), stage=True, keep=3)
    assert plan.installs
    assert plan.result("/opt/erlmcp") == {
        "changed": True,
        "version": "1",
        "erts": "13.1.5",
        "erts_included": True,
        "sha256": "sha of 1",
        "replaced": None,
        "repaired": False,
        "current": None,
        "next": "1",
        "previous": None,
        "staged": True,
        "pruned": [],
        "release_dir": "/opt/erlmcp/releases/1",
        "diff": {
            "before": {"versions": [], "current": None, "next": None, "previous": None, "incomplete": []},
            "after": {"versions": ["1"], "current": None, "next": "1", "previous": None, "incomplete": []},
        },
    }


def test_nothing_to_do():
    plan = plan_present(state("1", current="1"), release("1"), stage=True, keep=1)
    assert not plan.installs
    result = plan.result("/opt/erlmcp")
    assert (result["changed"], result["staged"]) == (False, False)


@pytest.mark.parametrize(
    ("before", "stage", "after"),
    [
        (SlotState("1"), True, SlotState("1", "2")),
        (SlotState("1"), False, SlotState("1")),
        (SlotState("1", "3", "0"), True, SlotState("1", "2", "0")),
        (SlotState("2", "3", "1"), True, SlotState("2", None, "1")),
        (SlotState("2", "3", "1"), False, SlotState("2", "3", "1")),
    ],
)
def test_staging(before, stage, after):
    there = replace(state("0", "1", "2", "3"), slots=before)
    assert plan_present(there, release("2"), stage=stage, keep=3).after.slots == after


@pytest.mark.parametrize(
    ("keep", "stage", "left"),
    [
        (0, True, ["a", "b", "c", "d", "e", "new"]),
        (1, True, ["b", "d", "e", "new"]),
        (2, True, ["b", "c", "d", "e", "new"]),
        (1, False, ["b", "d", "new"]),
        (2, False, ["b", "d", "e", "new"]),
        (9, True, ["a", "b", "c", "d", "e", "new"]),
    ],
)
def test_pruning_spares_what_links_point_to_and_the_new_one(keep, stage, left):
    there = state("a", "b", "c", "d", "e", current="d", previous="b", foreign=("mine",))
    plan = plan_present(there, release("new"), stage=stage, keep=keep)
    assert plan.after.versions == left
    assert plan.removed == [name for name in "abcde" if name not in left]
    assert plan.after.foreign == ("mine",)


def test_what_was_next_is_no_longer_spared():
    plan = plan_present(state("a", "b", "c", next="a"), release("new"), stage=True, keep=1)
    assert plan.result("/x")["pruned"] == ["a", "b"]


def test_pruning_only_after_an_installation():
    assert plan_present(state("a", "b", "c"), release("c"), stage=True, keep=1).removed == []


def test_leftovers_alone_are_a_change():
    plan = plan_present(state("1", current="1", leftovers=(".staging-1",)), release("1"), stage=True, keep=3)
    assert plan.result("/x")["changed"]
    assert plan.after.leftovers == ()


@pytest.mark.parametrize(
    ("there", "arguments", "message"),
    [
        (state(foreign=("1",)), {"release": release("1")}, "did not lay it down"),
        (State(), {"release": release("1"), "version": "2"}, "is release 1, but version asks for 2"),
        (state("1"), {"release": release("1"), "version": "2"}, "is release 1, but version asks for 2"),
        (State(), {"release": release("1"), "keep": -1}, "keep: -1"),
    ],
)
def test_refusals(there, arguments, message):
    with pytest.raises(OpsError, match=message):
        plan_present(there, **{"stage": True, "keep": 3, **arguments})


def rebuilt(version):
    return release(version, sha256=f"rebuilt {version}")


def proven(there, version):
    installed = (replace(each, proven=each.version == version) for each in there.installed)
    return replace(there, installed=tuple(installed))


@pytest.mark.parametrize("links", [{}, {"current": "1"}, {"next": "1"}, {"previous": "1"}])
def test_a_release_that_was_healthy_is_immutable(links):
    there = proven(state("0", "1", stopped=True, **links), "1")
    with pytest.raises(OpsError, match="sha of 1.*Releases are immutable: .*playbook remove_release") as refused:
        plan_present(there, rebuilt("1"), stage=True, keep=3)
    assert refused.value.kind == "immutable"


@pytest.mark.parametrize(
    "links", [{"current": "0"}, {"current": "0", "next": "1"}, {"current": "0", "previous": "1"}, {"next": "1"}]
)
@pytest.mark.parametrize("stage", [True, False])
def test_a_release_that_never_was_gives_way_to_a_rebuild(links, stage):
    there = proven(state("1", "0", **links), "0")
    plan = plan_present(there, rebuilt("1"), stage=stage, keep=1)
    assert plan.installs
    assert plan.replaced == release("1")
    assert plan.after.installed == (replace(release("0"), proven=True), rebuilt("1"))
    assert plan.removed == []
    assert plan.after.slots == (replace(there.slots, next="1") if stage else there.slots)
    result = plan.result("/x")
    assert (result["changed"], result["replaced"], result["sha256"]) == (True, "sha of 1", "rebuilt 1")
    assert (result["diff"]["before"]["sha256"], result["diff"]["after"]["sha256"]) == ("sha of 1", "rebuilt 1")


def test_what_a_node_may_run_is_not_swapped_below_it():
    with pytest.raises(OpsError, match=r"it is current and may be running: .*systemctl stop erlmcp-2\)") as refused:
        plan_present(state("1", current="1"), rebuilt("1"), stage=True, keep=3, service="erlmcp-2")
    assert refused.value.kind == "in_use"
    there = state("1", current="1", stopped=True)
    assert plan_present(there, rebuilt("1"), stage=True, keep=3).after.slots == SlotState("1")


@pytest.mark.parametrize("link", ["current", "next"])
def test_absent_refuses_what_runs_or_will(link):
    with pytest.raises(OpsError, match=f"release 1 is {link}"):
        plan_absent(state("1", **{link: "1"}), "1")


def test_absent():
    plan = plan_absent(state("1", "2", current="2", previous="1"), "1")
    assert plan.removed == ["1"]
    assert plan.after.slots == SlotState("2")
    result = plan.result("/x")
    assert (result["changed"], result["pruned"], "sha256" in result) == (True, [], False)


def test_absent_takes_what_others_left():
    assert plan_absent(state("2", foreign=("1",)), "1").removed == ["1"]


def test_absent_of_an_unknown_version():
    assert not plan_absent(state("2"), "1").result("/x")["changed"]


def test_absent_stays_inside():
    with pytest.raises(OpsError):
        plan_absent(State(), "../../etc")


def test_hooks():
    assert check_hooks(release("1"), True) == []
    lacking = release("1", missing_hooks=("bin/hooks/a", "bin/hooks/b"))
    [warning] = check_hooks(lacking, False)
    assert "bin/hooks/a, bin/hooks/b" in warning
    with pytest.raises(OpsError, match="bin/hooks/a, bin/hooks/b before .* build .*: false to run none"):
        check_hooks(lacking, True)


@pytest.mark.parametrize(
    ("machine", "architecture"),
    [
        ("x86_64", "x86_64"),
        ("x86_64", "i386"),
        ("i686", "i386"),
        ("aarch64", "arm"),
        ("arm64", "aarch64"),
        ("armv7l", "arm"),
    ],
)
def test_architectures_that_run(machine, architecture):
    there = replace(MACHINE, architecture=machine)
    assert check_machine(release("1", architecture=architecture), there, "/opt", False) == []


@pytest.mark.parametrize(
    ("machine", "architecture"), [("x86_64", "aarch64"), ("aarch64", "x86_64"), ("i686", "x86_64")]
)
def test_architectures_that_do_not(machine, architecture):
    there = replace(MACHINE, architecture=machine)
    with pytest.raises(OpsError, match=f"for {architecture}, and host node-1 is {machine}"):
        check_machine(release("1", architecture=architecture), there, "/opt", True)


def test_space():
    there = replace(MACHINE, free_bytes=SPARE_BYTES + 1000)
    assert check_machine(release("1", size=1000), there, "/opt", False) == []
    with pytest.raises(OpsError, match="needs 65 MiB for /opt on host node-1, where 65 MiB are free"):
        check_machine(release("1", size=1001), there, "/opt", False)


def test_the_system_erlang():
    bare = release("1", erts_included=False, architecture=None)
    assert check_machine(bare, replace(MACHINE, system_erts="13.1.5"), "/opt", False) == []
    with pytest.raises(OpsError, match=r"needs ERTS 13.1.5, but host node-1 has no erl on PATH: install .*erlang-base"):
        check_machine(bare, MACHINE, "/opt", False)
    for check_mode in (True, False):
        with pytest.raises(OpsError, match="has ERTS 12.0"):
            check_machine(bare, replace(MACHINE, system_erts="12.0"), "/opt", check_mode)


def test_check_mode_only_warns_where_a_role_installs_erlang_first():
    [warning] = check_machine(release("1", erts_included=False, architecture=None), MACHINE, "/opt", True)
    assert "no erl on PATH" in warning
