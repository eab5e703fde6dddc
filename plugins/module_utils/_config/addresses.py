# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lists of addresses for systemd, which looks up no names and passes over what it does not understand."""

from __future__ import annotations

import re
from ipaddress import ip_network

from .._core.errors import OpsError

_LOOKS_NUMERIC = re.compile(r"[0-9./]+|.*:.*")


def closed_addresses(sources):
    """Return the networks that ``sources`` consist of, or nothing when they are not known to be all.

    :param sources: list of ``any``, addresses, networks and host names.
    :return: list of text like ``10.0.0.0/8``, each once; empty when ``any`` or a host name is among ``sources``.
    :raises OpsError: naming what is neither.
    """
    if not all(_LOOKS_NUMERIC.fullmatch(source) for source in sources):
        return []
    try:
        # systemd knows no zones.
        return list(dict.fromkeys(str(ip_network(source.partition("%")[0])) for source in sources))
    except ValueError as error:
        raise OpsError(
            f"{error}: give an address, or a network like 10.0.0.0/8 (erlmcp_node_allowed_addresses and the variables "
            "that it is made from)",
            kind="input",
        ) from error
