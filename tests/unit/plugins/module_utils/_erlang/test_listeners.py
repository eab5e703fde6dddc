# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real Erlang node listens, and is asked who does."""

from __future__ import annotations

from ansible_collections.erlmcp.ops.plugins.module_utils._erlang.listeners import listeners, unnamed
from ansible_collections.erlmcp.ops.tests.unit.plugins.module_utils._backup.erlang_nodes import private_erlang

LISTEN = """
Self = self(),
spawn(fun() ->
    group_leader(GROUP, self()),
    {ok, Listener} = gen_tcp:listen(0, [{ip, ADDRESS}]),
    Self ! inet:port(Listener),
    receive stop -> ok end
end),
receive {ok, Port} -> Port end
"""


def test_each_listener_is_told_with_its_application(tmp_path):
    with private_erlang(tmp_path) as erlang, erlang.node("a@127.0.0.1", tmp_path / "mnesia") as (node, _process):

        def listen(address, group="whereis(init)"):
            return node.evaluate(" ".join(LISTEN.replace("ADDRESS", address).replace("GROUP", group).split()))

        # The processes of an application have its master for a group leader.
        everywhere = listen("{0,0,0,0}", "element(2, process_info(whereis(kernel_sup), group_leader))")
        nobodys = listen("{127,0,0,2}")
        local = listen("{127,0,0,1}", "element(2, process_info(whereis(kernel_sup), group_leader))")
        found = {each["port"]: (each["address"], each["application"]) for each in listeners(node)}
        assert found[everywhere] == ("0.0.0.0", "kernel")
        assert found[nobodys] == ("127.0.0.2", "")
        assert found[local] == ("127.0.0.1", "kernel")
        rest = set(found) - {everywhere, nobodys, local}
        assert [each["port"] for each in unnamed(listeners(node), rest)] == [everywhere]
        assert unnamed(listeners(node), {everywhere, *rest}) == []
