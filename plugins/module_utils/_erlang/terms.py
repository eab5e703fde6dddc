# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Erlang terms as Python values, and back.

======================= =========================================
Erlang                  Python
======================= =========================================
``true``, ``false``     ``True``, ``False``
``undefined``           ``None``
other atoms             :class:`Atom`, equal to the ``str``
``"text"``              ``str``
``<<"bytes">>``         ``bytes``
lists, tuples, maps     ``list``, ``tuple``, ``dict``
integers, floats        ``int``, ``float``
pids, references, funs  :class:`Opaque`, the text as it stands
======================= =========================================

Erlang prints a list of character codes as a string and an empty string as ``[]``: whoever reads a term has to know
which of the two to expect.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

_WIDTH = 100

_RESERVED = frozenset(
    "after and andalso band begin bnot bor bsl bsr bxor case catch cond div else end fun if let maybe not of or "
    "orelse receive rem try when xor".split()
)
_PLAIN_ATOM = re.compile(r"[a-z][A-Za-z0-9_@]*")
_CONSTANTS = {"true": True, "false": False, "undefined": None}

_ESCAPE = r"\\(?:x\{[0-9a-fA-F]+\}|x[0-9a-fA-F]{2}|[0-7]{1,3}|\^.|.)"
_TOKEN = re.compile(
    rf"""
      (?P<opaque> \#(?:Ref|Fun|Port)<[^>]*> | <\d+\.\d+\.\d+> | fun\s+[^\s,()\[\]{{}}]+/\d+ )
    | (?P<string> "(?:[^"\\]|\\.)*" )
    | (?P<quoted> '(?:[^'\\]|\\.)*' )
    | (?P<float>  [+-]?\d+\.\d+(?:[eE][+-]?\d+)? )
    | (?P<based>  [+-]?\d+\#[0-9a-zA-Z]+ )
    | (?P<int>    [+-]?\d+(?:_\d+)* )
    | (?P<char>   \$(?:{_ESCAPE}|[^\\]) )
    | (?P<atom>   [a-zß-öø-ÿ][\w@]* )
    | (?P<sign>   << | >> | => | [#{{}}\[\]|,:/.] )
    """,
    re.VERBOSE | re.DOTALL,
)
_SPACE = re.compile(r"(?:\s|%[^\n]*)*")
_ESCAPED = re.compile(_ESCAPE, re.DOTALL)
_NAMED_ESCAPES = {"b": 8, "d": 127, "e": 27, "f": 12, "n": 10, "r": 13, "s": 32, "t": 9, "v": 11}
_ESCAPES_TO_WRITE = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\b": "\\b", "\f": "\\f", "\v": "\\v", "\x1b": "\\e"}

_ERL_CALL = re.compile(r"\{(ok|error), (.*)\}", re.DOTALL)
_ERL_CALL_LATIN1 = re.compile(r"\\\\|\\x(?:ffffff)?([89a-f][0-9a-f])")


class TermError(ValueError):
    """A text that is no Erlang term, or a value that has no Erlang counterpart."""


class Atom(str):
    """An atom other than ``true``, ``false`` and ``undefined``."""

    __slots__ = ()


class Opaque(str):
    """Erlang text that is kept as it stands: what has no Python counterpart."""

    __slots__ = ()


def parse(text):
    """Return the one term in ``text``, as ``~p``, ``~0p`` or ``~tp`` print it; a final dot is allowed.

    :raises TermError: with line and column of what is wrong.
    """
    reader = _Reader(text)
    try:
        term = reader.term()
    except RecursionError as error:
        raise TermError("the term is nested too deeply") from error
    reader.accept(".")
    reader.end()
    return term


