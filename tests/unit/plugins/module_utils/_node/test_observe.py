# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""node_info, with real files and a fake that answers for systemctl and erl_call."""

from __future__ import annotations

import hashlib
import socket
from types import SimpleNamespace

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Completed
from ansible_collections.erlmcp.ops.plugins.module_utils._core.slots import Slots
from ansible_collections.erlmcp.ops.plugins.module_utils._node import observe as observing
from ansible_collections.erlmcp.ops.plugins.module_utils._node.health import Answer
from ansible_collections.erlmcp.ops.plugins.module_utils._node.observe import CONFIG_FILES, Observer, node_info
from ansible_collections.erlmcp.ops.plugins.module_utils._node.ready import node_ready

NO_UNIT = hashlib.sha256().hexdigest()
STORE = (
    "[{state,running},{members,['erlmcp@127.0.0.1','erlmcp@127.0.0.2']},{running,['erlmcp@127.0.0.1']},"
    "{directory,{\"/d\"}},{on_disk,['erlmcp@127.0.0.1']},{location,opt_disc},{outlived,[]},"
    "{tables,[{item,[{'erlmcp@127.0.0.1',disc_copies}],7,true,{[key,value]},[],[]}]}]"
)
FIGURES = (
    '[{applications,[{erlmcp,"1.0.0"}]},{memory_bytes,1},'
    "{processes,1},{process_limit,9},{ports,1},{port_limit,9},{members,['erlmcp@127.0.0.1','erlmcp@127.0.0.2']},"
    f"{{store,{STORE}}}]"
)


class FakeRunner:
    """A fake: systemd and the node answer what the test says."""

    def __init__(self, unit, erl_call):
        self.unit = unit
        self.erl_call = erl_call

    def run(self, argv, **_options):
        if argv[0] == "systemctl":
            return Completed(0, "".join(f"{name}={value}\n" for name, value in self.unit.items()), "")
        return self.erl_call


RUNNING = {
    "LoadState": "loaded",
    "ActiveState": "active",
    "SubState": "running",
    "MainPID": "42",
    "NeedDaemonReload": "no",
}
STOPPED = {
    "LoadState": "loaded",
    "ActiveState": "inactive",
    "SubState": "dead",
    "MainPID": "0",
    "NeedDaemonReload": "no",
}
# Is looked at around the node.
NOTHING = {"watched_services": []}
ANSWERS = Completed(0, f'{{ok, "{FIGURES}"}}', "")


@pytest.fixture(name="spec")
def _spec(tmp_path):
    """A node whose files, slots and records agree: it runs what is on disk."""
    spec = {
        "name": "erlmcp@127.0.0.1",
        "name_type": "long",
        "service": "no-such-erlmcp",
        "user": "nobody",
        "home_dir": str(tmp_path),
        "install_dir": str(tmp_path / "opt"),
        "config_dir": str(tmp_path / "etc"),
        "run_dir": str(tmp_path / "run"),
        "owned_dirs": [],
        "ports": [],
    }
    erl_call = tmp_path / "opt" / "releases" / "1.0.0" / "erts-1" / "bin" / "erl_call"
    erl_call.parent.mkdir(parents=True)
    erl_call.touch()
    config_set = tmp_path / "etc" / "sets" / "set-1"
    config_set.mkdir(parents=True)
    digest = hashlib.sha256()
    for name in CONFIG_FILES:
        (config_set / name).write_text(name)
        (tmp_path / "etc" / name).symlink_to(f"current/{name}")
        digest.update(name.encode())
    for slots, name in (
        (Slots(spec["install_dir"], "releases"), "1.0.0"),
        (Slots(spec["config_dir"], "sets"), "set-1"),
    ):
        slots.stage(name)
        slots.activate()
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    (run_dir / "started.release").write_text("1.0.0\n")
    (run_dir / "started.config").write_text(digest.hexdigest() + "\n")
    (run_dir / "started.unit").write_text(NO_UNIT + "\n")
    return spec


def health(level, application="erlmcp"):
    return {
        "url": None,
        "application": application,
        "tls_dir": None,
        "status_key": "status",
        "status_value": "healthy",
        "required_level": level,
        "request_timeout_seconds": 1,
    }


def observe(spec, unit=None, erl_call=ANSWERS, level="ping", predicted_next=None, **options):
    return Observer(spec, health(level, **options), FakeRunner(unit or RUNNING, erl_call), predicted_next).observe()


