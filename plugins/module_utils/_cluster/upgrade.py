# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether all nodes of a cluster can change to a release one after the other; no input, no output."""

from __future__ import annotations

# Erlang/OTP promises distribution between a release and the two before and after it:
# https://www.erlang.org/doc/system/misc.html (Compatibility)
_OTP_DISTANCE = 2
# ERTS 11 came with OTP 23; since then both grow by one a year.
_OTP_OF_ERTS = 12
_FIRST_ERTS = 11


def upgrade_problems(nodes, version, erts, goes_on=False):
    """Return what speaks against changing to a release, as texts with the next action.

    :param nodes: inventory name to ``running`` (version, ``None`` when the node is down) and ``otp`` (number as text,
        or ``None``).
    :param version: version of the release.
    :param erts: version of the ERTS that it needs.
    :param goes_on: whether this run goes on with one that was cut off, and may find everything done.
    """
    problems = []
    if not goes_on and all(node["running"] == version for node in nodes.values()):
        problems.append(f"every node runs {version} already: name another release")
    wanted = _otp(erts)
    for host, node in nodes.items():
        if wanted is not None and node["otp"] and abs(wanted - int(node["otp"])) > _OTP_DISTANCE:
            problems.append(
                f"{host} runs Erlang/OTP {node['otp']} and release {version} brings {wanted}: nodes more than "
                f"{_OTP_DISTANCE} versions apart cannot be one cluster. Upgrade through a release in between"
            )
    return problems


def rollback_version(nodes, asked=None):
    """Return the version to go back to, and a text instead when there is none, or more than one.

    It is the one that each node runs already, or ran before.

    :param nodes: inventory name to ``current`` and ``previous`` (versions, or ``None``) and ``healthy``.
    :param asked: what the operator named.
    """
    if asked:
        return asked, ""
    known = [{node["current"], node["previous"]} - {None} for node in nodes.values()]
    current = {node["current"] for node in nodes.values()}
    failing = {node["current"] for node in nodes.values() if not node["healthy"]}
    # Where every node is on it, it is left; else that which fails, unless all do.
    left = current if len(current) == 1 else failing if failing != current else set()
    fitting = sorted(set.intersection(*known) - left)
    if len(fitting) == 1:
        return fitting[0], ""
    told = "; ".join(
        f"{host} is on {node['current'] or 'none'}, before that {node['previous'] or 'none'}"
        for host, node in nodes.items()
    )
    problem = f"each of {' and '.join(fitting)} could be meant" if fitting else "the nodes have no release in common"
    return "", f"{problem} ({told}): name the version to go back to in erlmcp_cluster_rollback_version"


def rollback_problems(nodes, version, cut_off=False):
    """Return what a rollback would not mend, as texts with the next action.

    What is wrong with a node on another release is no reason to refuse: that may be why the cluster goes back. One
    that crashes again and again is healthy in between, when it was asked, and not yet seen by the others.

    :param nodes: inventory name to ``name`` (of the node), ``current`` (version, or ``None``), ``healthy``, ``detail``
        and ``missing`` (names of the nodes that it does not see, or does not share its tables with).
    :param version: the version to go back to.
    :param cut_off: whether a run was cut off before. It can have left one node in any state; the rollback starts it.
    """
    leaving = {node["name"] for node in nodes.values() if node["current"] != version}
    problems = _not_mended(nodes, version, leaving)
    if cut_off and any(
        not _not_mended({name: node for name, node in nodes.items() if name != host}, version, {*leaving, one["name"]})
        for host, one in nodes.items()
    ):
        return []
    if problems:
        problems.append(
            "Going back does not mend that. Repair it first (site, repair_partition), or take the risk with "
            "erlmcp_cluster_force: true."
        )
    return problems


def _not_mended(nodes, version, leaving):
    problems = []
    for host, node in nodes.items():
        missing = sorted(set(node["missing"]) - leaving)
        if node["current"] == version and not node["healthy"]:
            problems.append(f"{host} is on release {version} already and is not healthy: {node['detail']}.")
        elif node["current"] == version and missing:
            problems.append(f"{host} does not see, or does not share its tables with, {', '.join(missing)}.")
    return problems


def _otp(erts):
    major = str(erts).partition(".")[0]
    return int(major) + _OTP_OF_ERTS if major.isdigit() and int(major) >= _FIRST_ERTS else None
