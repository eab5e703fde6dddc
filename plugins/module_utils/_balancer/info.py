# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""HAProxy as it runs, beside what is on disk and what it should know."""

from __future__ import annotations

import hashlib
import re
import socket

from .._core.files import read_if_there
from .._node.unit import Unit
from .._tls.lifetime import lifetime

_PATIENCE_SECONDS = 5
# Where the configuration names itself, see role erlmcp_load_balancer.
_STAMP = re.compile(rb"(string )([0-9a-f]{64})( if \{ path /version \})")
_MAINTENANCE, _DRAINED = 0x01, 0x08
_STOPPED = 0


def balancer_info(module, runner):
    """The module ``balancer_info``."""
    options = module.params
    state = Unit("haproxy", runner).state()
    loaded = _ask_version(options["status_port"]) if state.running else None
    found = parse_servers(_ask(options["socket"], "show servers state")) if state.running else []
    content = read_if_there(options["config_file"])
    laid_down, edited = stamp_of(content, read_if_there(options["dropin_file"]) or b"")
    return {
        "changed": False,
        "running": state.running,
        "unit": {"active": state.active, "result": state.result, "enabled": state.enabled},
        "version": loaded,
        "laid_down": laid_down,
        "edited": edited,
        "servers": found,
        "sessions": parse_sessions(_ask(options["socket"], "show info")) if state.running else None,
        "certificate": lifetime(options["tls_dir"], options["tls_renew_days"], runner),
        "differs": compare(found, options["servers"], _addresses) if state.running else [],
    }


def stamp_of(config, dropin):
    """Return the version that a configuration gives itself, and whether it was edited since.

    :param config: bytes, ``None`` where there is none.
    """
    found = _STAMP.search(config or b"")
    if not found:
        return None, config is not None
    rendered = _STAMP.sub(rb"\1-\3", config)
    return found[2].decode(), hashlib.sha256(rendered + dropin).hexdigest() != found[2].decode()


def parse_servers(text):
    """Return the servers that ``show servers state`` lists."""
    lines = [line.split() for line in text.splitlines()]
    names = next((line[1:] for line in lines if line[:1] == ["#"]), [])
    rows = [dict(zip(names, line)) for line in lines if names and line[:1] != ["#"] and len(line) >= len(names)]
    return [
        {
            "backend": row["be_name"],
            "name": row["srv_name"],
            "address": row["srv_addr"],
            "port": int(row["srv_port"]),
            "up": int(row["srv_op_state"]) != _STOPPED,
            "drained": bool(int(row["srv_admin_state"]) & _DRAINED),
            "maintenance": bool(int(row["srv_admin_state"]) & _MAINTENANCE),
        }
        for row in rows
    ]


def parse_sessions(text):
    """Return the connections that ``show info`` counts, and how many HAProxy takes; ``None`` when it told nothing."""
    values = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
    if "Maxconn" not in values:
        return None
    return {"current": int(values["CurrConns"]), "limit": int(values["Maxconn"])}


def compare(found, wanted, addresses):
    """Return texts that say how the servers of HAProxy differ from those that it should have.

    :param found: what :func:`parse_servers` returned.
    :param wanted: dicts with ``backend``, ``name``, ``host`` and ``port``.
    :param addresses: returns the addresses of a host.
    """
    known = {(each["backend"], each["name"]): each for each in found}
    expected = {(each["backend"], each["name"]): each for each in wanted}
    texts = [f"{backend} does not know {name}" for backend, name in sorted(expected.keys() - known.keys())]
    texts += [f"{backend} knows {name}, which is no node" for backend, name in sorted(known.keys() - expected.keys())]
    for key in sorted(expected.keys() & known.keys()):
        server, node = known[key], expected[key]
        if not addresses(node["host"]):
            texts.append(
                f"{key[0]} finds no {key[1]}, since the balancer cannot resolve {node['host']}: set its address in the "
                "inventory (erlmcp_address or ansible_host), or mend the name service"
            )
        elif server["port"] != node["port"] or server["address"] not in addresses(node["host"]):
            place = f"{server['address']}:{server['port']}"
            texts.append(f"{key[0]} looks for {key[1]} at {place} instead of {node['host']}:{node['port']}")
    return texts


def _addresses(host):
    try:
        return {found[4][0] for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except OSError:
        return set()


def _ask(path, command):
    with socket.socket(socket.AF_UNIX) as connection:
        return _talk(connection, path, f"{command}\n").decode("utf-8", "replace")


def _ask_version(port):
    request = "GET /version HTTP/1.0\r\n\r\n"
    with socket.socket(socket.AF_INET) as connection:
        answer = _talk(connection, ("127.0.0.1", port), request)
    return answer.partition(b"\r\n\r\n")[2].decode("utf-8", "replace").strip() or None


def _talk(connection, place, text):
    """Return all that is answered; nothing when nobody does in time."""
    connection.settimeout(_PATIENCE_SECONDS)
    answer = []
    try:
        connection.connect(place)
        connection.sendall(text.encode())
        while received := connection.recv(65536):
            answer.append(received)
    except OSError:
        return b""
    return b"".join(answer)
