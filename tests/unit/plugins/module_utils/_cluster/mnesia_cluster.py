# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Three real Erlang nodes that share two Mnesia tables, and a network between them that can be cut."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace

from ansible_collections.erlmcp.ops.plugins.module_utils._cluster.info import cluster_info
from ansible_collections.erlmcp.ops.plugins.module_utils._cluster.masters import cluster_masters
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Completed
from ansible_collections.erlmcp.ops.plugins.module_utils._erlang.node import Node
from ansible_collections.erlmcp.ops.plugins.module_utils._erlang.terms import Atom, format_term
from ansible_collections.erlmcp.ops.plugins.module_utils._node import exclusion
from ansible_collections.erlmcp.ops.tests.unit.plugins.module_utils._backup.erlang_nodes import (
    PrivateRunner,
    private_erlang,
)

NAMES = [f"n{number}@127.0.0.1" for number in (1, 2, 3)]
HOSTS = {f"host{number}": name for number, name in enumerate(NAMES, start=1)}
FIRST, SECOND, THIRD = NAMES

_CREATE = """
ok = mnesia:create_schema([node()]),
ok = mnesia:start(),
[{atomic, ok} = mnesia:create_table(T, [{disc_copies, [node()]}]) || T <- [item, session]],
[mnesia:dirty_write({T, Key, before}) || T <- [item, session], Key <- lists:seq(1, 10)],
ok
"""
_JOIN = f"""
ok = mnesia:start(),
{{ok, [_ | _]}} = mnesia:change_config(extra_db_nodes, ['{FIRST}']),
{{atomic, ok}} = mnesia:change_table_copy_type(schema, node(), disc_copies),
[{{atomic, ok}} = mnesia:add_table_copy(T, node(), disc_copies) || T <- [item, session]],
ok = mnesia:wait_for_tables([item, session], 10000)
"""


class HostRunner(PrivateRunner):
    """A fake of systemd: the unit runs while the node's process does."""

    def __init__(self, port, running):
        super().__init__(port)
        self.running = running

    def run(self, argv, stdin="", account=None, env=None, timeout=60, tied=False):
        if argv[0] == "systemctl":
            state = "active\nMainPID=1" if self.running() else "inactive\nMainPID=0"
            return Completed(0, f"LoadState=loaded\nActiveState={state}\n", "")
        return super().run(argv, stdin=stdin, account=account, env=env, timeout=timeout, tied=tied)


class Cluster:
    """Nodes by name; each has its Mnesia directory below ``root``."""

    def __init__(self, erlang, root):
        self.erlang = erlang
        self.root = root
        self.stacks = {}
        self.processes = {}

    def start(self, name, mnesia="mnesia:start()"):
        """Start a node; its Mnesia loads what it finds."""
        self.directory(name).parent.mkdir(exist_ok=True)
        stack = self.stacks[name] = ExitStack()
        node, self.processes[name] = stack.enter_context(self.erlang.node(name, self.directory(name)))
        for other in self.stacks:
            node.evaluate(f"net_kernel:connect_node('{other}')")
        node.evaluate(mnesia, timeout=30)

    def directory(self, name):
        return self.root / name / "mnesia"

    def kill(self, *names):
        """End the nodes at once: they stop first, so that none of them hears that another one has gone."""
        for name in names:
            self.processes[name].send_signal(signal.SIGSTOP)
        for name in names:
            self.stacks.pop(name).close()

    def node(self, name):
        return Node(self.spec(name), self.runner(name))

    def runner(self, name):
        return HostRunner(self.erlang.port, lambda: name in self.stacks)

    def spec(self, name):
        return {**self.erlang.spec(name), "service": "erlmcp"}

    def evaluate(self, name, text):
        return self.node(name).evaluate(text, timeout=30)

    def cut(self, name):
        """Cut the network between a node and all others: a wrong cookie keeps both ends from connecting again."""
        others = format_term([Atom(other) for other in self.stacks if other != name])
        self.evaluate(
            name, f"[erlang:set_cookie(N, wrong) || N <- {others}], [erlang:disconnect_node(N) || N <- {others}]"
        )
        self.wait(
            lambda: all(self.evaluate(other, f"lists:member('{name}', nodes())") is False for other in self.stacks)
        )

    def heal(self, name):
        others = format_term([Atom(other) for other in self.stacks if other != name])
        self.evaluate(
            name, f"[begin erlang:set_cookie(N, erlang:get_cookie()), net_kernel:connect_node(N) end || N <- {others}]"
        )

    def write(self, name, key, table="item"):
        answer = self.evaluate(name, f"mnesia:sync_transaction(fun() -> mnesia:write({{{table}, {key}, new}}) end)")
        assert answer == ("atomic", "ok")

    def keys(self, name, table="item"):
        """Keys above the ten that were there from the beginning, of the node's own copy."""
        return [key for key in self.evaluate(name, f"lists:sort(mnesia:dirty_all_keys({table}))") if key > 10]

    def info(self, name, **options):
        """What module ``cluster_info`` says on a node's host."""
        given = {"members": NAMES, "digest": False, "wait_seconds": 0, "assert_complete": False, **options}
        module = SimpleNamespace(params={"node": self.spec(name), **given}, check_mode=False)
        return cluster_info(module, self.runner(name))

    def everywhere(self, **options):
        """What it says on every host, by host."""
        return {host: self.info(name, **options) for host, name in HOSTS.items()}

    def masters(self, name, masters, check_mode=False):
        """What module ``cluster_masters`` says on a node's host."""
        params = {"node": self.spec(name), "masters": masters, "data_dir": str(self.root / name)}
        return cluster_masters(SimpleNamespace(params=params, check_mode=check_mode), self.runner(name))

    @staticmethod
    def wait(condition, seconds=30):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.1)


@contextmanager
def started_cluster(root, monkeypatch):
    # Else the nodes that lose a third one may part from each other too, by chance.
    monkeypatch.setenv("ERL_FLAGS", "-kernel prevent_overlapping_partitions false")
    monkeypatch.setattr(exclusion, "_RUN_DIR", str(root / "run"))
    home = root / "home"
    home.mkdir()
    with private_erlang(home) as erlang:
        cluster = Cluster(erlang, root)
        try:
            cluster.start(FIRST, _CREATE)
            for name in (SECOND, THIRD):
                cluster.start(name, _JOIN)
            yield cluster
        finally:
            for name in list(cluster.stacks):
                cluster.kill(name)
