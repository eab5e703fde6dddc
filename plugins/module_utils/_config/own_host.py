# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a node can be found on its own host: epmd listens where the inventory says, programs ask the resolver."""

from __future__ import annotations

import socket
from ipaddress import ip_address

from .._core.errors import OpsError
from .._erlang.listeners import is_loopback


def check_own_addresses(addresses):
    """Refuse addresses that nothing can listen on. epmd would not start, and without it no node does."""
    for address in addresses:
        try:
            family, kind, protocol, _name, place = socket.getaddrinfo(
                address, 0, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
            )[0]
            with socket.socket(family, kind, protocol) as listener:
                listener.bind(place)
        except OSError as error:
            raise OpsError(
                f"epmd could not listen on {address!r} of this host ({error.strerror}): set erlmcp_address to the "
                f"address of this host that its peers use, or erlmcp_node_epmd_address to one that it has, or to 'any'",
                kind="config",
            ) from error


def check_own_name(name, addresses, files):
    """Refuse a node name by which nothing on this host finds the node.

    A loopback address, like the 127.0.1.1 that Debian's installer gives a host's own name, is one where epmd listens
    too (``erlmcp epmd``), and where the node does unless it is told another place.

    :param name: name of the node, like ``erlmcp@n1.example.com``.
    :param addresses: list of text, where epmd listens; empty when it listens everywhere, or there is none.
    :param files: the config set, name to bytes.
    """
    host = name.partition("@")[2]
    try:
        found = sorted({place[0] for *_kind, place in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)})
    except OSError as error:
        raise _refused(name, f"{host!r} does not resolve on this host ({error.strerror})") from error
    listening = {ip_address(address) for address in addresses}
    if not addresses or any(ip_address(address.partition("%")[0]) in listening for address in found):
        return
    resolved = f"{host!r} resolves to {', '.join(found)} on this host"
    if not any(is_loopback(address) for address in found):
        raise _refused(name, f"{resolved}, and epmd listens on {', '.join(addresses)}")
    if any(b"inet_dist_use_interface" in content for content in files.values()):
        raise _refused(name, f"{resolved}, and the node listens only where inet_dist_use_interface says")


def _refused(name, problem):
    return OpsError(
        f"{name} would not be found on its own host: {problem}. Mend /etc/hosts or the name service, or set "
        "erlmcp_node_host to the address that its peers use",
        kind="config",
    )
