# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a cluster may be changed node by node, and which node's turn comes; no input, no output."""

from __future__ import annotations


def cluster_problems(nodes, resumes=False):
    """Return inventory name to what speaks against taking down a node of this cluster now, as a text.

    :param nodes: inventory name to ``name`` (of the node), ``healthy``, ``detail``, ``epmd_error`` (or ``None``),
        ``missing_members`` and ``not_sharing`` (names of nodes), and ``in_the_way`` (texts) of its next start.
    :param resumes: whether this run goes on with one that was cut off. That can have left one node in any state, so
        everything else is asked of the others.
    """
    problems = _problems(nodes, set())
    if resumes and any(not _problems(rest, {one["name"]}) for one, rest in _each_left_out(nodes)):
        return {}
    return problems


def turn(node, version=None, resumed_seconds=None):
    """Return when the turn of a node comes: ``first``, since it does not serve, ``due``, or ``done``, which is never.

    :param node: ``healthy``, ``running`` and ``current`` (versions, or ``None``), ``uptime_seconds`` (or ``None``).
    :param version: of the release to change to; without one the node is to be restarted.
    :param resumed_seconds: how long ago the run began that this one goes on with. A node that was started since then
        has had its restart.
    """
    if not node["healthy"]:
        return "first"
    if version is not None:
        is_done = node["running"] == node["current"] == version
    else:
        uptime = node["uptime_seconds"]
        is_done = resumed_seconds is not None and uptime is not None and uptime < resumed_seconds
    return "done" if is_done else "due"


def _each_left_out(nodes):
    for host, node in nodes.items():
        yield node, {name: other for name, other in nodes.items() if name != host}


def _problems(nodes, left_out):
    return {host: text for host, node in nodes.items() if (text := _problem(node, left_out))}


def _problem(node, left_out):
    told = [] if node["healthy"] else [f"is not healthy ({node['detail']})"]
    if node["epmd_error"]:
        told.append(f"cannot be found by others: {node['epmd_error']}")
    for what, names in (
        ("does not see", node["missing_members"]),
        ("does not share its tables with", node["not_sharing"]),
    ):
        others = sorted(set(names) - left_out)
        if others:
            told.append(f"{what} {', '.join(others)}")
    if node["in_the_way"]:
        told.append(f"could not start again: {'; '.join(node['in_the_way'])}")
    return f"{node['name']} {', '.join(told)}" if told else ""
