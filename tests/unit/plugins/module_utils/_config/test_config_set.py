# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import grp
import os
import pwd
import shutil
import subprocess
from types import SimpleNamespace

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._config.config import config
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Completed, Runner
from ansible_collections.erlmcp.ops.plugins.module_utils._core.slots import Slots

needs_erl = pytest.mark.skipif(shutil.which("erl") is None, reason="Erlang is not installed")

USER = pwd.getpwuid(os.geteuid()).pw_name
GROUP = grp.getgrgid(os.getegid()).gr_name
VM_ARGS = "-name erlmcp@127.0.0.1\n+P 100000\n"


class FakeRunner:
    """Accepts every shell file and every set, and counts the starts of Erlang."""

    def __init__(self):
        self.starts = []

    def run(self, argv, stdin="", **options):
        if argv[0] == "sh":
            return Completed(0, "", "")
        self.starts.append((argv, options))
        return Completed(0, "checked:[]\n", "")


class Host:
    """A host in a temporary directory, with an empty release unless it is taken away."""

    def __init__(self, root):
        self.root = root
        self.runner = FakeRunner()
        self.etc = root / "etc"
        release = root / "opt" / "releases" / "1.0.0"
        (release / "releases" / "1.0.0").mkdir(parents=True)
        (release / "releases" / "start_erl.data").write_text("13.1.5 1.0.0")
        (release / "releases" / "1.0.0" / "start_clean.boot").touch()
        (release / "erts-13.1.5" / "bin").mkdir(parents=True)
        (root / "opt" / "next").symlink_to("releases/1.0.0")
        self.slots = Slots(str(self.etc), "sets")

    def config(self, sys_config="[].\n", check=False, **params):
        params = {
            "node": {
                "name": "erlmcp@127.0.0.1",
                "name_type": "long",
                "release_name": "erlmcp",
                "service": "erlmcp",
                "user": USER,
                "home_dir": str(self.root),
                "install_dir": str(self.root / "opt"),
                "config_dir": str(self.etc),
            },
            "sys_config": sys_config,
            "vm_args": VM_ARGS,
            "env_sh": "export A='1'\n",
            "group": GROUP,
            "keep": 5,
            "readmit": False,
            "left_out": [],
            "own_addresses": [],
            "secrets": [],
            "base": "none",
            "release_files": None,
            **params,
        }
        warnings = []
        module = SimpleNamespace(params=params, check_mode=check, no_log_values=set(), warn=warnings.append)
        return {**config(module, self.runner), "warnings": warnings}

    def files(self):
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*"))


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


def test_the_first_set_is_staged_and_linked(host):
    result = host.config()
    assert result["changed"]
    assert result["staged"]
    assert result["validated"]
    assert result["current"] is None
    assert result["next"] == result["set"] == host.slots.state().next
    assert os.readlink(host.etc / "sys.config") == "current/sys.config"
    stored = host.etc / "sets" / result["set"]
    assert stored.stat().st_mode & 0o7777 == 0o750
    assert {path.name: path.stat().st_mode & 0o7777 for path in stored.iterdir()} == dict.fromkeys(
        ("sys.config", "vm.args", "env.sh"), 0o640
    )
    host.slots.activate()
    assert (host.etc / "sys.config").read_text() == "[].\n"


def test_check_mode_predicts_and_leaves_the_host_alone(host):
    before = host.files()
    predicted = host.config(check=True)
    assert host.files() == before
    result = host.config()
    for key in ("changed", "steps", "staged", "validated", "diff"):
        assert predicted[key] == result[key]


def test_a_second_run_changes_nothing_and_starts_no_erlang(host):
    first = host.config()
    Slots(str(host.root / "opt"), "releases").activate()
    again = host.config()
    assert not again["changed"]
    assert again["set"] == first["set"]
    assert again["diff"] == []
    host.slots.activate()
    assert not host.config()["changed"]
    assert len(host.runner.starts) == 1