def test_a_node_that_runs_what_is_on_disk_needs_no_restart(spec):
    state = observe(spec)
    assert state["restart_required"] == []
    assert state["members"] == ["erlmcp@127.0.0.1", "erlmcp@127.0.0.2"]
    assert state["release"] == {"running": "1.0.0", "current": "1.0.0", "next": None, "previous": None}
    assert state["figures"]["applications"] == {"erlmcp": "1.0.0"}
    assert state["health"]["level"] == "ping"


@pytest.mark.parametrize("level", ["ping", "process"])
def test_a_node_whose_application_has_not_started_is_unhealthy_at_every_level(spec, level):
    found = observe(spec, level=level, application="other")["health"]
    assert (found["healthy"], found["level"]) == (False, "ping")
    assert "application other has not started, or has ended" in found["detail"]
    assert observe(spec, level=level, application="")["health"]["healthy"]


def test_what_answers_http_does_not_stand_in_for_an_application_that_has_ended(spec, monkeypatch):
    monkeypatch.setattr(observing, "ask_http", lambda _options: Answer("http", "ok", "200"))
    assert observe(spec, level="http")["health"]["level"] == "http"
    assert not observe(spec, level="http", application="other")["health"]["healthy"]


def test_one_fault_of_epmd_is_told_once_and_with_its_remedy(spec, monkeypatch):
    monkeypatch.setattr(observing, "ask_http", lambda _options: Answer("http", "ok", "200"))
    monkeypatch.setattr(observing, "mapper_problem", lambda _distribution, _name, unit: f"restart {unit}")
    options = {"node": spec, "health": health("http"), "predicted_next": {}, "connections_function": None}
    expected = {"expect_members": ["erlmcp@127.0.0.2"], "expect_shared_tables": True}
    module = SimpleNamespace(params={**options, **expected, **NOTHING, "wait_seconds": 0, "assert_healthy": True})
    for answer in (Completed(1, "", "no such node"), ANSWERS):
        with pytest.raises(OpsError) as caught:
            node_info(module, FakeRunner(RUNNING, answer))
        assert "erlmcp@127.0.0.1 cannot be found by others: restart no-such-erlmcp-epmd.service" in str(caught.value)
        assert "does not see" not in str(caught.value)
    assert observe(spec, STOPPED)["epmd_error"] is None


def test_a_question_that_fails_in_a_node_that_starts_is_no_answer_yet(spec):
    crashed = Completed(0, "{error, {'EXIT', {aborted, {no_exists, sessions, attributes}}}}", "")
    state = observe(spec, erl_call=crashed)
    assert "no_exists" in state["distribution_error"]
    assert (state["members"], state["store"], state["health"]["healthy"]) == ([], None, False)


def test_a_release_that_waits_needs_a_restart(spec):
    Slots(spec["install_dir"], "releases").stage("1.1.0")
    assert observe(spec)["restart_required"] == ["release"]


def test_in_check_mode_the_slots_are_what_earlier_tasks_predict(spec):
    assert observe(spec, predicted_next={"config": "set-2"})["restart_required"] == ["config"]
    Slots(spec["config_dir"], "sets").stage("set-2")
    assert observe(spec)["restart_required"] == ["config"]
    assert observe(spec, predicted_next={"config": None})["restart_required"] == []


def test_a_config_edited_by_hand_needs_a_restart(spec, tmp_path):
    (tmp_path / "etc" / "sets" / "set-1" / "vm.args").write_text("+P 2000\n")
    assert observe(spec)["restart_required"] == ["config"]


def test_a_unit_that_systemd_has_not_read_needs_a_restart(spec):
    assert observe(spec, {**RUNNING, "NeedDaemonReload": "yes"})["restart_required"] == ["unit"]


def test_a_node_started_without_a_record_needs_a_restart(spec, tmp_path):
    for record in (tmp_path / "run").iterdir():
        record.unlink()
    assert observe(spec)["restart_required"] == ["release", "config", "unit"]


def test_a_stopped_node_needs_a_start_and_has_no_figures(spec):
    state = observe(spec, STOPPED)
    assert state["restart_required"] == ["stopped"]
    assert (state["running"], state["pid"], state["figures"], state["members"]) == (False, None, {}, [])
    assert not state["health"]["healthy"]


