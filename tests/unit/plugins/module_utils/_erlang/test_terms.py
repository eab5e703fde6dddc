# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import shutil
import subprocess

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._erlang.terms import (
    Atom,
    Opaque,
    TermError,
    format_term,
    parse,
    parse_erl_call,
)

needs_erl = pytest.mark.skipif(shutil.which("erl") is None, reason="Erlang is not installed")

EVERYTHING = [
    Atom("info"),
    Atom("hello world"),
    Atom("it's"),
    Atom("end"),
    Atom("Upper"),
    Atom(""),
    Atom("café"),
    True,
    False,
    None,
    0,
    -17,
    2**70,
    0.1,
    -1.5e-7,
    1e22,
    1e16,
    'quote " backslash \\ line\ncafé',
    "bell\x07 euro €",
    b'plain \\ "quoted"',
    "caf\u00e9 €".encode(),
    bytes([0, 200, 255]),
    b"",
    [],
    (),
    {},
    (Atom("a"), [1, [2, (3,)]], {Atom("k"): {b"x": "y"}}),
]


@pytest.mark.parametrize(
    ("text", "term"),
    [
        ("{ok,1}", ("ok", 1)),
        ("[true,false,undefined]", [True, False, None]),
        ("'true'", True),
        ('"a\\"b\\\\c\\n\\x{20ac}\\e\\^A\\101\\s"', 'a"b\\c\n€\x1b\x01A '),
        ('"one "\n   "string"', "one string"),
        ('<<"one "\n   "binary">>', b"one binary"),
        ('<<"€"/utf8>>', "€".encode()),
        ('<<"a","b",1>>', b"ab\x01"),
        ("16#ff", 255),
        ("-2#11", -3),
        ("1_000_000", 1_000_000),
        ("$a", 97),
        ("$\\n", 10),
        ("1.0e10", 1e10),
        ("#{a => 1,[1,2] => #{}}", {"a": 1, "[1,2]": {}}),
        ("fun_name", "fun_name"),
        ("'Elixir.Foo'", "Elixir.Foo"),
        ("{kernel,\n % a comment\n []}.\n", ("kernel", [])),
    ],
)
def test_parse(text, term):
    assert parse(text) == term


def test_an_atom_is_not_a_string():
    assert isinstance(parse("ok"), Atom)
    assert not isinstance(parse('"ok"'), Atom)


@pytest.mark.parametrize(
    "text",
    ["<0.118.0>", "#Ref<0.2.3.4>", "#Fun<erl_eval.43.3316493>", "#Port<0.46>", "fun lists:map/2", "<<1:3>>", "[a|b]"],
)
def test_what_has_no_counterpart_stays_text(text):
    pair = parse(f"{{{text},x}}")
    assert pair == (text, "x")
    assert isinstance(pair[0], Opaque)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1 column 1: expected a term, found the end"),
        ("{a,", "line 1 column 4: expected a term, found the end"),
        ("{a", "line 1 column 3: expected '}', found the end"),
        ("{a,\n b c}", "line 2 column 4: expected '}', found 'c'"),
        ("x y", "line 1 column 3: expected the end, found 'y'"),
        ("{a, B}", "line 1 column 5: 'B}' begins no Erlang term"),
        ('"open', "line 1 column 1: '\"open' begins no Erlang term"),
        ("<<300>>", "line 1 column 3: 300 is no byte from 0 to 255"),
        ("2#3", "line 1 column 1: '2#3' is no integer"),
        ("[" * 5000, "the term is nested too deeply"),
    ],
)
def test_parse_says_where_it_fails(text, message):
    with pytest.raises(TermError) as caught:
        parse(text)
    assert str(caught.value) == message


@pytest.mark.parametrize("value", EVERYTHING, ids=repr)
def test_what_is_written_reads_back(value):
    for text in (format_term(value), format_term([(Atom("key"), value)], indent=0)):
        read = parse(text)
        assert read in (value, [("key", value)])
    assert type(parse(format_term(value))) is type(value)


@needs_erl
def test_erlang_reads_what_is_written_and_prints_what_is_read(tmp_path):
    file = tmp_path / "terms.config"
    file.write_text(f"{format_term(EVERYTHING, indent=0)}.\n", encoding="utf-8")
    program = (
        f'io:setopts([{{encoding, unicode}}]), {{ok, [T]}} = file:consult("{file}"), '
        'io:format("~tp~n", [T]), io:format("~~~~~n~0p~n", [T]), halt().'
    )
    command = ["erl", "-boot", "no_dot_erlang", "-noshell", "-eval", program]
    printed = subprocess.run(command, capture_output=True, check=True, encoding="utf-8").stdout
    for text in printed.split("~~\n"):
        # A string that Erlang holds unprintable comes back as the list that it is.
        read = ["".join(map(chr, term)) if isinstance(term, list) and 8364 in term else term for term in parse(text)]
        assert read == EVERYTHING


def test_layout_gives_each_key_of_a_property_list_its_line():
    file = "/var/log/x" * 7
    handler = (Atom("handler"), Atom("default"), Atom("logger_std_h"), {Atom("config"): {Atom("file"): file}})
    kernel = (Atom("kernel"), [(Atom("level"), Atom("info")), (Atom("logger"), [handler])])
    assert format_term([kernel, (Atom("a"), [])], indent=0) == (
        "[\n"
        "  {kernel, [\n"
        "    {level, info},\n"
        "    {logger, [\n"
        "      {handler, default, logger_std_h, #{\n"
        f'        config => #{{file => "{file}"}}\n'
        "      }}\n"
        "    ]}\n"
        "  ]},\n"
        "  {a, []}\n"
        "]"
    )


@pytest.mark.parametrize("value", [float("inf"), object(), "\ud800", {1, 2}])
def test_a_value_without_counterpart_is_refused(value):
    with pytest.raises(TermError):
        format_term(value)


@pytest.mark.parametrize(
    ("output", "term"),
    [
        ('{ok, "{ok,1}"}\n', ("ok", 1)),
        ('{ok, ""a\\"b\\\\c\\nd""}', 'a"b\\c\nd'),
        ('{ok, "<<"h\\xffffffe9llo">>"}', b"h\xe9llo"),
        ('{ok, ""\\xffffffa0\\xffffffffff""}', "\xa0\xffff"),
        ('{ok, "caf\\xffffffe9"}', "café"),
        ('{ok, ""a\\\\xffffffe9""}', "a\\xffffffe9"),
        ("{ok, [123, 111, 107, 44, 32, 49, 125]}", ("ok", 1)),
        ('{ok, "[]"}', []),
    ],
)
def test_parse_erl_call(output, term):
    assert parse_erl_call(output) == term


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ('{error, "*** syntax error before: error"}', "*** syntax error before: error"),
        ("", "erl_call printed '' instead of {ok, Term}"),
        ("nonsense", "erl_call printed 'nonsense' instead of {ok, Term}"),
    ],
)
def test_parse_erl_call_refuses_what_is_not_ok(output, message):
    with pytest.raises(TermError) as caught:
        parse_erl_call(output)
    assert str(caught.value) == message
