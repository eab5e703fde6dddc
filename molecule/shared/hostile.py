# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A node in an attacker's hands: it lets everybody who asks it run a command, and keeps what that said."""

from __future__ import annotations

import json
import re

from testlib import ssh

_ATTACKER = """
spawn(fun() ->
    register(attacker, self()),
    net_kernel:monitor_nodes(true, [{node_type, hidden}]),
    Attack = fun(Node, Owner) ->
        % So that whoever asks how the node is waits for the answer.
        Slowed = whereis(application_controller),
        erlang:suspend_process(Slowed),
        Owner ! {answer, {Node, rpc:call(Node, os, cmd, [COMMAND], 3000)}},
        erlang:resume_process(Slowed)
    end,
    Loop = fun Loop(Answers) -> receive
        {nodeup, Node, _} -> Owner = self(), spawn(fun() -> Attack(Node, Owner) end), Loop(Answers);
        {answer, Answer} -> Loop([Answer | Answers]);
        {ask, From} -> From ! {answers, Answers}, Loop(Answers);
        stop -> ok;
        _ -> Loop(Answers)
    end end,
    Loop([])
end), ok.
"""
_PLACES = ("/var/tmp", "/var/lib/erlmcp", "/run/erlmcp", "/var/log/erlmcp")
_COMMAND = (
    "echo $(grep NoNewPrivs /proc/self/status) $(cat /proc/self/cgroup) secrets $(env | grep -c ROOTS_SECRET); "
    f"touch {' '.join(f'{place}/escaped' for place in _PLACES)}; (sleep 612 > /dev/null 2>&1 &)"
)
# Who ended too soon has told nothing.
_TOLD = """
attacker ! {ask, self()},
receive {answers, Answers} ->
    lists:flatten([io_lib:format("~s ~s;", [Node, string:trim(Told)]) || {Node, Told} <- Answers, is_list(Told)])
end.
"""
_SANDBOXED = re.compile(r"\S+ NoNewPrivs: 1 .*\b0::/system.slice/run-[^ /]*.service secrets 0\b")


class HostileNode:
    """Makes the node at an address hostile for as long as the context lasts.

    >>> with HostileNode(address) as hostile: ...
    >>> assert hostile.victims() and not hostile.escaped()
    """

    def __init__(self, address):
        self.address = address
        self.told = []

    def __enter__(self):
        self.evaluate(_ATTACKER.replace("COMMAND", json.dumps(_COMMAND)))
        return self

    def __exit__(self, *_error):
        # A long text is printed in parts.
        told = "".join(re.findall(r'"([^"]*)"', self.evaluate(_TOLD)))
        self.told = [answer for answer in told.split(";") if answer]
        self.evaluate("attacker ! stop.")

    def evaluate(self, expression):
        """Evaluate on the node, whatever quotes are in it."""
        return ssh(self.address, 'ROOTS_SECRET=x erlmcp eval "$(cat)"', typed=expression).stdout

    def victims(self):
        """Return the beginnings of the names of those who ran the command: ``ctl``, ``ops``; empty for a console."""
        return {re.match(r"(?:(ctl|ops)-)?", answer)[1] or "" for answer in self.told}

    def escaped(self):
        """Return who was in no sandbox, and what is left of the commands on the host."""
        files = ssh(self.address, f"find {' '.join(_PLACES)} -name escaped").stdout.split()
        processes = [line for line in ssh(self.address, "ps -eo args=").stdout.splitlines() if "sleep 612" in line]
        return [answer for answer in self.told if not _SANDBOXED.match(answer)] + files + processes