def test_a_node_that_does_not_answer_is_unhealthy_at_level_ping_only(spec):
    silent = Completed(1, "", "erl_call: failed to connect to node")
    assert not observe(spec, erl_call=silent)["health"]["healthy"]
    assert observe(spec, erl_call=silent, level="process")["health"] == {
        "healthy": True,
        "level": "process",
        "detail": "no-such-erlmcp.service is active, process 42",
    }


def test_a_host_with_nothing_on_it_can_be_asked(tmp_path, spec):
    bare = {
        **spec,
        "install_dir": str(tmp_path / "a"),
        "config_dir": str(tmp_path / "b"),
        "run_dir": str(tmp_path / "c"),
        "owned_dirs": [],
        "ports": [],
    }
    state = observe(bare, {"LoadState": "not-found", "ActiveState": "inactive"})
    assert state["restart_required"] == ["stopped"]


def test_a_name_that_does_not_resolve_is_not_mistaken_for_a_node_that_is_down(spec):
    state = observe({**spec, "name": "erlmcp@no-such-host.invalid"})
    assert "the host name 'no-such-host.invalid' does not resolve on this host" in state["distribution_error"]


def info(spec, runner, **options):
    params = {
        "node": spec,
        "health": health("ping"),
        "expect_members": [],
        "expect_shared_tables": False,
        "wait_seconds": 0,
        "assert_healthy": True,
        "connections_function": None,
        "predicted_next": {},
        **NOTHING,
        **options,
    }
    return node_info(SimpleNamespace(params=params), runner)


def test_a_missing_member_is_named(spec):
    with pytest.raises(OpsError, match=r"does not see erlmcp@127.0.0.3 \(it sees erlmcp@127.0.0.1, erlmcp@127.0.0.2\)"):
        info(spec, FakeRunner(RUNNING, ANSWERS), expect_members=["erlmcp@127.0.0.3"])


def test_a_member_that_shares_no_tables_is_named(spec):
    both = ["erlmcp@127.0.0.1", "erlmcp@127.0.0.2"]
    assert info(spec, FakeRunner(RUNNING, ANSWERS), expect_members=both)["not_sharing"] == []
    with pytest.raises(OpsError, match="does not share its tables with erlmcp@127.0.0.2 .* which it takes"):
        info(spec, FakeRunner(RUNNING, ANSWERS), expect_members=both, expect_shared_tables=True)


def ready(spec, runner, check_mode=False, **options):
    params = {
        "node": spec,
        "health": health("ping"),
        "expect_members": [],
        "expect_shared_tables": False,
        "expect_pid": None,
        "ports": [],
        "known_ports": [],
        "wait_seconds": 0,
        "required": True,
        "connections_function": None,
        "tls_renew_days": 30,
        **NOTHING,
        **options,
    }
    return node_ready(SimpleNamespace(params=params, check_mode=check_mode), runner)


def test_a_node_that_has_restarted_meanwhile_is_told_at_once(spec):
    assert ready(spec, FakeRunner(RUNNING, ANSWERS), expect_pid=42)["pid"] == 42
    with pytest.raises(OpsError, match="process 41, as which it was started, has ended. See journalctl -u no-such-e"):
        ready(spec, FakeRunner(RUNNING, ANSWERS), expect_pid=41, wait_seconds=60)
    # While systemd waits before it starts it again.
    with pytest.raises(OpsError, match="process 42, as which it was started, has ended"):
        ready(spec, FakeRunner(STOPPED, ANSWERS), expect_pid=42, wait_seconds=60)


@pytest.mark.parametrize(
    ("named", "missing"),
    [
        (["erlmcp@127.0.0.3"], []),
        # Its config does not name it.
        ([], ["erlmcp@127.0.0.3"]),
    ],
)
def test_in_check_mode_a_member_that_would_be_connected_counts_as_seen(spec, tmp_path, named, missing):
    (tmp_path / "etc" / "sys.config").write_text(f"[{{a,[{{cluster_nodes,{named}}}]}}].")
    with socket.create_server(("127.0.0.3", 0)) as server:
        told = ready(
            spec,
            FakeRunner(RUNNING, ANSWERS),
            check_mode=True,
            expect_members=["erlmcp@127.0.0.3"],
            ports=[server.getsockname()[1]],
            required=False,
        )
    assert (told["changed"], told["connected"], told["missing_members"]) == (bool(named), named, missing)


