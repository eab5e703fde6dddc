# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime
import shutil
import subprocess

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._config.sys_config import (
    raw_term_problem,
    to_erlang,
    to_sys_config,
    to_term,
)
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.module_utils._erlang.terms import Atom

needs_erl = pytest.mark.skipif(shutil.which("erl") is None, reason="Erlang is not installed")

SETTINGS = {
    "kernel": {"logger_level": {"$atom": "info"}, "inet_dist_use_interface": {"$tuple": [127, 0, 0, 1]}},
    "erlmcp": {
        "port": 5005,
        "rate": 0.5,
        "tls": None,
        "metrics": True,
        "motto": 'say "café" €',
        "peers": ["a", "b"],
        "key": {"$binary": "né"},
        "options": {"$map": {"depth": 3, "Odd Key": []}},
        "format": {"$term": "{logger_formatter, #{single_line => true}}"},
        "empty": {},
    },
}


def test_to_erlang_gives_each_key_its_line_in_order():
    assert to_erlang(SETTINGS["kernel"], final_dot=True) == (
        "[\n  {logger_level, info},\n  {inet_dist_use_interface, {127, 0, 0, 1}}\n].\n"
    )


def test_a_string_is_a_string_and_a_key_is_an_atom():
    term = to_term({"level": "info"})
    assert term == [("level", "info")]
    assert isinstance(term[0][0], Atom)
    assert not isinstance(term[0][1], Atom)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            {"a": [{"b": {"$foz": 1}}]},
            "a[0].b: unknown tag $foz; there are $atom, $binary, $map, $string, $term, $tuple",
        ),
        ({"a": {"$atom": "x", "b": 1}}, "a: $atom must be the only key"),
        ({"a": {"$atom": 1}}, "a.$atom: takes a string; write it in quotes"),
        ({"a": {"$tuple": "x"}}, "a.$tuple: takes a list"),
        ({"a": {"$map": []}}, "a.$map: takes a dictionary"),
        ({"a": {"$term": "{x"}}, "a.$term: } is missing"),
        ({"a": {5: 1}}, "a: the key 5 is not a string; write it in quotes, or the pair as a $tuple"),
        (
            {"a": datetime.date(2026, 1, 1)},
            "a: a value of type date has no Erlang counterpart; write it in quotes",
        ),
    ],
)
def test_what_cannot_be_written_is_named_by_its_path(value, message):
    with pytest.raises(OpsError) as caught:
        to_erlang(value)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{a, [1, 2.5, \"]\", 'it\\'s', $], $\\\", <<\"x\">>]}", None),
        ("{a,\n % a [ comment\n b}", None),
        ("", "is empty"),
        ("  \n", "is empty"),
        ("{a, b}.", "has a dot that ends the file: leave the final dot out"),
        ("{a, b}. {c, d}", "has a dot that ends the file: leave the final dot out"),
        ("{a, b", "} is missing"),
        ("{a, [b}", "} closes what is not open"),
        ("a}", "} closes what is not open"),
        ("<<1,2", ">> is missing"),
        ('{a, "b}', 'the quote " is never closed'),
        ("{a, 'b}", "the quote ' is never closed"),
        ("{a, b} % c", "ends in a comment, which would hide the comma after it"),
        (5, "takes Erlang text, not a value of type int"),
    ],
)
def test_raw_terms_that_would_spoil_the_file(text, problem):
    assert raw_term_problem(text) == problem


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        (["{ok, []}", "{a, ["], "erlmcp_config_terms[1]: ] is missing"),
        (["{kernel, []}"], "erlmcp_config_terms[0] repeats the section kernel: merge the two"),
        (["{x, []}", "{ 'x' , []}"], "erlmcp_config_terms[1] repeats the section x: merge the two"),
    ],
)
def test_an_extra_term_is_named_by_its_index(terms, message):
    with pytest.raises(OpsError) as caught:
        to_sys_config(SETTINGS, terms)
    assert str(caught.value) == message


def test_to_sys_config():
    text = to_sys_config({"kernel": {"a": 1}, "sasl": {}}, ["{x, [{y, 1}]}"], header="one\ntwo")
    assert text == "%% one\n%% two\n[\n  {kernel, [\n    {a, 1}\n  ]},\n  {sasl, []},\n  {x, [{y, 1}]}\n].\n"
    assert to_sys_config({}) == "[].\n"


@needs_erl
def test_erlang_reads_what_was_meant(tmp_path):
    file = tmp_path / "sys.config"
    file.write_text(to_sys_config(SETTINGS, ["{extra, [{a, $b}]}"], header="é"), encoding="utf-8")
    program = (
        f'{{ok, [T]}} = file:consult("{file}"), T = [{{kernel, [{{logger_level, info}}, '
        "{inet_dist_use_interface, {127,0,0,1}}]}, {erlmcp, [{port, 5005}, {rate, 0.5}, {tls, undefined}, "
        '{metrics, true}, {motto, "say \\"caf\\x{e9}\\" \\x{20ac}"}, {peers, ["a", "b"]}, {key, <<"n\\x{e9}"/utf8>>}, '
        "{options, #{depth => 3, 'Odd Key' => []}}, {format, {logger_formatter, #{single_line => true}}}, "
        "{empty, []}]}, {extra, [{a, 98}]}], halt(0)."
    )
    done = subprocess.run(["erl", "-noshell", "-eval", program], capture_output=True, check=False, encoding="utf-8")
    assert done.returncode == 0, done.stdout + done.stderr