def test_erlang_runs_as_the_service_account_without_name_and_cookie(host):
    host.config(vm_args="-name erlmcp@127.0.0.1\n-start_epmd false\n-kernel inet_dist_listen_min 9100\n")
    argv, options = host.runner.starts[0]
    assert options["account"] == USER
    assert options["env"]["HOME"] == str(host.root)
    assert not {"-name", "-start_epmd", "-setcookie"} & set(argv)
    assert "inet_dist_listen_min" in argv


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("by_hand", [True, False])
def test_a_set_with_which_the_node_would_leave_its_data_behind_is_refused(host, check, by_hand):
    old = host.root / "old"
    old.mkdir()
    (old / "rows.dets").touch()
    text = f'[{{erlmcp, [{{data_dir, "{old}"}}]}}].\n'
    if by_hand:
        host.etc.mkdir()
        (host.etc / "sys.config").write_text(text)
    else:
        host.config(text)
        host.slots.activate()
    before = host.files()
    with pytest.raises(OpsError, match=f"its data in {old} .* in /srv/new .*erlmcp_data_dir") as raised:
        host.config('[{erlmcp, [{data_dir, "/srv/new"}]}].\n', check=check)
    assert raised.value.kind == "data"
    assert host.files() == before
    (old / "rows.dets").unlink()
    assert host.config('[{erlmcp, [{data_dir, "/srv/new"}]}].\n', check=check)["changed"]


def test_a_change_waits_and_its_return_is_forgotten(host):
    host.config()
    host.slots.activate()
    current = host.slots.state().current
    assert host.config("[{a,[]}].\n")["steps"] == ["stage"]
    assert host.slots.state().current == current
    back = host.config()
    assert back["steps"] == ["unstage"]
    assert back["set"] == current
    assert host.slots.state().next is None


def test_an_unchanged_set_is_judged_again_by_a_release_that_waits(host):
    host.config()
    host.slots.activate()
    waiting = host.config()
    assert (waiting["changed"], waiting["validated"]) == (False, True)
    Slots(str(host.root / "opt"), "releases").activate()
    running = host.config()
    assert (running["changed"], running["validated"]) == (False, False)


def test_an_edited_current_set_is_kept_and_replaced(host):
    host.config()
    host.slots.activate()
    edited = host.etc / "sys.config"
    edited.write_text("[{by,hand}].\n")
    result = host.config()
    assert result["steps"] == ["stage"]
    assert result["diff"][0]["before"] == "[{by,hand}].\n"
    assert edited.read_text() == "[{by,hand}].\n"
    host.slots.activate()
    assert edited.read_text() == "[].\n"
    assert (host.etc / "previous" / "sys.config").read_text() == "[{by,hand}].\n"


def test_a_set_that_others_may_write_is_replaced(host):
    name = host.config()["set"]
    (host.etc / "sets" / name / "vm.args").chmod(0o666)
    assert host.config()["steps"] == ["stage"]


def test_hand_made_files_are_adopted_and_kept(host):
    host.etc.mkdir()
    (host.etc / "sys.config").write_text("[{by,hand}].\n")
    predicted = host.config(check=True)
    result = host.config()
    assert predicted["steps"] == result["steps"] == ["adopt", "stage", "link sys.config", "link vm.args", "link env.sh"]
    assert predicted["diff"] == result["diff"]
    assert (host.etc / "sys.config").read_text() == "[{by,hand}].\n"
    (aside,) = host.etc.glob("sys.config.before-erlmcp-ops-*")
    assert aside.read_text() == "[{by,hand}].\n"
    host.slots.activate()
    assert (host.etc / "sys.config").read_text() == "[].\n"


def test_what_a_killed_run_left_is_cleared(host):
    name = host.config()["set"]
    (host.etc / "sets" / ".half").mkdir()
    (host.etc / "sets" / ".half" / "sys.config").touch()
    (host.etc / "next.0123abcd.tmp").symlink_to("nowhere")
    assert not host.config()["changed"]
    assert os.listdir(host.etc / "sets") == [name]
    assert not (host.etc / "next.0123abcd.tmp").is_symlink()


def test_old_sets_are_pruned(host):
    for number in range(5):
        host.config(f"[{{a,[{number}]}}].\n", keep=1)
        host.slots.activate()
    state = host.slots.state()
    names = host.slots.names()
    assert len(names) == 4
    assert {state.current, state.previous} <= set(names)


