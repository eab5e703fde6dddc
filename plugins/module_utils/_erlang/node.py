# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Questions to a running node, asked through the release's own ``erl_call``.

The cookie is read by ``erl_call`` from the account's ``~/.erlang.cookie``: given with ``-c`` every user of the
host could read it in the process list. ``erl_call`` does not speak TLS; where the nodes do, a hidden Erlang that lives
for one question asks instead, which takes a quarter of a second more.
"""

from __future__ import annotations

import glob
import os
import re
import secrets
import signal
import socket

from .._config.names import node_name_problem
from .._core.errors import OpsError
from .distribution import read_distribution
from .mapper import mapper_problem
from .release import find_release_in_use, system_root
from .sandbox import sandboxed
from .terms import TermError, parse_erl_call
from .told import at_most_a_line

# Prints what erl_call -e would. The atom of the node is on the command line, the question on standard input.
_ASK = """
io:setopts([{encoding, unicode}]),
Read = fun Read(Lines) -> case io:get_line([]) of eof -> lists:append(lists:reverse(Lines)); L -> Read([L | Lines]) end
       end,
Fail = fun(Why) -> io:put_chars(standard_error, Why), halt(1) end,
[Node, Timeout] = init:get_plain_arguments(),
{ok, Tokens, _} = erl_scan:string(Read([])),
{ok, Expressions} = erl_parse:parse_exprs(Tokens),
case rpc:call(list_to_atom(Node), erl_eval, exprs, [Expressions, []], list_to_integer(Timeout) * 1000) of
    {value, Text, _} -> io:put_chars(["{ok, ", 34, Text, 34, "}"]), halt(0);
    {badrpc, nodedown} -> timer:sleep(200), logger_std_h:filesync(default), Fail("no connection");
    {badrpc, timeout} -> Fail("no answer in time");
    Bad -> io:format("{error, ~0p}", [Bad]), halt(0)
end
"""
# A handshake that fails is told by the logger, which is given the time to do so.
_TO_STDERR = "[{handler,default,logger_std_h,#{config=>#{type=>standard_error}}}]"
_TLS_ALERT = re.compile(r"(TLS (?:client|server): In state .*|\{bad_cert,.*)")

# The kinds of error that mean "not yet" while a node starts: it does not answer, or its tables come and go between two
# words of a question.
PASSING = ("unreachable", "erlang")

# erl_call ends itself by an alarm.
_TIMED_OUT = (124, -signal.SIGALRM)
_CLOSED = "erl_call: failed to connect to node"

_FUNCTION = re.compile(r"^([a-z][A-Za-z0-9_@]*):([a-z][A-Za-z0-9_@]*)/0$")


class Unreachable(OpsError):
    """The node did not answer over distribution."""

    def __init__(self, message, **details):
        super().__init__(message, kind="unreachable", **details)


class Node:
    """One node as seen from its own host.

    :param spec: the ``node`` option of a module.
    :param runner: a :class:`Runner`.
    :raises OpsError: when no node can have its name; to a question it would look like one that is down.
    """

    def __init__(self, spec, runner):
        self.spec = spec
        self.runner = runner
        problem = node_name_problem(self.name, self.spec["name_type"])
        if problem:
            raise OpsError(f"{self.name!r} is no Erlang node name (erlmcp_node_name): {problem}", kind="input")

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
        distribution = read_distribution(self.spec.get("config_dir"))
        ask = self._hidden_erlang if distribution.is_tls else self._erl_call
        command, environment = ask(distribution, timeout)
        environment = {**environment, "HOME": self.spec["home_dir"], **distribution.environment()}
        # erl_call runs nothing that the node sends, another Erlang does.
        boxed = distribution.is_tls and sandboxed(self.spec["release_name"], command, environment, timeout + 5)
        done = self.runner.run(
            boxed or command,
            stdin=text,
            account=None if boxed else self.spec["user"],
            env={} if boxed else environment,
            timeout=timeout + 5,
        )
        if not done.ok:
            why = self._why_silent(done, distribution, timeout)
            raise Unreachable(f"{self.name} does not answer over distribution: {why}")
        try:
            return parse_erl_call(done.out)
        except TermError as error:
            why = at_most_a_line(error)
            raise OpsError(f"{self.name} could not evaluate a question: {why}", kind="erlang") from error

    def _why_silent(self, done, distribution, timeout):
        if done.rc in _TIMED_OUT:
            return f"it has not answered within {timeout} s, so it hangs or is overloaded"
        reason = _reason(done.err)
        if _CLOSED not in reason or not distribution.registers:
            return reason
        unit = f"{self.spec['service']}-epmd.service"
        # Only one that runs and listens is known there.
        return mapper_problem(distribution, self.name, unit) or (
            f"it refuses the cookie in {os.path.join(self.spec['home_dir'], '.erlang.cookie')}, so it runs with "
            "another one. The playbook site says how to put that right"
        )

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

    @property
    def _name_flag(self):
        return "-name" if self.spec["name_type"] == "long" else "-sname"

    def _erl_call(self, distribution, timeout):
        place = [self._name_flag, self.name]
        if distribution.port_without_mapper:
            place = ["-address", f"{self.name.partition('@')[2]}:{distribution.port_without_mapper}"]
        return [self._find_erl_call(), "-R", *place, "-timeout", str(timeout), "-e"], {}

    def _hidden_erlang(self, distribution, timeout):
        release = find_release_in_use(self.spec)
        host = self.name.partition("@")[2]
        return [
            *release.command(),
            *("-noshell", "-hidden", self._name_flag, f"ops-{secrets.token_hex(4)}@{host}"),
            *("-dist_listen", "false", "-start_epmd", "false", "-kernel", "logger", _TO_STDERR),
            *distribution.flags(),
            *("-eval", " ".join(_ASK.split()), "-extra", self.name, str(timeout)),
        ], release.environment()

    def _find_erl_call(self):
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


def _reason(text):
    alerts = _TLS_ALERT.findall(text)
    if alerts:
        return "; ".join(dict.fromkeys(alert.strip() for alert in alerts))
    lines = text.strip().splitlines()
    return lines[-1] if lines else "no output"