def parse_erl_call(output):
    """Return the term that ``erl_call -e`` printed.

    :param output: standard output, where the evaluated expression gave ``lists:flatten(io_lib:format("~0p", [Term]))``.
    :raises TermError: when the evaluation failed, or something else was printed.
    """
    match = _ERL_CALL.fullmatch(output.strip())
    if not match:
        raise TermError(f"erl_call printed {_shorten(output.strip())!r} instead of {{ok, Term}}")
    verdict, printed = match.groups()
    if printed.startswith('"') and printed.endswith('"') and len(printed) > 1:
        # erl_call escapes neither quotes nor backslashes: what is between the outer quotes is the text, save that
        # a Latin-1 character is printed as the hexadecimal of a negative C int.
        text = _ERL_CALL_LATIN1.sub(lambda m: chr(int(m[1], 16)) if m[1] else m[0], printed[1:-1])
    elif printed.startswith("["):
        # Beyond 65,535 characters the external format has no strings, only lists of integers.
        text = "".join(map(chr, parse(printed)))
    else:
        text = printed
    if verdict == "error":
        raise TermError(text)
    return parse(text)


@dataclass(frozen=True)
class Section:
    """The settings of one application in a ``sys.config``.

    :param settings: key to the source text of its value, as it stands.
    :param end: the position in the text where one more setting would be written.
    """

    name: Atom
    settings: dict
    end: int


@dataclass(frozen=True)
class Sections:
    """A ``sys.config`` as source text: nothing in a value is lost, whatever has no Python counterpart.

    :param includes: names of other files that it includes.
    :param end: the position in the text where one more section would be written.
    """

    found: list
    includes: list
    end: int


def parse_sections(text):
    """Return the :class:`Sections` of the text of a ``sys.config``.

    :raises TermError: with line and column of what is wrong.
    """
    reader = _Reader(text)
    try:
        return reader.sections()
    except RecursionError as error:
        raise TermError("a value is nested too deeply") from error