def test_a_refused_set_leaves_no_trace(host):
    host.runner.run = lambda argv, **options: Completed(0, "checked:[{duplicate,a}]\n" if argv[0] != "sh" else "", "")
    before = host.files()
    with pytest.raises(OpsError) as caught:
        host.config()
    assert str(caught.value) == "the configuration is refused: sys.config has more than one section a: merge them"
    assert host.files() == before


def test_env_sh_is_read_by_a_shell(host):
    host.runner.run = lambda argv, **options: Runner().run(argv, **options)
    with pytest.raises(OpsError, match="env.sh line [0-9]+: "):
        host.config(env_sh="A=1\nB='\n")


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1", "h.example", ""])
def test_an_address_that_the_host_does_not_have_is_refused(host, address):
    before = host.files()
    for check in (True, False):
        with pytest.raises(OpsError, match=f"could not listen on '{address}'.*set erlmcp_address"):
            host.config(own_addresses=["127.0.0.1", address], check=check)
    assert host.files() == before


def test_addresses_that_the_host_has_are_accepted(host):
    assert host.config(own_addresses=["127.0.0.1", "127.0.0.2"])["staged"]


def test_a_secret_is_in_neither_message_nor_diff(host):
    answer = 'checked:[{kernel,net_ticktime,"hidden one","a number of seconds"}]\n'
    host.runner.run = lambda argv, **options: Completed(0, answer if argv[0] != "sh" else "", "")
    with pytest.raises(OpsError) as caught:
        host.config(secrets=["hidden one"])
    assert "hidden" not in str(caught.value) + str(caught.value.details)


@pytest.mark.parametrize("missing", ["release", "account", "group"])
def test_a_fresh_host_is_predicted_but_not_configured(host, missing):
    if missing == "release":
        (host.root / "opt" / "next").unlink()
    node = {
        "name": "erlmcp@127.0.0.1",
        "name_type": "long",
        "release_name": "erlmcp",
        "service": "erlmcp",
        "user": "no-such-account" if missing == "account" else USER,
        "home_dir": str(host.root),
        "install_dir": str(host.root / "opt"),
        "config_dir": str(host.etc),
    }
    group = "no-such-group" if missing == "group" else GROUP
    predicted = host.config(check=True, node=node, group=group)
    assert predicted["changed"]
    assert predicted["validated"] is (missing == "group")
    role = "erlmcp_release" if missing == "release" else "erlmcp_node"
    with pytest.raises(OpsError, match=role):
        host.config(node=node, group=group)
    assert not host.etc.exists()


@pytest.fixture
def real_host(host):
    """The host with a release that has no Erlang of its own, only the system's libraries."""
    erl = os.path.realpath(shutil.which("erl"))
    system = os.path.dirname(os.path.dirname(erl))
    program = 'io:format("~s", [erlang:system_info(version)]), halt().'
    command = ["erl", "-noshell", "-eval", program]
    erts = subprocess.run(command, capture_output=True, check=True, encoding="utf-8").stdout
    release = host.root / "opt" / "releases" / "1.0.0"
    shutil.rmtree(release / "erts-13.1.5")
    (release / "releases" / "start_erl.data").write_text(f"{erts} 1.0.0")
    shutil.copy(os.path.join(system, "bin", "start_clean.boot"), release / "releases" / "1.0.0" / "start_clean.boot")
    application = release / "lib" / "erlmcp-1.0.0" / "ebin" / "erlmcp.app"
    application.parent.mkdir(parents=True)
    application.write_text('{application, erlmcp, [{vsn, "1.0.0"}]}.\n')
    for library in os.listdir(os.path.join(system, "lib")):
        (release / "lib" / library).symlink_to(os.path.join(system, "lib", library))
    host.runner = Runner()
    return host


@needs_erl
def test_erlang_accepts_a_good_set_without_touching_the_log(real_host):
    log = real_host.root / "log" / "erlmcp.log"
    handler = f'{{handler, default, logger_std_h, #{{config => #{{file => "{log}", max_no_bytes => 100}}}}}}'
    text = f"[{{kernel, [{{logger_level, debug}}, {{logger, [{handler}]}}]}}, {{erlmcp, [{{a, 1}}]}}].\n"
    assert real_host.config(text)["validated"]
    assert not log.parent.exists()


