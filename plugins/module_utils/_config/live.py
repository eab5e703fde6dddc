# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What may differ between the config that a node runs with and the one on disk without a restart being due.

The list of nodes to connect to is that, of the release and of Erlang itself (``sync_nodes_optional``), which reads it
when it boots. If it counted, adding a host would restart the whole cluster. The unit's ``record-start`` leaves the same
text out of what it records. Who tells the running node is ``_cluster.peers``.
"""

from __future__ import annotations

import re

from .._core.errors import OpsError
from .._erlang.distribution import distribution_of

_PROTOCOLS = {None: "TCP", "inet_tcp": "TCP", "inet_tls": "TLS", "inet6_tls": "TLS"}
_CLUSTER_NODES = re.compile(rb"\{(?:cluster_nodes|sync_nodes_optional),[^]]*\]\}")
_NODE_NAME = re.compile(rb"[^\s,\[\]']+@[^\s,\[\]']+")


def without_live(content):
    """Return a config file without its live settings.

    :param content: bytes, or ``None`` for a missing file.
    """
    return None if content is None else _CLUSTER_NODES.sub(b"", content)


def same_but_live(one, other):
    """Whether two sets differ in live settings only.

    :param one: file name to bytes, like ``other``.
    """
    return {name: without_live(text) for name, text in one.items()} == {
        name: without_live(text) for name, text in other.items()
    }


def check_whole(name, current, wanted, left_out):
    """Do nothing, or refuse a run in which a node learns of nodes that not all of the others learn of.

    The firewalls of the hosts that are left out stay closed to a new node. It would reach some members and not the
    others, which splits the cluster (see ``_cluster.peers``).

    :param name: the node.
    :param current: the ``sys.config`` in use as bytes, or ``None``.
    :param left_out: hosts of the group that the run leaves out.
    """
    new = sorted(named_peers(wanted) - named_peers(current or b"") - {name})
    if new and left_out:
        raise OpsError(
            f"{name} would learn of {', '.join(new)} while {', '.join(left_out)} would not: nodes that reach only some "
            "of the others split a cluster. Run this for all hosts of the group, without --limit",
            kind="limited",
            new=new,
            left_out=left_out,
        )


def check_same_protocol(node, current, wanted, runner):
    """Do nothing, or refuse to let a node that runs in a cluster talk another protocol from its next start on.

    It would not find those that have not been restarted yet, nor they it: the roll would split the cluster.

    :param node: the ``node`` option of a module.
    :param current: file name to bytes of the set in use, or ``None``; ``wanted`` is like it.
    """
    _check_known_protocol(wanted)
    if current is None or not current["vm.args"] or not named_peers(wanted["sys.config"]) - {node["name"]}:
        return
    before, after = (distribution_of(files["vm.args"], files["env.sh"] or b"").protocol for files in (current, wanted))
    if before == after or not runner.run(["systemctl", "is-active", "--quiet", node["service"]]).ok:
        return
    raise OpsError(
        f"{node['name']} talks to its cluster over {_PROTOCOLS.get(before, before)} and would over "
        f"{_PROTOCOLS.get(after, after)} after a restart: it would not find the nodes that were not restarted yet. "
        f"Stop the unit {node['service']} on all hosts of the cluster, then run site, which starts them together",
        kind="protocol",
        before=before,
        after=after,
    )


def _check_known_protocol(wanted):
    """Refuse a protocol that neither ``erl_call`` nor a hidden Erlang of ours talks: nobody could ask the node."""
    protocol = distribution_of(wanted["vm.args"], wanted["env.sh"] or b"").protocol
    if protocol not in _PROTOCOLS:
        raise OpsError(
            f"vm.args has -proto_dist {protocol}, over which this collection cannot ask a node: take it out of "
            "erlmcp_node_vm_args. Nodes talk to each other over IPv4, or over TLS (erlmcp_tls_distribution_enabled)",
            kind="protocol",
        )


def named_peers(content):
    """Return the node names that a ``sys.config``, as bytes, says to connect to."""
    return {found.decode() for listed in _CLUSTER_NODES.findall(content) for found in _NODE_NAME.findall(listed)}
