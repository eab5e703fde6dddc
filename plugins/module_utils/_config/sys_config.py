# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible data as Erlang terms, and the text of ``sys.config``."""

from __future__ import annotations

import re

from .._core.errors import OpsError
from .._erlang.terms import Atom, Opaque, TermError, format_term

_TOKEN = re.compile(
    r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|\$(?:\\.|.))|(%[^\n]*)|(<<|>>|[\[\](){}])|(.)""",
    re.DOTALL,
)
_CLOSING = {"[": "]", "(": ")", "{": "}", "<<": ">>"}
_APPLICATION = re.compile(r"\{\s*([a-z][A-Za-z0-9_@]*|'[^']+')\s*,")


def to_term(value, path=""):
    """Return the Erlang term for Ansible data.

    Dictionaries become property lists with atoms as keys, in their order; strings stay strings; ``null`` becomes
    ``undefined``. What YAML lacks is written as a dictionary with one key: ``$atom``, ``$binary``, ``$string``,
    ``$tuple``, ``$map`` or ``$term``.

    :param path: where in the data ``value`` stands, for messages.
    :raises OpsError: naming the path of what has no Erlang counterpart.
    """
    if isinstance(value, dict):
        tags = [key for key in value if isinstance(key, str) and key.startswith("$")]
        if tags:
            return _tagged(value, tags[0], path)
        return [(_key(key, path), to_term(item, _join(path, key))) for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        return [to_term(item, f"{path}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, str):
        return str(value)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    raise _refusal(path, f"a value of type {type(value).__name__} has no Erlang counterpart; write it in quotes")


def to_erlang(value, final_dot=False):
    """Return Erlang source text for Ansible data, one key a line.

    :raises OpsError: naming the path of what has no Erlang counterpart.
    """
    return format_checked(to_term(value), indent=0) + (".\n" if final_dot else "")


def format_checked(term, indent=None):
    """:func:`format_term` with an :class:`OpsError` for what cannot be written."""
    try:
        return format_term(term, indent)
    except TermError as error:
        raise OpsError(str(error), kind="config") from error


def to_sys_config(settings, extra_terms=(), header=None, extra_name="erlmcp_config_terms"):
    """Return the text of a ``sys.config``.

    :param settings: application name to settings.
    :param extra_terms: Erlang texts of further sections, each ``{application, [...]}``.
    :param header: text for comment lines at the top.
    :param extra_name: the variable that holds ``extra_terms``, for messages.
    :raises OpsError: naming the path, or the variable and the index, of what is refused.
    """
    sections = [
        f"  {{{format_checked(_key(name, ''))}, {format_checked(to_term(section, name), indent=2)}}}"
        for name, section in settings.items()
    ]
    seen = set(settings)
    for index, text in enumerate(extra_terms):
        name = f"{extra_name}[{index}]"
        problem = raw_term_problem(text)
        if problem:
            raise OpsError(f"{name}: {problem}", kind="config")
        application = _APPLICATION.match(text.strip())
        if application:
            section = application[1].strip("'")
            if section in seen:
                raise OpsError(f"{name} repeats the section {section}: merge the two", kind="config")
            seen.add(section)
        sections.append(f"  {text.strip()}")
    comment = "".join(f"%% {line}".rstrip() + "\n" for line in (header or "").splitlines())
    body = ",\n".join(sections)
    return f"{comment}[\n{body}\n].\n" if sections else f"{comment}[].\n"


def raw_term_problem(text):
    """Return what is obviously wrong with the text of one Erlang term, or ``None``.

    Finds what would spoil the rest of the file; the whole truth is known to the Erlang on the host.
    """
    if not isinstance(text, str):
        return f"takes Erlang text, not a value of type {type(text).__name__}"
    if not text.strip():
        return "is empty"
    expected = []
    last_comment = False
    for match in _TOKEN.finditer(text.strip()):
        _quoted, comment, bracket, other = match.groups()
        if other and other.isspace():
            continue
        last_comment = bool(comment)
        if other in ('"', "'"):
            return f"the quote {other} is never closed"
        if other == "." and not text.strip()[match.end() : match.end() + 1].isalnum():
            return "has a dot that ends the file: leave the final dot out"
        if bracket in _CLOSING:
            expected.append(_CLOSING[bracket])
        elif bracket and (not expected or expected.pop() != bracket):
            return f"{bracket} closes what is not open"
    if expected:
        return f"{expected[-1]} is missing"
    return "ends in a comment, which would hide the comma after it" if last_comment else None


def _tagged(value, tag, path):
    if tag not in _TAGS:
        raise _refusal(path, f"unknown tag {tag}; there are {', '.join(sorted(_TAGS))}")
    if len(value) > 1:
        raise _refusal(path, f"{tag} must be the only key")
    return _TAGS[tag](value[tag], _join(path, tag))


def _text(value, path):
    if not isinstance(value, str):
        raise _refusal(path, "takes a string; write it in quotes")
    return str(value)


def _tuple(value, path):
    if not isinstance(value, (list, tuple)):
        raise _refusal(path, "takes a list")
    return tuple(to_term(value, path))


def _map(value, path):
    if not isinstance(value, dict):
        raise _refusal(path, "takes a dictionary")
    return {_key(key, path): to_term(item, _join(path, key)) for key, item in value.items()}


def _term(value, path):
    problem = raw_term_problem(value)
    if problem:
        raise _refusal(path, problem)
    return Opaque(value.strip())


_TAGS = {
    "$atom": lambda value, path: Atom(_text(value, path)),
    "$binary": lambda value, path: _text(value, path).encode("utf-8"),
    "$string": _text,
    "$tuple": _tuple,
    "$map": _map,
    "$term": _term,
}


def _key(key, path):
    if not isinstance(key, str):
        raise _refusal(path, f"the key {key!r} is not a string; write it in quotes, or the pair as a $tuple")
    return Atom(key)


def _join(path, key):
    return f"{path}.{key}" if path else str(key)


def _refusal(path, problem):
    return OpsError(f"{path or 'the value'}: {problem}", kind="config")
