# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``env.sh``: the environment of the node, for the unit and for whoever sources it in a shell."""

from __future__ import annotations

import re
import shlex

from .._core.errors import OpsError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_EXPORT = re.compile(r"""^export ([A-Za-z_][A-Za-z0-9_]*)=((?:'[^']*'|"'")*)$""", re.MULTILINE)
_COOKIES = ("ERLMCP_COOKIE", "RELX_COOKIE", "ERLANG_COOKIE")


def to_env_sh(variables, header=None):
    """Return ``export NAME='value'`` lines.

    :param variables: name to value; ``None`` leaves the name out.
    :param header: text for comment lines at the top.
    :raises OpsError: naming the variable that is refused, and why.
    """
    lines = [f"# {line}".rstrip() for line in (header or "").splitlines()]
    lines += [f"export {name}={_quoted(name, value)}" for name, value in variables.items() if value is not None]
    return "".join(f"{line}\n" for line in lines)


def environment(text):
    """Return name to value of the variables that :func:`to_env_sh` has written; of others only a shell knows."""
    return {name: "".join(shlex.split(value)) for name, value in _EXPORT.findall(text)}


def _quoted(name, value):
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise OpsError(
            f"{name!r} is no name of an environment variable: use letters, digits and underscores", kind="config"
        )
    if name in _COOKIES:
        raise OpsError(
            f"{name}: the cookie does not belong into the environment; erlmcp_cookie goes into the account's "
            "cookie file, where the node and its tools read it",
            kind="config",
        )
    if isinstance(value, bool):
        value = "true" if value else "false"
    if not isinstance(value, (str, int, float)):
        raise OpsError(f"{name}: a value of type {type(value).__name__} is no text", kind="config")
    if re.search(r"[\x00-\x1f\x7f]", str(value)):
        raise OpsError(f"{name}: a line break or control character cannot stand in env.sh", kind="config")
    escaped = str(value).replace("'", "'\"'\"'")
    return f"'{escaped}'"
