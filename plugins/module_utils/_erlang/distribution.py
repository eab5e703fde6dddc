# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the nodes of a host talk to others, as its config set in use says.

Read from there and not from the inventory: a node that is due for a restart talks as it did when it was started.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from .._core.files import read_if_there

_TLS_OPTIONS = re.compile(rb"^\s*-ssl_dist_optfile\s+\"?([^\s\"]+)\"?\s*$", re.MULTILINE)
_PROTOCOL = re.compile(rb"^\s*-proto_dist\s+(\S+)\s*$", re.MULTILINE)
_PORT_WITHOUT_MAPPER = re.compile(rb"^\s*-erl_epmd_port\s+(\d+)\s*$", re.MULTILINE)
_NAME = re.compile(rb"^\s*-s?name\s", re.MULTILINE)
_WITHOUT_MAPPER = re.compile(rb"^\s*-(?:erl_epmd_port|epmd_module|no_epmd)\b", re.MULTILINE)
_MAPPER_PORT = re.compile(rb"^\s*(?:export\s+)?ERL_EPMD_PORT=['\"]?(\d+)['\"]?\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Distribution:
    """How nodes talk.

    :param protocol: value of ``-proto_dist``, ``None`` for plain TCP.
    :param tls_options: path of the file with the options of TLS, ``None`` without TLS.
    :param mapper_port: port of epmd, ``None`` for Erlang's own default, 4369.
    :param port_without_mapper: port on which nodes look for each other without epmd, ``None`` with epmd.
    :param registers: whether a node registers with epmd.
    """

    protocol: str | None = None
    tls_options: str | None = None
    mapper_port: int | None = None
    port_without_mapper: int | None = None
    registers: bool = False

    @property
    def is_tls(self):
        return self.protocol in ("inet_tls", "inet6_tls")

    def flags(self):
        """Return the flags with which a short-lived Erlang talks to the nodes."""
        flags = ["-proto_dist", self.protocol] if self.protocol else []
        flags += ["-ssl_dist_optfile", self.tls_options] if self.tls_options else []
        return flags + (["-erl_epmd_port", str(self.port_without_mapper)] if self.port_without_mapper else [])

    def environment(self):
        """Return the environment in which a program of Erlang finds the nodes."""
        return {"ERL_EPMD_PORT": str(self.mapper_port)} if self.mapper_port else {}


def read_distribution(config_dir):
    """Return the :class:`Distribution` that ``vm.args`` and ``env.sh`` of a configuration directory give.

    :param config_dir: a path, or ``None``.
    """
    if config_dir is None:
        return Distribution()
    return distribution_of(*(read_if_there(os.path.join(config_dir, name)) or b"" for name in ("vm.args", "env.sh")))


def distribution_of(flags, environment):
    """Return the :class:`Distribution` that these give.

    :param flags: text of ``vm.args`` as bytes.
    :param environment: text of ``env.sh`` as bytes.
    """
    ports = [_last(_MAPPER_PORT, environment), _last(_PORT_WITHOUT_MAPPER, flags)]
    return Distribution(
        _last(_PROTOCOL, flags),
        _last(_TLS_OPTIONS, flags),
        *(int(port) if port else None for port in ports),
        registers=bool(_NAME.search(flags)) and not _WITHOUT_MAPPER.search(flags),
    )


def _last(pattern, text):
    found = pattern.findall(text)
    return os.fsdecode(found[-1]) if found else None