def test_a_member_that_is_taken_for_down_by_the_tables_is_not_connected(spec, tmp_path):
    (tmp_path / "etc" / "sys.config").write_text("[{a,[{cluster_nodes,['erlmcp@127.0.0.2']}]}].")
    alone = Completed(
        0,
        ANSWERS.out.replace(
            "{members,['erlmcp@127.0.0.1','erlmcp@127.0.0.2']},{store", "{members,['erlmcp@127.0.0.1']},{store"
        ),
        "",
    )
    with socket.create_server(("127.0.0.2", 0)) as server:
        told = ready(
            spec,
            FakeRunner(RUNNING, alone),
            check_mode=True,
            expect_members=["erlmcp@127.0.0.2"],
            ports=[server.getsockname()[1]],
            required=False,
        )
    assert told["missing_members"] == ["erlmcp@127.0.0.2"]
    assert told["connected"] == []


def test_rows_and_members_of_the_store_are_told(spec):
    assert observe(spec)["store"] == {
        "state": "running",
        "members": ["erlmcp@127.0.0.1", "erlmcp@127.0.0.2"],
        "running": ["erlmcp@127.0.0.1"],
        "in_ram": ["erlmcp@127.0.0.2"],
        "waits_for": [],
        "waiting": [],
        "rows": {"item": 7},
    }


def test_which_nodes_there_are_is_no_reason_to_restart(spec, tmp_path):
    path = tmp_path / "etc" / "sets" / "set-1" / "sys.config"
    started = "[{erlmcp, [{port, 1}, {cluster_nodes, ['a@h']}]}]."
    path.write_text(started)
    content = (started + "vm.args" + "env.sh").replace("{cluster_nodes, ['a@h']}", "")
    (tmp_path / "run" / "started.config").write_text(hashlib.sha256(content.encode()).hexdigest())
    assert observe(spec)["restart_required"] == []
    path.write_text(started.replace("['a@h']", "[\n  'a@h',\n  'b@h'\n]"))
    assert observe(spec)["restart_required"] == []
    path.write_text(started.replace("{port, 1}", "{port, 2}"))
    assert observe(spec)["restart_required"] == ["config"]


def test_a_node_that_was_not_told_of_its_peers_is_found(spec):
    assert observe(spec)["peers_outdated"] is False
    outdated = FIGURES.replace("[{applications", "[{told_of_peers,false},{applications", 1)
    assert observe(spec, erl_call=Completed(0, f'{{ok, "{outdated}"}}', ""))["peers_outdated"] is True
    assert observe(spec, unit=STOPPED)["peers_outdated"] is False


def test_erlang_code_cannot_be_smuggled_in_as_a_function(spec):
    with pytest.raises(OpsError, match="is not the name of a function"):
        info(spec, FakeRunner(RUNNING, ANSWERS), connections_function="halt(). erlmcp:count/0")


class CountsNotYet(FakeRunner):
    """A fake: a node that answers, and whose function for connections crashes."""

    def run(self, argv, stdin="", **options):
        if "erlmcp_admin" in stdin:
            return Completed(0, "{error, {aborted, {no_exists, erlmcp_session}}}", "")
        return super().run(argv, **options)


def test_connections_that_cannot_be_counted_yet_are_no_failure(spec):
    state = info(spec, CountsNotYet(RUNNING, ANSWERS), connections_function="erlmcp_admin:connection_count/0")
    assert state["health"]["healthy"]
    assert state["figures"]["connections"] is None


@pytest.mark.parametrize("level", ["process", "ping", "http"])
def test_a_node_that_waits_for_others_with_its_tables_is_not_healthy_on_any_level(spec, level):
    waits = FIGURES.replace("7,true,{[key,value]},[],[]", "0,false,{[key,value]},[],['erlmcp@127.0.0.2']")
    state = observe(spec, erl_call=Completed(0, f'{{ok, "{waits}"}}', ""), level=level)
    assert not state["health"]["healthy"]
    assert (
        "erlmcp@127.0.0.1 answers, and waits for erlmcp@127.0.0.2 with its tables item: it does not know whose rows"
        in state["health"]["detail"]
    )
    assert (state["store"]["waits_for"], state["store"]["waiting"]) == (["erlmcp@127.0.0.2"], ["item"])
