# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a number of connections takes: bigger nodes, or more of them. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from .._core.errors import OpsError

# The guide, "Vertical Scaling".
BASE_CONNECTIONS = 50_000
TUNED_CONNECTIONS = 100_000
TUNED_PROCESSES = 1_000_000
TUNED_ASYNC_THREADS = 32
ASYNC_THREADS_GAIN_PERCENT = 20
TUNED_SCHEDULERS = 16
SCHEDULERS_GAIN_PERCENT = 30
PROCESSES_PER_CONNECTION = TUNED_PROCESSES // TUNED_CONNECTIONS

# erl(1): the largest +P and +Q, and the +Q without the flag.
MOST_PROCESSES = 134_217_727
DEFAULT_PORTS = 65_536
# What role erlmcp_node gives.
DEFAULT_FILES = 65_536
# Listeners, links to other nodes and outgoing sockets are ports; code, logs and tables are files.
RESERVED_PORTS = 1024
RESERVED_FILES = 1024
RESERVED_BALANCER = 1024
# Linux: net.ipv4.ip_local_port_range as it is (32768 to 60999) and as wide as it can be, and fs.nr_open.
LOCAL_PORTS = 28_232
MOST_LOCAL_PORTS = 64_512
MOST_FILES = 1_048_576


@dataclass(frozen=True)
class _Node:
    """What a node is assumed to hold. Shares are in connections."""

    connections: int
    connections_max: int
    connection_memory_kb: int
    memory_reserve_mb: int

    def memory_for(self, share):
        return self.memory_reserve_mb + _divide_up(share * self.connection_memory_kb, 1024)

    def share_of(self, memory_mb):
        """Return what a node with the defaults of the virtual machine holds in so much memory."""
        return min(self.connections, (memory_mb - self.memory_reserve_mb) * 1024 // self.connection_memory_kb)

    def settings(self, share, cores):
        """Return the variables of role ``erlmcp_node``."""
        ports = share + RESERVED_PORTS
        tuned = share > self.connections
        return {
            "erlmcp_node_process_limit": max(TUNED_PROCESSES, share * PROCESSES_PER_CONNECTION) if tuned else 0,
            "erlmcp_node_port_limit": ports if ports > DEFAULT_PORTS else 0,
            "erlmcp_node_async_threads": TUNED_ASYNC_THREADS if tuned else 0,
            # Hosts that differ are left to the virtual machine, which starts one for each core.
            "erlmcp_node_schedulers": f"{cores[0]}:{cores[0]}" if tuned and min(cores) == max(cores) else "",
            "erlmcp_node_open_files_limit": max(DEFAULT_FILES, ports + RESERVED_FILES),
        }


def plan_capacity(
    connections,
    nodes,
    spare_node=True,
    node_connections=BASE_CONNECTIONS,
    node_connections_max=TUNED_CONNECTIONS,
    connection_memory_kb=100,
    memory_reserve_mb=1024,
):
    """Return both ways to hold a number of connections: with the nodes there are, and with more of their size.

    The balancer gives every node the same share, so the smallest node decides.

    :param connections: wanted in the whole cluster.
    :param nodes: host to facts, of which ``processor_nproc`` and ``memtotal_mb`` (MiB) are read.
    :param spare_node: whether one node may be lost.
    :param node_connections: what a node holds with the defaults of the virtual machine.
    :param node_connections_max: what a node holds with settings.
    :param connection_memory_kb: KiB of memory that a connection takes.
    :param memory_reserve_mb: MiB of memory on each node that are not for connections.
    :return: what filter ``capacity`` documents: ``fits``, ``problems``, ``share``, ``memory_mb``,
        ``throughput_gain_percent``, ``settings``, ``balancer``, ``nodes_needed``, ``nodes_needed_settings``, ``text``.
    :raises OpsError: naming the variable of role ``erlmcp_scale``, or the host.
    """
    connections = _whole("erlmcp_scale_connections", connections, 1)
    base = _whole("erlmcp_scale_node_connections", node_connections, 1)
    most = MOST_PROCESSES // PROCESSES_PER_CONNECTION
    node = _Node(
        base,
        _whole("erlmcp_scale_node_connections_max", node_connections_max, base, most),
        _whole("erlmcp_scale_connection_memory_kb", connection_memory_kb, 1),
        _whole("erlmcp_scale_memory_reserve_mb", memory_reserve_mb, 0),
    )
    if not isinstance(spare_node, bool):
        raise OpsError(f"erlmcp_scale_spare_node is {spare_node!r}: it has to be true or false", kind="input")
    if not nodes:
        raise OpsError("there are no nodes to plan for: name them in the inventory", kind="input")
    cores = [_whole(f"processor_nproc of {host}", each.get("processor_nproc"), 1) for host, each in nodes.items()]
    memory = {host: _whole(f"memtotal_mb of {host}", each.get("memtotal_mb"), 1) for host, each in nodes.items()}

    bigger = _bigger(connections, node, cores, memory, spare_node)
    more = _more(connections, node, cores, memory, spare_node)
    gain = _throughput_gain(bigger["settings"])
    balancer = {"erlmcp_load_balancer_maxconn": connections + RESERVED_BALANCER}
    return {
        "fits": not bigger["problems"],
        "problems": bigger["problems"],
        "share": bigger["share"],
        "memory_mb": bigger["memory_mb"],
        "throughput_gain_percent": gain,
        "settings": bigger["settings"],
        "balancer": balancer,
        "nodes_needed": more["count"],
        "nodes_needed_settings": more["settings"],
        "text": [
            f"# {connections} connections{', also with one node lost' if spare_node else ''}.",
            f"# Bigger nodes: {_size(bigger)}. It {'does not fit' if bigger['problems'] else 'fits'}.",
            *(f"# - {problem}" for problem in bigger["problems"]),
            *(_lines({**bigger["settings"], **balancer}) if bigger["settings"] else ()),
            *([f"# By the guide that gives {gain} % more throughput."] if gain else ()),
            f"# More nodes of the present size: {_size(more)}. {_difference(more['count'] - bigger['count'])}.",
            *_lines({**more["settings"], **balancer}),
            *_notes(max(way["share"] for way in (bigger, more) if way["settings"])),
        ],
    }


def _bigger(connections, node, cores, memory, spare_node):
    share = _divide_up(connections, max(1, len(memory) - int(spare_node)))
    needed_mb = node.memory_for(share)
    has_settings = share <= node.connections_max
    problems = []
    if spare_node and len(memory) == 1:
        problems.append("One node lost leaves none: add a node, or set erlmcp_scale_spare_node to false.")
    if not has_settings:
        problems.append(
            f"erlmcp_scale_node_connections_max is {node.connections_max}, {share} are too many for a node."
        )
    problems.extend(
        f"{host} has {has} MiB of memory, {needed_mb - has} too few." for host, has in memory.items() if has < needed_mb
    )
    settings = node.settings(share, cores) if has_settings else {}
    return {"count": len(memory), "share": share, "memory_mb": needed_mb, "settings": settings, "problems": problems}


def _more(connections, node, cores, memory, spare_node):
    smallest = min(memory, key=memory.get)
    per_node = node.share_of(memory[smallest])
    if per_node < 1:
        raise OpsError(
            f"{smallest} has {memory[smallest]} MiB of memory, and erlmcp_scale_memory_reserve_mb keeps "
            f"{node.memory_reserve_mb} of them from connections: lower it, or plan for larger nodes",
            kind="input",
        )
    loaded = _divide_up(connections, per_node)
    share = _divide_up(connections, loaded)
    return {
        "count": loaded + int(spare_node),
        "share": share,
        "memory_mb": node.memory_for(share),
        "settings": node.settings(share, cores),
    }


def _throughput_gain(settings):
    schedulers = int((settings.get("erlmcp_node_schedulers") or "0").split(":")[0])
    return (ASYNC_THREADS_GAIN_PERCENT if settings.get("erlmcp_node_async_threads") else 0) + (
        SCHEDULERS_GAIN_PERCENT if schedulers >= TUNED_SCHEDULERS else 0
    )


_FLAGS = {
    "erlmcp_node_process_limit": "+P",
    "erlmcp_node_port_limit": "+Q",
    "erlmcp_node_async_threads": "+A",
    "erlmcp_node_schedulers": "+S",
    "erlmcp_node_open_files_limit": "LimitNOFILE",
    "erlmcp_load_balancer_maxconn": "maxconn",
}


def _lines(variables):
    for name, value in variables.items():
        yield f"{name}: {repr(value) if isinstance(value, str) else value}  # {_FLAGS[name]}" + (
            "" if value else ", left to the virtual machine"
        )


def _notes(share):
    yield f"# Where the release has a limit of its own, like max_connections, it has to be {share} or more."
    if share > LOCAL_PORTS:
        yield (
            f"# From one address a balancer reaches a port of a node {LOCAL_PORTS} times: widen its "
            f"net.ipv4.ip_local_port_range, for {MOST_LOCAL_PORTS} at most, or give it more addresses."
        )
    if share + RESERVED_PORTS + RESERVED_FILES > MOST_FILES:
        yield "# systemd lowers LimitNOFILE to fs.nr_open without a word: raise that on the nodes first."


def _size(way):
    nodes = "1 node" if way["count"] == 1 else f"{way['count']} nodes"
    return f"{nodes}, {way['share']} connections and {way['memory_mb']} MiB of memory on each"


def _difference(number):
    return f"That is {number} more than there are" if number > 0 else "There are enough"


def _divide_up(number, by):
    return -(-number // by)


def _whole(name, value, least, most=None):
    """Return ``value`` as an integer. Variables from the command line are strings."""
    try:
        number = None if isinstance(value, (bool, float)) else int(value)
    except (TypeError, ValueError):
        number = None
    if number is None or number < least or (most is not None and number > most):
        allowed = f"from {least} to {most}" if most is not None else f"of {least} or more"
        raise OpsError(f"{name} is {value!r}: it has to be a whole number {allowed}", kind="input")
    return number
