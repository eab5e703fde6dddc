# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import shutil
import subprocess

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._config.brought import (
    OwnFiles,
    brought,
    contents,
    lacking,
    merged,
    not_taken,
    own_files,
    staying_out,
    told,
)
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError

needs_erl = pytest.mark.skipif(shutil.which("erl") is None, reason="Erlang is not installed")

VM_ARGS = r"""
## relx's own
-name erlmcp@127.0.0.1
-setcookie hush
-heart
+P 1048576 # many
+A30
+t 5000000
+sbt db
-kernel net_ticktime 20 inet_dist_listen_min 1
-mnesia dir '"data dir"' dump_log_write_threshold 50000
-env ERL_MAX_ETS_TABLES 1400
-pa "/some where" -pa /else
-extra +Q 5
"""
SYS_CONFIG = r"""
%% Somebody's.
[{kernel, [{logger_level, debug}, {net_ticktime, 30}, {sync_nodes_optional, [x@y]}]},
 {opentelemetry, [{processors, [{batch, #{b => 1, a => "x % y", 1 => 2, true => 3}}]}, % why
                  {rate, 1.0e-3}, {name, 'Odd Name'}]},
 {sasl, []},
 {erlmcp, [{port, 5005}, {secret, <<"h", 16#e9, 1:4, 2:4>>}, {cluster_nodes, [a@b]}, {f, $a}, {l, [1|2]},
           {text, "tab\t" "and \x{20ac}"}]}
].
"""
OURS = {
    "sys.config": b"[\n  {kernel, [\n    {logger_level, info}\n  ]},\n  {sasl, []},\n"
    b'  {mnesia, [\n    {dir, "/var/lib"}\n  ]},\n  {erlmcp, [\n    {port, 16#138D} %% the guide\'s\n  ]}\n].\n',
    "vm.args": b"-name erlmcp@h.example\n+P 262144\n-kernel net_setuptime 7\n",
    "env.sh": b"export PORT='17'\nexport ODD='it'\"'\"'s ${x}'\nexport EMPTY=''\n",
}


def release(vm_args="", sys_config="[].", suffix=""):
    return OwnFiles("3.0.0", {f"vm.args{suffix}": vm_args, f"sys.config{suffix}": sys_config})


def merge(own, files=None):
    files = files or OURS
    ours = contents(files)
    return merged(files, own, ours, lacking(brought(own, files["env.sh"].decode()), ours))


def erlang(program):
    return subprocess.run(
        ["erl", "-noshell", "-eval", f"{program}, halt(0)."], capture_output=True, check=False, encoding="utf-8"
    )


def test_what_does_not_take_effect_is_listed_without_values_that_may_be_secrets():
    lines = not_taken(brought(release(VM_ARGS, SYS_CONFIG), ""), contents(OURS))
    assert lines == [
        ("vm.args", "-heart"),
        ("vm.args", "+P 1048576 (here 262144)"),
        ("vm.args", "+A 30"),
        ("vm.args", "+t 5000000"),
        ("vm.args", "+sbt db"),
        ("vm.args", "-kernel net_ticktime"),
        ("vm.args", "-mnesia dir (another value here)"),
        ("vm.args", "-mnesia dump_log_write_threshold"),
        ("vm.args", "-env ERL_MAX_ETS_TABLES"),
        ("vm.args", "-pa /some where"),
        ("vm.args", "-pa /else"),
        ("sys.config", "kernel logger_level (another value here)"),
        ("sys.config", "kernel net_ticktime"),
        ("sys.config", "opentelemetry processors"),
        ("sys.config", "opentelemetry rate"),
        ("sys.config", "opentelemetry name"),
        ("sys.config", "erlmcp secret"),
        ("sys.config", "erlmcp f"),
        ("sys.config", "erlmcp l"),
        ("sys.config", "erlmcp text"),
    ]


def test_it_is_told_in_two_lines_with_the_remedy():
    own = release("-heart\n+P 1048576\n+t 5000000\n-setcookie hush\n", "[{a, [{x, 1}, {y, 2}]}, {b, [{z, 3}]}].")
    theirs, ours = brought(own, ""), contents({**OURS, "vm.args": b""})
    assert told("3.0.0", not_taken(theirs, ours), False) == [
        "release 3.0.0 brings -heart, +P 1048576, +t 5000000 in its vm.args and a (2 keys), b (1 key) in its "
        "sys.config, which this node does not get: name what it needs in erlmcp_node_vm_args and erlmcp_node_config, "
        "or set erlmcp_node_config_base: release; --diff lists all",
        "-heart of the vm.args of release 3.0.0 stays out: systemd restarts the node, and heart would start a second "
        "one beside it, out of systemd's sight",
    ]
    (only,) = told("3.0.0", staying_out(theirs, ours), True)
    assert only.startswith("-heart of the vm.args of release 3.0.0 stays out")
    assert told("3.0.0", [], False) == []


def test_a_flag_that_the_sandbox_has_to_know_of_stays_out_unless_the_inventory_has_it():
    theirs = brought(release("+sbt db\n"), "")
    (only,) = told("3.0.0", staying_out(theirs, contents(OURS)), True)
    assert only.startswith("+sbt of the vm.args of release 3.0.0 stays out: name it in erlmcp_node_vm_args")
    assert staying_out(theirs, contents({**OURS, "vm.args": b"+sbt u\n"})) == []


def test_flags_are_merged_below_ours():
    assert merge(release(VM_ARGS))["vm.args"].decode() == (
        "-name erlmcp@h.example\n+P 262144\n-kernel net_setuptime 7\n# of the release's own vm.args\n"
        "+A 30\n+t 5000000\n-kernel net_ticktime 20\n-mnesia dump_log_write_threshold 50000\n"
        "-env ERL_MAX_ETS_TABLES 1400\n-pa '/some where'\n-pa /else\n"
    )


