# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Erlang node names, from inventory variables alone: no facts, so every host knows every other one's."""

from __future__ import annotations

import re

from .._core.errors import OpsError

_BASE = re.compile(r"[A-Za-z0-9_-]+")
_HOST = re.compile(r"[A-Za-z0-9.:-]+")
_ADDRESS = re.compile(r"[0-9.]+|.*:.*")


def node_name_problem(name, name_type="long"):
    """Return what is wrong with a node name, or ``None``."""
    base, at, host = str(name).partition("@")
    if not at or "@" in host:
        return "it has the form name@host"
    if not _BASE.fullmatch(base):
        return f"the name before @ is made of letters, digits, _ and -, which {base!r} is not"
    if not _HOST.fullmatch(host):
        return f"{host!r} is no host name"
    dotted = "." in host or ":" in host
    if name_type == "long" and not dotted:
        return (
            f"a long name needs a host name with a dot or an address, which {host!r} is not: set erlmcp_node_host, "
            "or erlmcp_node_name_type: short for every node"
        )
    if name_type == "short" and dotted:
        return f"a short name has no dot in its host part, which {host!r} has: set erlmcp_node_host"
    return None


def host_name_problem(host, name, name_type="long"):
    """Return what is wrong with the node name of a host, naming the host and the variable to set, or ``None``."""
    if name_type not in ("long", "short"):
        return f"erlmcp_node_name_type is long or short, not {name_type!r}"
    problem = node_name_problem(name, name_type)
    return problem and f"{host}: {name!r} is no Erlang node name (erlmcp_node_name): {problem}"


def node_name(variables, name_type="long", refuse=True):
    """Return the node name of a host.

    :param variables: the host's variables, ``hostvars[host]``.
    :param name_type: ``long`` or ``short``.
    :param refuse: whether what is no node name is refused here; otherwise whoever is given it has to judge it.
    :raises OpsError: naming the host and the variable to set.
    """
    name = variables.get("erlmcp_node_name") or (
        f"{variables.get('erlmcp_node_base') or 'erlmcp'}@{_host_part(variables, name_type)}"
    )
    problem = refuse and host_name_problem(variables.get("inventory_hostname"), name, name_type)
    if problem:
        raise OpsError(problem, kind="input")
    return str(name)


def _host_part(variables, name_type):
    if variables.get("erlmcp_node_host"):
        return variables["erlmcp_node_host"]
    host = variables["inventory_hostname"]
    if name_type == "short":
        return host if _ADDRESS.fullmatch(host) else host.partition(".")[0]
    address = variables.get("ansible_host") or ""
    return address if "." not in host and "." in address else host
