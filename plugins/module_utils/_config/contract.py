# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The shared variables, judged together: what no single argument spec can see."""

from __future__ import annotations

import itertools
import os
import re

from .names import host_name_problem

_SYSTEM_DIRECTORIES = frozenset(
    "/bin /boot /dev /etc /home /lib /lib64 /media /mnt /opt /proc /root /run /sbin /srv /sys /tmp /usr /usr/bin "
    "/usr/lib /usr/local /usr/sbin /usr/share /var /var/cache /var/lib /var/log /var/run /var/spool /var/tmp".split()
)
_ACCOUNT = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_COOKIE = re.compile(r"[A-Za-z0-9_-]{20,255}")
# What the vault of inventory/example has for a secret.
_PLACEHOLDER = "CHANGE_ME"
_SHORTHANDS = "minutely|hourly|daily|weekly|monthly|quarterly|semi-?annually|bi-?annually|yearly|annually|anually"
_DAYS = "(?:mon(?:day)?|tue(?:s(?:day)?)?|wed(?:nesday)?|thu(?:r(?:s(?:day)?)?)?|fri(?:day)?|sat(?:urday)?|sun(?:day)?)"
_OWN_DIRECTORIES = tuple(f"erlmcp_{name}_dir" for name in ("install", "config", "data", "log", "home"))
_MAY_SHARE = frozenset(("erlmcp_http_port", "erlmcp_metrics_port"))


def contract_problems(contract, nodes):
    """Return what is wrong with the shared variables, each problem with the next action.

    :param contract: variable name to value. A port whose ``..._enabled`` is false does not listen.
    :param nodes: host to node name, for the whole cluster.
    """
    return [
        *_ports(contract),
        *_directories(contract),
        *_schedules(contract),
        *_accounts(contract),
        *_node_names(nodes, contract.get("erlmcp_node_name_type", "long")),
        *_cookie(contract.get("erlmcp_cookie")),
        *_passphrase(contract.get("erlmcp_tls_ca_passphrase")),
    ]


def _ports(contract):
    ports = {}
    for name, value in contract.items():
        if not name.endswith("_port") or value is None:
            continue
        try:
            port = None if isinstance(value, (bool, float)) else int(value)
        except (TypeError, ValueError):
            port = None
        if port is None or not 0 < port < 65536:
            yield f"{name} is {value!r}: set it to a port from 1 to 65535"
        elif contract.get(f"{name[: -len('_port')]}_enabled", True):
            ports[name] = port
    for (one, port), (other, other_port) in itertools.combinations(ports.items(), 2):
        if port == other_port and not {one, other} <= _MAY_SHARE:
            yield f"{one} and {other} are both {port}: give one of them another port"


def _directories(contract):
    for name, value in contract.items():
        if name.endswith("_dir"):
            problem = _directory_problem(value)
            if problem:
                yield f"{name} is {value!r}: {problem}"
    own = {name: contract[name] for name in _OWN_DIRECTORIES if contract.get(name)}
    for (one, path), (other, other_path) in itertools.combinations(own.items(), 2):
        if path == other_path:
            yield f"{one} and {other} are both {path!r}: give each its own directory"
    install, data = own.get("erlmcp_install_dir"), own.get("erlmcp_data_dir")
    if install and data and str(data).startswith(f"{install}/"):
        yield f"erlmcp_data_dir is {data!r}, inside erlmcp_install_dir: put the data where no release is replaced"


def _directory_problem(value):
    if not isinstance(value, str) or not value:
        return "set it to an absolute path"
    if re.search(r"[\x00-\x20\x7f]", value):
        return "set it to a path without white space and control characters"
    if not value.startswith("/"):
        return "set it to an absolute path"
    # normpath keeps two leading slashes, as POSIX lets them mean something else.
    normal = os.path.normpath(value).replace("//", "/")
    if normal in _SYSTEM_DIRECTORIES or normal == "/":
        return "set it to a directory of its own, not to one of the system's"
    return None if normal == value else f"write it as {normal!r}"


def _schedules(contract):
    for name, value in contract.items():
        if name.endswith("_schedule") and not _CALENDAR.fullmatch(str(value)):
            yield (f"{name} is {value!r}: set it to a time of systemd, like *-*-* 02:30 (see systemd-analyze calendar)")


def _listed(number):
    """Return a pattern for numbers of a calendar: one or any, from one to another, in steps, with commas between."""
    each = rf"(?:\*|{number}(?:\.\.{number})?)(?:/[0-9.]+)?"
    return rf"{each}(?:,{each})*"


def _calendar():
    """Return a pattern for what systemd takes for the time of a timer."""
    days = rf"{_DAYS}(?:(?:\.\.|-){_DAYS})?"
    year, month, day = map(_listed, ("[0-9]{1,4}", "(?:0?[1-9]|1[0-2])", "(?:0?[1-9]|[12][0-9]|3[01])"))
    hour, minute, second = map(_listed, ("(?:[01]?[0-9]|2[0-3])", "[0-5]?[0-9]", r"[0-5]?[0-9](?:\.[0-9]+)?"))
    date, time = f"(?:{year}-)?{month}[-~]{day}", f"{hour}:{minute}(?::{second})?"
    parts = rf"(?:{days}(?:,{days})*,?)?(?:(?:^| +){date})?(?:(?:^| +){time})?"
    zone = rf"(?!(?:{_SHORTHANDS})$)[a-z_]+(?:/[a-z0-9_+-]+)*"
    return re.compile(rf"(?=\S)(?:{_SHORTHANDS}|@[0-9]+|{parts})(?: +{zone})?", re.IGNORECASE)


_CALENDAR = _calendar()


def _accounts(contract):
    for name in ("erlmcp_user", "erlmcp_group"):
        if name in contract and not _ACCOUNT.fullmatch(str(contract[name])):
            yield f"{name} is {contract[name]!r}: set it to lower-case letters, digits, _ and -, at most 32"
    if contract.get("erlmcp_user") == "root":
        yield "erlmcp_user is 'root': set it to an account of the node's own"


def _node_names(nodes, name_type):
    hosts = {}
    for host, name in nodes.items():
        problem = host_name_problem(host, name, name_type)
        if problem:
            yield problem
        hosts.setdefault(name, []).append(host)
    for name, same in hosts.items():
        if len(same) > 1:
            yield f"{' and '.join(same)} have the same node name {name!r}: set erlmcp_node_name or erlmcp_node_host"


def cookie_problem(cookie):
    """Return what is wrong with a cookie, without showing it, to be said after the variable's name; or ``None``."""
    advice = "set it to 20 to 255 characters of A-Z, a-z, 0-9, _ and -, made at random"
    if cookie == _PLACEHOLDER:
        return _published(cookie)
    if cookie == "erlmcp":
        return f"is the well-known default, with which anyone can run code on the node: {advice}"
    if not isinstance(cookie, str) or not _COOKIE.fullmatch(cookie):
        return f"(not shown) is too short, too long or has other characters: {advice}"
    return None


def _published(secret):
    return (
        f"is {secret}, the placeholder in the example's vault.yml: give that file a passphrase that is not published "
        "(ansible-vault rekey), and then secrets of your own (ansible-vault edit)"
    )


def _passphrase(passphrase):
    if passphrase == _PLACEHOLDER:
        yield f"erlmcp_tls_ca_passphrase {_published(passphrase)}"


def _cookie(cookie):
    problem = None if cookie is None else cookie_problem(cookie)
    if problem:
        yield f"erlmcp_cookie {problem}"