@needs_erl
@pytest.mark.parametrize(
    ("sys_config", "vm_args", "problem"),
    [
        ("[{a,[]},\n{b,[}]}].", "", "sys.config line 2: syntax error before: '}'"),
        ("[{a,[]}]", "", "sys.config: no ending <dot> found; or a quote is never closed"),
        ("[{a,[]},{b,[]},{a,[]}].", "", "sys.config has more than one section a: merge them"),
        ("[{kernel,x}].", "", "sys.config: application: kernel; parameters must be a list"),
        ('["/no/such.config"].', "", "sys.config includes /no/such.config, which is not there"),
        ("[{kernel,[{net_ticktime,-1}]}].", "", "sys.config: net_ticktime of kernel is -1, and must be a number"),
        ("[{kernel,[{logger_level,loud}]}].", "", "sys.config: logger_level of kernel is loud, and must be a level"),
        (
            "[{kernel,[{logger,[{handler,default,logger_std_h,#{config => #{type => tape}}}]}]}].",
            "",
            "sys.config: the logger handler default cannot be added: ",
        ),
        ("[{kernel,[{logger,[{handler,x,nosuch_h,#{}}]}]}].", "", "sys.config: the logger handler x cannot be added: "),
        ("[].", "+Q 4000\n+zzz 1\n", "vm.args line 4: the emulator refuses +zzz 1: "),
        ("[].", "+P 5\n", "vm.args line 3: the emulator refuses +P 5: bad number of processes 5"),
        ("[].", "-kernel inet_dist_listen_min abc\n", "vm.args line 3: inet_dist_listen_min of kernel is abc"),
        ("[].", "-kernel inet_dist_use_interface {1}\n", "vm.args line 3: inet_dist_use_interface of kernel is {1}"),
        (
            "[{kernel,[{inet_dist_listen_min,9200}]}].",
            "-kernel inet_dist_listen_max 9100\n",
            "sys.config: inet_dist_listen_min of kernel is 9200, and must be at most inet_dist_listen_max",
        ),
        ("[].", "-erlmcp a {b\n", "vm.args line 3: the value {b of -erlmcp a is no Erlang term"),
        ("[].", "-kernel a {b\n", "vm.args line 3: the value {b of -kernel a is no Erlang term"),
    ],
)
def test_erlang_refuses_and_we_say_where(real_host, sys_config, vm_args, problem):
    with pytest.raises(OpsError) as caught:
        real_host.config(sys_config, vm_args=VM_ARGS + vm_args)
    (found,) = caught.value.details["problems"]
    assert found.startswith(problem)
    assert not real_host.etc.exists()


def test_another_list_of_nodes_becomes_current_without_a_restart(host):
    host.config("[{erlmcp, [{port, 1}, {cluster_nodes, ['a@h']}]}].\n")
    host.slots.activate()
    grown = host.config("[{erlmcp, [{port, 1}, {cluster_nodes, ['a@h', 'b@h']}]}].\n")
    assert grown["steps"] == ["replace"]
    assert (grown["next"], grown["staged"]) == (None, False)
    assert "'b@h'" in (host.etc / "sys.config").read_text()
    assert not host.config("[{erlmcp, [{port, 1}, {cluster_nodes, ['a@h', 'b@h']}]}].\n")["changed"]


def test_another_list_of_nodes_and_another_setting_wait_for_the_restart(host):
    host.config("[{erlmcp, [{port, 1}, {cluster_nodes, ['a@h']}]}].\n")
    host.slots.activate()
    changed = host.config("[{erlmcp, [{port, 2}, {cluster_nodes, ['a@h', 'b@h']}]}].\n")
    assert changed["steps"] == ["stage"]
    # The list alone again: what waited is forgotten.
    grown = host.config("[{erlmcp, [{port, 1}, {cluster_nodes, ['a@h', 'b@h']}]}].\n")
    assert grown["steps"] == ["replace", "unstage"]
    assert host.slots.state().next is None