def test_what_is_there_already_changes_nothing():
    once = merge(release(VM_ARGS, SYS_CONFIG))
    assert merge(release(VM_ARGS, SYS_CONFIG), once) == once
    assert merge(release("-name a@b\n", "[{sasl, []}].\n")) == OURS


@needs_erl
@pytest.mark.parametrize("sections", ["[].", "[{erlmcp,[]}].", OURS["sys.config"].decode()])
def test_erlang_finds_the_same_in_the_merged_file_as_it_does_when_it_merges(tmp_path, sections):
    for name, text in (
        ("ours", sections),
        ("theirs", SYS_CONFIG),
        ("merged", merge(release("", SYS_CONFIG), {**OURS, "sys.config": sections.encode()})["sys.config"].decode()),
    ):
        (tmp_path / name).write_text(text, encoding="utf-8")
    done = erlang(
        f"[Ours, Theirs, Merged] = [maps:from_list([{{{{A, K}}, V}} || {{A, L}} <- T, {{K, V}} <- L]) "
        f'|| N <- ["ours", "theirs", "merged"], {{ok, [T]}} <- [file:consult("{tmp_path}/" ++ N)]], '
        "Ignored = [{kernel, sync_nodes_optional}, {erlmcp, cluster_nodes}], "
        "Merged = maps:merge(maps:without(Ignored, Theirs), Ours)"
    )
    assert done.returncode == 0, done.stdout + done.stderr


@needs_erl
def test_erlang_takes_the_merged_flags(tmp_path):
    own = release("+P 500000\n+t 2000000\n-env ODD_NAME 'a # b'\n-erlmcp motto '\"it is\"'\n")
    file = tmp_path / "vm.args"
    file.write_bytes(merge(own, {**OURS, "vm.args": b"+P 262144\n"})["vm.args"])
    program = (
        'application:load({application, erlmcp, []}), {ok, "it is"} = application:get_env(erlmcp, motto), '
        '"a # b" = os:getenv("ODD_NAME"), 2000000 = erlang:system_info(atom_limit), '
        "262144 = erlang:system_info(process_limit), halt(0)."
    )
    done = subprocess.run(["erl", "-noshell", "-args_file", file, "-eval", program], capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_variables_are_replaced_as_the_start_script_does_it():
    own = release("+Q ${PORT}\n", '[{a, [{p, ${PORT}}, {q, ${NONE:-5}}, {e, "${EMPTY:-x}${EMPTY}"}]}].', ".src")
    done = merge(own)
    assert "+Q 17\n" in done["vm.args"].decode()
    text = done["sys.config"].decode()
    assert '{p, 17},\n    {q, 5},\n    {e, "x"}' in text
    assert '"it\'s ${x}"' in merge(release("", '[{a, [{o, "${ODD}"}]}].'))["sys.config"].decode()


@pytest.mark.parametrize(
    ("vm_args", "sys_config", "file"),
    [
        ("+Q ${LIMIT}\n", "[].", "vm.args.src"),
        ("", "[{a, [{p, ${LIMIT}}]}].", "sys.config.src"),
        ("", '[{a, [{p, "x${LIMIT}y"}]}].', "sys.config.src"),
    ],
)
def test_a_variable_without_a_value_is_refused_with_its_file(vm_args, sys_config, file):
    own = release(vm_args, sys_config, ".src")
    with pytest.raises(OpsError) as caught:
        merge(own)
    assert str(caught.value).startswith(
        f"releases/3.0.0/{file} of release 3.0.0 holds ${{LIMIT}}, which env.sh gives no value: set LIMIT in "
        "erlmcp_node_environment"
    )
    assert caught.value.details == {"by_release": True}


def test_a_variable_in_what_is_not_taken_over_is_of_no_matter():
    own = release("-name ${NODE}\n# ${X}\n-setcookie ${COOKIE}\n+P ${P}\n", "[{kernel, [{logger_level, ${L}}]}].")
    assert merge(own) == OURS
    assert ("vm.args", "+P ${P} (here 262144)") in not_taken(brought(own, ""), contents(OURS))


@pytest.mark.parametrize(
    ("vm_args", "sys_config", "problem"),
    [
        ("+P '5\n", "[].", "vm.args of release 3.0.0 cannot be read (vm.args line 1: the quote ' is not closed"),
        ("", "[{a, [", "sys.config of release 3.0.0 cannot be read (line 1 column 7: expected"),
        ("", "[{a, b}].", "sys.config of release 3.0.0 cannot be read (line 1 column 6: expected '['"),
        ("", '["other"].', "sys.config of release 3.0.0 cannot be read (it includes other)"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(vm_args, sys_config, problem):
    with pytest.raises(OpsError) as caught:
        brought(release(vm_args, sys_config), "")
    assert problem in str(caught.value)
    assert "erlmcp_node_config" in str(caught.value)


def test_the_files_that_relx_would_take_are_read(tmp_path):
    directory = tmp_path / "releases" / "2.0"
    directory.mkdir(parents=True)
    assert own_files(str(tmp_path)) is None
    (tmp_path / "releases" / "start_erl.data").write_text("13.1 2.0")
    assert own_files(str(tmp_path)) == OwnFiles("2.0", {})
    (directory / "sys.config").write_bytes(b"%% caf\xe9\n[{a, [{b, 1}]}].\n")
    (directory / "vm.args").write_text("+P 1\n")
    (directory / "vm.args.src").write_text("+P 2\n")
    found = brought(own_files(str(tmp_path)), "")
    assert (found.flags, found.settings) == ({("+P",): ["+P", "2"]}, {("a", "b"): "1"})
