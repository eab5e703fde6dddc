# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether all nodes of a cluster can change to a release one after the other; no input, no output."""

from __future__ import annotations

from .._core.errors import OpsError

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
    """Return the version to go back to.

    :param nodes: inventory name to ``current`` and ``previous`` (versions, or ``None``).
    :param asked: what the operator named.
    :raises OpsError: when there is none, or the nodes do not agree.
    """
    if asked:
        return asked
    current = sorted({str(node["current"]) for node in nodes.values()})
    if len(current) > 1:
        raise OpsError(
            f"the nodes are on {' and '.join(current)}, as after a change that was cut off: name the version to go "
            "back to in erlmcp_cluster_rollback_version"
        )
    previous = sorted({str(node["previous"]) for node in nodes.values()})
    if len(previous) > 1 or previous == ["None"]:
        told = "; ".join(f"{host}: {node['previous'] or 'none'}" for host, node in nodes.items())
        raise OpsError(
            f"the nodes do not have one release before {current[0]} ({told}): name the version to go back to in "
            "erlmcp_cluster_rollback_version"
        )
    return previous[0]


def _otp(erts):
    major = str(erts).partition(".")[0]
    return int(major) + _OTP_OF_ERTS if major.isdigit() and int(major) >= _FIRST_ERTS else None