def test_a_run_that_leaves_hosts_out_does_not_add_nodes(host):
    with pytest.raises(OpsError, match="erlmcp@127.0.0.1 would learn of b@h while h3 would not"):
        host.config("[{erlmcp, [{cluster_nodes, ['erlmcp@127.0.0.1', 'b@h']}]}].\n", left_out=["h3"])
    assert not host.etc.exists()
    host.config("[{erlmcp, [{cluster_nodes, ['erlmcp@127.0.0.1', 'b@h']}]}].\n")
    host.slots.activate()
    host.config("[{erlmcp, [{port, 1}, {cluster_nodes, ['erlmcp@127.0.0.1', 'b@h']}]}].\n", left_out=["h3"])
    host.config("[{erlmcp, [{port, 1}, {cluster_nodes, ['erlmcp@127.0.0.1']}]}].\n", left_out=["h3"])
    with pytest.raises(OpsError, match="without --limit"):
        host.config("[{erlmcp, [{cluster_nodes, [\n  'erlmcp@127.0.0.1',\n  c@h]}]}].\n", left_out=["h3", "h4"])


def test_a_node_that_left_its_cluster_is_refused_until_it_is_admitted_again(host):
    host.etc.mkdir()
    marker = host.etc / "removed.json"
    marker.write_text('{"node": "erlmcp@127.0.0.1", "time": "20260101T000000Z", "survivors": []}')
    with pytest.raises(OpsError, match=r"erlmcp@127.0.0.1 has left its cluster .* erlmcp_node_readmit=true"):
        host.config()
    assert host.config(readmit=True, check=True)["changed"]
    assert marker.exists()
    host.config(readmit=True)
    assert not marker.exists()
    assert not host.config()["changed"]


OWN_FLAGS = "-heart\n+t 5000000\n-setcookie hush\n"
OWN_SETTINGS = '[{opentelemetry, [{rate, 1}, {password, "hidden"}]}].\n'


def bring(host, version="1.0.0", flags=OWN_FLAGS, settings=OWN_SETTINGS):
    directory = host.root / "opt" / "releases" / version / "releases" / version
    if not directory.exists():
        shutil.copytree(host.root / "opt" / "releases" / "1.0.0", directory.parents[1])
        (directory.parent / "1.0.0").rename(directory)
        (directory.parent / "start_erl.data").write_text(f"13.1.5 {version}")
    (directory / "vm.args").write_text(flags)
    (directory / "sys.config").write_text(settings)


def restart(host):
    """What node_restart does between stop and start."""
    host.slots.activate()
    Slots(str(host.root / "opt"), "releases").activate()


def test_what_the_release_brings_is_told_once_and_is_in_the_diff(host):
    bring(host)
    predicted = host.config(check=True)
    result = host.config()
    assert predicted["warnings"] == result["warnings"]
    one, two = result["warnings"]
    assert "brings -heart, +t 5000000 in its vm.args and opentelemetry (2 keys) in its sys.config" in one
    assert two.startswith("-heart ")
    assert result["diff"] == predicted["diff"]
    assert result["diff"][-1]["before"] == ""
    assert result["diff"][-1]["after"] == (
        "vm.args: -heart\nvm.args: +t 5000000\nsys.config: opentelemetry rate\nsys.config: opentelemetry password\n"
    )
    assert "hush" not in str(result) + str(predicted)
    assert "hidden" not in str(result) + str(predicted)
    restart(host)
    again = host.config()
    assert (again["changed"], again["warnings"], again["diff"]) == (False, [], [])
    # What is left out is the same as before.
    other = host.config("[{a, [{b, 1}]}].\n")
    assert (other["changed"], other["warnings"], len(other["diff"])) == (True, [], 1)


def test_another_release_with_other_defaults_is_told_and_with_the_same_is_not(host):
    bring(host)
    host.config()
    restart(host)
    releases = Slots(str(host.root / "opt"), "releases")
    bring(host, "2.0.0")
    releases.stage("2.0.0")
    assert host.config()["warnings"] == []
    bring(host, "2.0.0", flags="+Q 70000\n", settings="[].")
    result = host.config()
    assert "release 2.0.0 brings +Q 70000 in its vm.args, which" in result["warnings"][0]
    assert result["diff"][-1]["after"] == "vm.args: +Q 70000\n"
    releases.activate()
    assert host.config()["warnings"] == []