class _Reader:
    def __init__(self, text):
        self.text = text
        self.position = 0
        self._advance()

    def term(self):
        start, kind, token = self.start, self.kind, self.token
        if kind == "string":
            return self._string()
        if kind == "sign":
            if self.accept("["):
                return self._list(start)
            if self.accept("{"):
                return tuple(self._items("}"))
            if self.accept("#"):
                return self._map()
            if self.accept("<<"):
                return self._binary(start)
        if kind in (None, "sign"):
            raise self._unexpected("a term")
        self._advance()
        if kind == "atom":
            return _CONSTANTS[token] if token in _CONSTANTS else Atom(token)
        if kind == "quoted":
            atom = _unescape(token[1:-1])
            return _CONSTANTS[atom] if atom in _CONSTANTS else Atom(atom)
        if kind == "int":
            return int(token)
        if kind == "float":
            return float(token)
        if kind == "char":
            return ord(_unescape(token[1:]))
        if kind == "based":
            return self._based(start, token)
        return Opaque(token)

    def sections(self):
        found, includes = [], []
        self._expect("[")
        for _number in self._each("]"):
            if self.kind == "string":
                includes.append(self._string())
            else:
                found.append(self._section())
        end = self.previous_end
        self._expect("]")
        self.accept(".")
        self.end()
        return Sections(found, includes, end)

    def _section(self):
        settings = {}
        name = self._key()
        self._expect("[")
        for _number in self._each("]"):
            key = self._key()
            start = self.start
            self.term()
            settings[key] = self._source(start)
            self._expect("}")
        end = self.previous_end
        self._expect("]")
        self._expect("}")
        return Section(name, settings, end)

    def _key(self):
        """Read the first half of a pair, up to the comma, and return its atom as text."""
        self._expect("{")
        if self.kind not in ("atom", "quoted"):
            raise self._unexpected("an atom")
        key = Atom(_unescape(self.token[1:-1]) if self.kind == "quoted" else self.token)
        self._advance()
        self._expect(",")
        return key

    def _each(self, closing):
        """Yield before each item of a list, and stop before the sign that closes it."""
        number = 0
        while not (self.kind == "sign" and self.token == closing):
            if number:
                self._expect(",")
            yield number
            number += 1

    def accept(self, sign):
        if self.kind == "sign" and self.token == sign:
            self._advance()
            return True
        return False

    def end(self):
        if self.kind is not None:
            raise self._unexpected("the end")

    def _expect(self, sign):
        if not self.accept(sign):
            raise self._unexpected(repr(sign))

    def _items(self, closing):
        items = []
        if self.accept(closing):
            return items
        while True:
            items.append(self.term())
            if not self.accept(","):
                break
        self._expect(closing)
        return items

    def _list(self, start):
        if self.accept("]"):
            return []
        items = [self.term()]
        while self.accept(","):
            items.append(self.term())
        if self.accept("|"):
            self.term()
            self._expect("]")
            return Opaque(self._source(start))
        self._expect("]")
        return items

    def _map(self):
        self._expect("{")
        pairs = {}
        if self.accept("}"):
            return pairs
        while True:
            start = self.start
            key = self.term()
            try:
                hash(key)
            except TypeError:
                key = Opaque(self._source(start))
            self._expect("=>")
            pairs[key] = self.term()
            if not self.accept(","):
                break
        self._expect("}")
        return pairs

    def _binary(self, start):
        content = bytearray()
        whole = True
        if self.accept(">>"):
            return b""
        while True:
            whole = self._segment(content) and whole
            if not self.accept(","):
                break
        self._expect(">>")
        return bytes(content) if whole else Opaque(self._source(start))

    def _segment(self, content):
        """Append one segment to ``content``; return whether it is made of whole bytes."""
        start = self.start
        if self.kind == "string":
            text = self._string()
            if self.accept("/"):
                if self.token != "utf8":
                    raise self._unexpected("utf8")
                self._advance()
                content += text.encode("utf-8")
                return True
            values = list(map(ord, text))
        else:
            values = [self.term()]
        if self.accept(":"):
            self.term()
            return False
        if not all(isinstance(value, int) and 0 <= value <= 255 for value in values):
            raise TermError(f"{_place(self.text, start)}: {_shorten(self._source(start))} is no byte from 0 to 255")
        content += bytes(values)
        return True

    def _string(self):
        # ~p breaks a long string into adjacent ones.
        parts = []
        while self.kind == "string":
            parts.append(_unescape(self.token[1:-1]))
            self._advance()
        return "".join(parts)

    def _based(self, start, token):
        base, _hash, digits = token.partition("#")
        try:
            value = int(digits, abs(int(base)))
        except ValueError as error:
            raise TermError(f"{_place(self.text, start)}: {token!r} is no integer") from error
        return -value if base.startswith("-") else value

    def _source(self, start):
        return self.text[start : self.previous_end]

    def _advance(self):
        self.previous_end = self.position
        self.start = _SPACE.match(self.text, self.position).end()
        if self.start == len(self.text):
            self.position, self.kind, self.token = self.start, None, ""
            return
        match = _TOKEN.match(self.text, self.start)
        if not match:
            rest = _shorten(self.text[self.start :])
            raise TermError(f"{_place(self.text, self.start)}: {rest!r} begins no Erlang term")
        self.position, self.kind, self.token = match.end(), match.lastgroup, match.group()

    def _unexpected(self, wanted):
        found = repr(self.token) if self.kind else "the end"
        return TermError(f"{_place(self.text, self.start)}: expected {wanted}, found {found}")


def format_term(value, indent=None):
    """Return Erlang text for ``value``; the same value gives the same text.

    :param indent: the column it starts at, for several lines with one key per line; ``None`` for one line without
        needless spaces.
    :raises TermError: for a value that has no Erlang counterpart.
    """
    if indent is None:
        return _flat(value)
    return _layout(value, indent)


def _flat(value, comma=","):
    if isinstance(value, list):
        return f"[{comma.join(_flat(item, comma) for item in value)}]"
    if isinstance(value, tuple):
        return f"{{{comma.join(_flat(item, comma) for item in value)}}}"
    if isinstance(value, dict):
        pairs = (f"{_flat(key, comma)} => {_flat(item, comma)}" for key, item in value.items())
        return f"#{{{comma.join(pairs)}}}"
    return _scalar(value)


