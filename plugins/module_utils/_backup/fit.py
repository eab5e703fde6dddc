# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether an archive fits a node: its name, its versions, what is asked of it. Pure."""

from __future__ import annotations

from .._core.errors import OpsError
from .versions import is_newer

# To be said in parentheses behind "restore the data only".
DATA_ONLY = "erlmcp_backup_restore_members: [data], or on the host --data-only"


def check_fit(manifest, node_name, node_map, members, installed, allow_newer=False):
    """Refuse an archive that this node cannot take.

    :param manifest: of the archive.
    :param node_name: the node that is to be restored.
    :param node_map: old node names to new ones.
    :param members: ``config`` and ``data``, what is to be restored.
    :param installed: :func:`versions` of the installed release.
    :param allow_newer: accept data of a newer release or Erlang.
    :raises OpsError: with everything that does not fit.
    """
    problems = [
        *_name_problems(manifest["node"]["name"], node_name, node_map, members),
        *(f"it has no {member}" for member in members if member not in manifest["members"]),
        *([] if allow_newer else _version_problems(manifest["versions"], installed)),
    ]
    if problems:
        raise OpsError(
            f"{manifest['id']} does not fit {node_name}: {'; '.join(problems)}", kind="fit", problems=problems
        )


def _name_problems(source, node_name, node_map, members):
    if source == node_name:
        return []
    mapped = node_map.get(source)
    if mapped is None:
        return [
            f"it is of node {source}; to restore it under another name, map that name: "
            f"node_map: {{{source}: {node_name}}}, or on the host --node-name {source}={node_name}"
        ]
    if mapped != node_name:
        return [f"node_map says that {source} becomes {mapped}"]
    if "config" in members:
        return [
            f"its config names {source}; restore the data only ({DATA_ONLY}) and let the playbook site write config"
        ]
    return []


def _version_problems(archive, installed):
    if installed["release"] is None:
        return ["no release is installed here: run the playbook site first"]
    return [
        f"it was written by {what} {archive[key]}, and {installed[key]}, which is installed, may not read its "
        f"schema. Install {archive[key]} first, or take the risk with erlmcp_backup_restore_allow_newer: true, or on "
        "the host with --allow-newer"
        for key, what in (("release", "release"), ("erts", "Erlang runtime"))
        if archive[key] and installed[key] and is_newer(archive[key], installed[key])
    ]
