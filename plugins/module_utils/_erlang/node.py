# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Questions to a running node, asked through the release's own ``erl_call``.

The cookie is read by ``erl_call`` from the account's ``~/.erlang.cookie``: given with ``-c`` every user of the
host could read it in the process list.
"""

from __future__ import annotations

import glob
import os
import re
import socket

from .._core.errors import OpsError
from .release import system_root
from .terms import TermError, parse_erl_call

_FUNCTION = re.compile(r"^([a-z][A-Za-z0-9_@]*):([a-z][A-Za-z0-9_@]*)/0$")


class Unreachable(OpsError):
    """The node did not answer over distribution."""

    def __init__(self, message, **details):
        super().__init__(message, kind="unreachable", **details)


class Node:
    """One node as seen from its own host.

    :param spec: the ``node`` option of a module.
    :param runner: a :class:`Runner`.
    """

    def __init__(self, spec, runner):
        self.spec = spec
        self.runner = runner

    @property
    def name(self):
        return self.spec["name"]

    def evaluate(self, expression, timeout=10):
        """Evaluate an Erlang expression on the node and return the term it gives.

        :param expression: Erlang text without the final dot; must not hold a secret (it may be logged by the node).
        :param timeout: seconds.
        :raises Unreachable: when the node does not answer.
        """
        self._resolve()
        # The node formats the term itself: erl_call prints binaries as "#Bin<12>" and loses them.
        text = f'lists:flatten(io_lib:format("~0p", [begin {expression} end])).\n'
        flag = "-name" if self.spec["name_type"] == "long" else "-sname"
        done = self.runner.run(
            [self._erl_call(), "-R", flag, self.name, "-timeout", str(timeout), "-e"],
            stdin=text,
            account=self.spec["user"],
            env={"HOME": self.spec["home_dir"]},
            timeout=timeout + 5,
        )
        if not done.ok:
            raise Unreachable(f"{self.name} does not answer over distribution: {_last_line(done.err)}")
        try:
            return parse_erl_call(done.out)
        except TermError as error:
            raise OpsError(f"{self.name} could not evaluate a question: {error}", kind="erlang") from error

    def call_if_exported(self, function):
        """Call ``module:function/0``. Return ``(True, term)``, or ``(False, None)`` where the release lacks it.

        :raises Unreachable: when the node does not answer.
        """
        module, name = function_name(function)
        answer = self.evaluate(
            f"case code:ensure_loaded({module}) of {{module, _}} -> "
            f"case erlang:function_exported({module}, {name}, 0) of true -> {{called, {module}:{name}()}}; "
            "false -> absent end; _ -> absent end"
        )
        if answer == "absent":
            return False, None
        return True, answer[1]

    def _resolve(self):
        # erl_call crashes on a name that does not resolve, which would look like a node that is down.
        host = self.name.partition("@")[2]
        try:
            socket.getaddrinfo(host, None)
        except OSError as error:
            raise Unreachable(
                f"{self.name}: the host name {host!r} does not resolve on this host ({error}); "
                "fix DNS or /etc/hosts, or set erlmcp_node_host to an address"
            ) from error

    def _erl_call(self):
        for release in ("current", "next"):
            found = sorted(glob.glob(os.path.join(self.spec["install_dir"], release, "erts-*", "bin", "erl_call")))
            if found:
                return found[-1]
        for places in ("bin", "erts-*/bin"):
            found = sorted(glob.glob(os.path.join(system_root(), places, "erl_call")))
            if found:
                return found[-1]
        raise Unreachable(f"no erl_call for {self.name}: no release is installed under {self.spec['install_dir']}")


def function_name(function):
    """Split ``module:function/0``.

    :raises OpsError: for anything else, so that a variable cannot smuggle Erlang code into a question.
    """
    match = _FUNCTION.match(function)
    if not match:
        raise OpsError(f"{function!r} is not the name of a function, like erlmcp_admin:drain/0", kind="input")
    return match.group(1), match.group(2)


def _last_line(text):
    lines = text.strip().splitlines()
    return lines[-1] if lines else "no output"