def test_what_the_release_brings_is_merged_below_and_a_second_run_changes_nothing(host):
    bring(host)
    own = "[{opentelemetry, [{rate, 2}]}].\n"
    predicted = host.config(own, base="release", check=True)
    result = host.config(own, base="release")
    assert predicted["diff"] == result["diff"]
    stored = host.etc / "sets" / result["set"]
    assert (stored / "vm.args").read_text() == f"{VM_ARGS}# of the release's own vm.args\n+t 5000000\n"
    assert "{rate, 2}," in (stored / "sys.config").read_text()
    assert '{password, "hidden"}' in (stored / "sys.config").read_text()
    (only,) = result["warnings"]
    assert only.startswith("-heart of the vm.args of release 1.0.0 stays out")
    restart(host)
    again = host.config(own, base="release")
    assert (again["changed"], again["warnings"], again["diff"]) == (False, [], [])
    assert len(host.runner.starts) == 2
    # A release that brings something else makes another set due.
    bring(host, "2.0.0", flags="+t 6000000\n")
    Slots(str(host.root / "opt"), "releases").stage("2.0.0")
    assert host.config(own, base="release")["steps"] == ["stage"]


def test_a_grown_list_of_nodes_restarts_nothing_where_the_release_is_the_base(host):
    bring(host)
    host.config("[{erlmcp, [{cluster_nodes, ['a@h']}]}].\n", base="release")
    restart(host)
    assert host.config("[{erlmcp, [{cluster_nodes, ['a@h', 'b@h']}]}].\n", base="release")["steps"] == ["replace"]


def test_in_check_mode_a_release_that_is_yet_to_be_laid_down_is_told_and_merged(host):
    bring(host)
    real = host.config(base="release")
    shutil.rmtree(host.etc)
    (host.root / "opt" / "next").unlink()
    texts = {"vm.args": OWN_FLAGS, "sys.config": OWN_SETTINGS}
    files = {"version": "1.0.0", "files": {name: base64.b64encode(text.encode()) for name, text in texts.items()}}
    predicted = host.config(base="release", release_files=files, check=True)
    assert (predicted["diff"], predicted["warnings"]) == (real["diff"], real["warnings"])
    assert "brings" in host.config(release_files=files, check=True)["warnings"][0]


@pytest.mark.parametrize("check", [True, False])
def test_a_variable_of_the_release_without_a_value_is_refused_before_anything_changes(host, check):
    bring(host, flags="+t ${ATOMS}\n")
    before = host.files()
    with pytest.raises(OpsError, match=r"vm.args of release 1.0.0 holds \$\{ATOMS\}.*erlmcp_node_environment"):
        host.config(base="release", check=check)
    assert host.files() == before
    assert "+t 7000000" in host.config(base="release", env_sh="export ATOMS='7000000'\n")["diff"][1]["after"]


def test_own_files_that_cannot_be_read_are_told_and_not_refused_where_they_take_no_effect(host):
    bring(host, settings="[{a")
    (only,) = host.config()["warnings"]
    assert only.startswith("releases/1.0.0/sys.config of release 1.0.0 cannot be read")
    restart(host)
    assert host.config()["warnings"] == []


@pytest.mark.parametrize(
    "files",
    [
        {"vm_args": f"{VM_ARGS}-heart\n"},
        {"env_sh": "export ERL_ZFLAGS='+P 5000 -heart'\n"},
    ],
    ids=["vm.args", "env.sh"],
)
@pytest.mark.parametrize("check", [True, False])
def test_heart_is_refused_with_the_reason_before_anything_changes(host, files, check):
    before = host.files()
    with pytest.raises(
        OpsError, match="-heart.*: systemd restarts the node, and heart .*second one.*unit_settings"
    ) as caught:
        host.config(check=check, **files)
    assert host.files() == before
    # No other release would accept it, so nobody waits for one.
    assert "by_release" not in caught.value.details


@needs_erl
def test_erlang_accepts_what_was_merged_and_refuses_what_the_release_has_wrong(real_host):
    bring(real_host)
    assert real_host.config(base="release")["validated"]
    bring(real_host, flags="+P 5\n-heart\n")
    with pytest.raises(OpsError, match=r"vm.args line 4: the emulator refuses \+P 5"):
        real_host.config(base="release", vm_args="-name erlmcp@127.0.0.1\n+Q 4000\n")
