# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import shutil
import subprocess

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._config.vm_args import (
    arguments,
    problems,
    to_vm_args,
    tokens,
)
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError

needs_erl = pytest.mark.skipif(shutil.which("erl") is None, reason="Erlang is not installed")

FLAGS = {
    "-name": "erlmcp@node1.example.com",
    "+P": 1000000,
    "+S": "16:16",
    "+K": True,
    "-start_epmd": False,
    "-hidden": None,
    "-kernel": {"inet_dist_listen_min": 9100, "inet_dist_use_interface": {"$tuple": [127, 0, 0, 1]}},
    "-erlmcp": {"motto": 'it\'s a "#" day', "level": {"$atom": "info"}},
    "-pa": ["/one", "/two and three"],
    "-env": {"ERL_MAX_ETS_TABLES": 1400},
}
NODE = {"name": "erlmcp@h.example", "name_type": "long"}


def expanded(path):
    """What erlexec makes of an arguments file, without a start of the virtual machine."""
    output = subprocess.run(
        ["erl", "-args_file", str(path), "-emu_args_exit"], capture_output=True, check=True, encoding="utf-8"
    ).stdout.splitlines()
    return output[output.index("-home") + 3 : -2]


def test_to_vm_args():
    assert to_vm_args(FLAGS, header="one\ntwo") == (
        "# one\n# two\n"
        "-name erlmcp@node1.example.com\n"
        "+P 1000000\n"
        "+S 16:16\n"
        "+K true\n"
        "-start_epmd false\n"
        "-hidden\n"
        "-kernel inet_dist_listen_min 9100\n"
        "-kernel inet_dist_use_interface {127,0,0,1}\n"
        '-erlmcp motto \'"it\'"\'"\'s a \\"#\\" day"\'\n'
        "-erlmcp level info\n"
        "-pa /one\n"
        "-pa '/two and three'\n"
        "-env ERL_MAX_ETS_TABLES 1400\n"
    )


@needs_erl
def test_erlang_gets_the_terms_that_were_meant(tmp_path):
    file = tmp_path / "vm.args"
    flags = {flag: value for flag, value in FLAGS.items() if flag != "-name"}
    file.write_text(to_vm_args(flags, header="it's"), encoding="utf-8")
    program = (
        "application:load({application, erlmcp, []}), "
        '{ok, "it\'s a \\"#\\" day"} = application:get_env(erlmcp, motto), '
        "{ok, info} = application:get_env(erlmcp, level), "
        "{ok, {127,0,0,1}} = application:get_env(kernel, inet_dist_use_interface), halt(0)."
    )
    command = ["erl", "-noshell", "-args_file", str(file), "-eval", program]
    done = subprocess.run(command, capture_output=True, check=False, encoding="utf-8")
    assert done.returncode == 0, done.stdout + done.stderr


@needs_erl
@pytest.mark.parametrize(
    "text",
    [
        "-a 'x y' \"z '\" # comment\n-b\n",
        "-a x#y\n",
        "-a x\\ y \\#z \\n\n",
        "-a \"back\\\\slash\" 'b\\c'\n",
        "-a one'two'\"three\"\n",
        "-a '' b\n",
        "% a b\n-c\r\n\n\t-d",
        "-a é€",
    ],
)
def test_tokens_are_those_of_erlexec(tmp_path, text):
    file = tmp_path / "vm.args"
    file.write_text(text, encoding="utf-8", newline="")
    assert [token.text for token in tokens(text)] == expanded(file)


def test_arguments_know_their_lines():
    groups = arguments(tokens("# x\n-name a@b.c +P 5\n\n-kernel a {b}\n"))
    assert [[(token.text, token.line) for token in group] for group in groups] == [
        [("-name", 2), ("a@b.c", 2)],
        [("+P", 2), ("5", 2)],
        [("-kernel", 4), ("a", 4), ("{b}", 4)],
    ]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"P": 5}, "'P' is no flag of vm.args"),
        ({"-a b": 5}, "'-a b' is no flag of vm.args"),
        ({"-setcookie": "x"}, "-setcookie: every user of the host could read the cookie"),
        ({"-heart": None}, "-heart: systemd restarts the node, and heart would start a second one"),
        ({"-detached": None}, "-detached: systemd needs"),
        ({"-name": "a@b.c", "-sname": "a"}, "-name and -sname exclude each other"),
        ({"-name": "a$(id)@b.c"}, "-name: 'a$(id)@b.c' is no node name"),
        ({"-a": "one\ntwo"}, "-a: a line break or control character"),
        ({"+P": {"a": 1}}, "+P: a flag of the emulator takes no dictionary"),
        ({"-kernel": {"a b": 1}}, "-kernel: 'a b' is no parameter of an application"),
        ({"-kernel": {"a": {"$foz": 1}}}, "-kernel a: unknown tag $foz"),
        ({"-a": {"b": {"$term": "{x"}}}, "-a b.$term: } is missing"),
        ({"-a": object()}, "-a: a value of type object cannot stand in vm.args"),
    ],
)
def test_a_refused_flag_is_named(flags, message):
    with pytest.raises(OpsError) as caught:
        to_vm_args(flags)
    assert str(caught.value).startswith(message)


def test_no_problems():
    assert problems("# x\n-name erlmcp@h.example\n+P 5\n", NODE) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("-name erlmcp@h.example\n'-setcookie' x\n", "vm.args line 2: -setcookie: every user"),
        ("-name erlmcp@h.example\n+P 5 -heart\n", "vm.args line 2: -heart: "),
        ("-name erlmcp@h.example\n--\n", "vm.args line 2: --: "),
        ("+P 5\n", "vm.args needs -name erlmcp@h.example exactly once, and has 0"),
        ("-name erlmcp@h.example\n-sname erlmcp\n", "vm.args needs -name erlmcp@h.example exactly once, and has 2"),
        ("-name other@h.example\n", "vm.args line 1: the node is to be called -name erlmcp@h.example"),
        ("+P 5 -name erlmcp@h.example\n", "vm.args line 1: -name must begin its line"),
    ],
)
def test_problems(text, problem):
    found = problems(text, NODE)
    assert len(found) == 1
    assert found[0].startswith(problem)


def test_an_unclosed_quote_is_found_on_its_line():
    with pytest.raises(OpsError, match="vm.args line 2: the quote ' is not closed"):
        tokens("-a 'b'\n-c 'd\n'")