def _layout(value, indent):
    if not isinstance(value, (list, tuple, dict)) or not value:
        return _flat(value)
    if not _has_keys(value):
        flat = _flat(value, ", ")
        if indent + len(flat) <= _WIDTH:
            return flat
    inner = indent + 2
    if isinstance(value, dict):
        lines = [f"{_flat(key, ', ')} => {_layout(item, inner)}" for key, item in value.items()]
        return _block("#{", lines, "}", indent)
    if isinstance(value, list):
        return _block("[", [_layout(item, inner) for item in value], "]", indent)
    if isinstance(value[-1], (list, tuple, dict)) and not any(map(_has_keys, value[:-1])):
        items = [*(_flat(item, ", ") for item in value[:-1]), _layout(value[-1], indent)]
        return f"{{{', '.join(items)}}}"
    return _block("{", [_layout(item, inner) for item in value], "}", indent)


def _block(opening, lines, closing, indent):
    pad = " " * indent
    body = ",\n".join(f"{pad}  {line}" for line in lines)
    return f"{opening}\n{body}\n{pad}{closing}"


def _has_keys(value):
    """Whether a property list is in ``value``: each of its keys gets a line, so that a diff shows the key."""
    if isinstance(value, dict):
        return any(map(_has_keys, value.values()))
    if isinstance(value, list) and any(_is_property(item) for item in value):
        return True
    return isinstance(value, (list, tuple)) and any(map(_has_keys, value))


def _is_property(item):
    return isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], Atom)


def _scalar(value):
    if value is None:
        return "undefined"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Opaque):
        return str(value)
    if isinstance(value, Atom):
        return value if _PLAIN_ATOM.fullmatch(value) and value not in _RESERVED else f"'{_escape(value, chr(39))}'"
    if isinstance(value, str):
        return f'"{_escape(value, chr(34))}"'
    if isinstance(value, bytes):
        return _binary(value)
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return _float(value)
    raise TermError(f"a value of type {type(value).__name__} has no Erlang counterpart")


def _float(value):
    if not math.isfinite(value):
        raise TermError(f"Erlang has no float {value}")
    mantissa, exponent, power = float.__repr__(value).partition("e")
    return (mantissa if "." in mantissa else f"{mantissa}.0") + exponent + power


def _binary(value):
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        text = None
    if text is None or not all(char.isprintable() or char in _ESCAPES_TO_WRITE for char in text):
        return f"<<{','.join(map(str, value))}>>"
    return f'<<"{_escape(text, chr(34))}"{"" if text.isascii() else "/utf8"}>>'


def _escape(text, quote):
    return "".join(_escape_char(char, quote) for char in text)


def _escape_char(char, quote):
    if char in (quote, "\\"):
        return f"\\{char}"
    if char in _ESCAPES_TO_WRITE:
        return _ESCAPES_TO_WRITE[char]
    if 0xD800 <= ord(char) <= 0xDFFF:
        raise TermError(f"U+{ord(char):04X} is half a character")
    return char if char.isprintable() else f"\\x{{{ord(char):x}}}"


def _unescape(text):
    return _ESCAPED.sub(lambda match: _character(match.group()[1:]), text) if "\\" in text else text


def _character(escape):
    if escape.startswith("x{"):
        return chr(int(escape[2:-1], 16))
    if escape.startswith("x") and len(escape) == 3:
        return chr(int(escape[1:], 16))
    if escape[0] in "01234567":
        return chr(int(escape, 8))
    if escape[0] == "^" and len(escape) == 2:
        return chr(ord(escape[1]) & 31)
    return chr(_NAMED_ESCAPES[escape]) if escape in _NAMED_ESCAPES else escape


def _place(text, position):
    line = text.count("\n", 0, position) + 1
    return f"line {line} column {position - text.rfind(chr(10), 0, position)}"


def _shorten(text):
    return text if len(text) <= 60 else f"{text[:60]}..."
