# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``vm.args``: written, read as ``erlexec`` reads it, and judged.

Outside quotes a backslash takes the next character as it is and ``#`` begins a comment anywhere; between quotes
nothing but the same quote is special, so a quote of the one kind stands between quotes of the other.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from .._core.errors import OpsError
from .sys_config import format_checked, to_term

HEART = "systemd restarts the node, and heart would start a second one beside it, out of systemd's sight"
REFUSED = {
    "-setcookie": "every user of the host could read the cookie in the process list; erlmcp_cookie goes into "
    "the account's cookie file",
    "-heart": f"{HEART}. Leave it out of erlmcp_node_vm_args and erlmcp_node_environment; how systemd restarts "
    "the node is set in erlmcp_node_unit_settings",
    "-detached": "systemd needs the node in the foreground",
    "-args_file": "a file that is not part of the config set would take effect unchecked",
    "-extra": "every flag after it would be ignored",
    "--": "every flag after it would be ignored",
}
NAME_FLAGS = ("-name", "-sname")

_FLAG = re.compile(r"[-+][A-Za-z][A-Za-z0-9_]*")
_KEY = re.compile(r"[a-z][A-Za-z0-9_@]*")
_BARE = re.compile(r"[A-Za-z0-9_@%+=:,./{}\[\]-]+")
# Erlang reads flags in these too.
_FLAGS_IN_ENVIRONMENT = re.compile(r"ERL_(?:[AZ]?|OTP\d+_)FLAGS")
_NAME = re.compile(r"[A-Za-z0-9_-]+(@[A-Za-z0-9_.:-]+)?")


@dataclass(frozen=True)
class Token:
    """One argument and the line it stands in."""

    text: str
    line: int

    @property
    def is_flag(self):
        return len(self.text) > 1 and self.text[0] in "+-"


def to_vm_args(flags, header=None):
    """Return the text of a ``vm.args``, one flag a line.

    :param flags: flag to value. ``None`` writes the bare flag, a list repeats the flag, a dictionary under an
        application flag writes ``-application key term`` lines, and under ``-env`` lines of an environment.
    :param header: text for comment lines at the top.
    :raises OpsError: naming the flag that is refused, and why.
    """
    if all(flag in flags for flag in NAME_FLAGS):
        raise OpsError("-name and -sname exclude each other", kind="config")
    lines = [f"# {line}".rstrip() for line in (header or "").splitlines()]
    for flag, value in flags.items():
        if not isinstance(flag, str) or not (_FLAG.fullmatch(flag) or flag in REFUSED):
            raise OpsError(f"{flag!r} is no flag of vm.args: it begins with + or -, and a letter", kind="config")
        if flag in REFUSED:
            raise OpsError(f"{flag}: {REFUSED[flag]}", kind="config")
        lines.extend(_lines(flag, value))
    return "".join(f"{line}\n" for line in lines)


def _lines(flag, value):
    if isinstance(value, (list, tuple)):
        return [line for item in value for line in _lines(flag, item)]
    if isinstance(value, dict):
        return [f"{flag} {_pair(flag, key, item)}" for key, item in value.items()]
    if value is None:
        return [flag]
    text = _scalar(flag, value)
    if flag in NAME_FLAGS and not _NAME.fullmatch(text):
        raise OpsError(f"{flag}: {text!r} is no node name", kind="config")
    return [f"{flag} {quote(flag, text)}"]


def _pair(flag, key, value):
    if flag.startswith("+"):
        raise OpsError(f"{flag}: a flag of the emulator takes no dictionary", kind="config")
    if flag == "-env":
        return f"{quote(flag, str(key))} {quote(flag, _scalar(flag, value))}"
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise OpsError(f"{flag}: {key!r} is no parameter of an application", kind="config")
    return f"{key} {quote(flag, format_checked(to_term(value, f'{flag} {key}')))}"


def _scalar(flag, value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    raise OpsError(f"{flag}: a value of type {type(value).__name__} cannot stand in vm.args", kind="config")


def quote(flag, text):
    """Return the text of a value as it stands in ``vm.args``."""
    if any(not char.isprintable() for char in text):
        raise OpsError(f"{flag}: a line break or control character cannot stand in vm.args", kind="config")
    # Bare where possible: the start script passes -kernel inet_dist_use_interface on as it is written.
    return text if _BARE.fullmatch(text) else shlex.quote(text)


def tokens(text):
    """Return the arguments in ``text`` as :class:`Token`.

    :raises OpsError: naming the line of a quote that is never closed.
    """
    found = []
    for number, line in enumerate(text.split("\n"), start=1):
        found.extend(_line_tokens(line, number))
    return found


def _line_tokens(line, number):
    found, current = [], None
    rest = iter(line)
    for char in rest:
        if char.isspace() or char == "#":
            if current is not None:
                found.append(Token(current, number))
                current = None
            if char == "#":
                break
        elif char in "'\"":
            current = (current or "") + _quoted(rest, char, number)
        elif char == "\\":
            current = (current or "") + next(rest, "")
        else:
            current = (current or "") + char
    return found if current is None else [*found, Token(current, number)]


def _quoted(rest, quote, number):
    content = ""
    for char in rest:
        if char == quote:
            return content
        content += char
    # erlexec would read on to the next line, and the start script would not.
    raise OpsError(f"vm.args line {number}: the quote {quote} is not closed on its line", kind="config")


def arguments(found):
    """Group tokens into flags with their values: a list of lists of :class:`Token`."""
    groups = []
    for token in found:
        if token.is_flag or not groups:
            groups.append([token])
        else:
            groups[-1].append(token)
    return groups


def environment_problems(variables):
    """Return what is wrong with flags that an environment gives: they take effect as those in ``vm.args`` do.

    :param variables: name to value.
    """
    return [
        f"env.sh: {flag} in {name} of erlmcp_node_environment: {REFUSED[flag]}"
        for name, value in variables.items()
        if _FLAGS_IN_ENVIRONMENT.fullmatch(name)
        for flag in value.split()
        if flag in REFUSED
    ]


def problems(text, node):
    """Return what is wrong with a ``vm.args`` that needs no Erlang to be seen.

    :param node: the ``node`` option of a module: ``name`` and ``name_type`` are compared.
    :raises OpsError: for an unclosed quote.
    """
    groups = arguments(tokens(text))
    flags = [group[0] for group in groups]
    found = [f"vm.args line {flag.line}: {flag.text}: {REFUSED[flag.text]}" for flag in flags if flag.text in REFUSED]
    names = [group for group in groups if group[0].text in NAME_FLAGS]
    wanted = ["-name" if node["name_type"] == "long" else "-sname", node["name"]]
    if len(names) != 1:
        found.append(f"vm.args needs {' '.join(wanted)} exactly once, and has {len(names)} of -name and -sname")
    elif [token.text for token in names[0]] != wanted:
        line = names[0][0].line
        found.append(f"vm.args line {line}: the node is to be called {' '.join(wanted)}; see erlmcp_node_name")
    elif not re.search(rf"^{wanted[0]} ", text, re.MULTILINE):
        found.append(f"vm.args line {names[0][0].line}: {wanted[0]} must begin its line, or the start script misses it")
    return found
