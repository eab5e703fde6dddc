# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which node of a cluster gets back what, when the last restore is taken back. Pure."""

from __future__ import annotations

import os

from .._core.errors import OpsError
from .safety import FAILED
from .under_way import KEPT, STAGED

_ARCHIVES = "Restore archives of that time instead (erlmcp_backup_restore_before)"


def plan_undo(hosts, nodes, found):
    """Choose what each host gets back, so that it is of one restore on all of them.

    :param hosts: inventory names of the hosts of the run.
    :param nodes: inventory name to node name, of all hosts of the inventory.
    :param found: inventory name to what module ``backup_info`` returned.
    :return: inventory name to a dict as of :func:`.cluster_plan.plan_cluster`; its ``archive`` is a safety copy.
    :raises OpsError: when one of them has none, when they are of several restores, or when a host is not here.
    """
    left = {host: found[host]["restore"] for host in hosts if found[host]["restore"]}
    undone = {host: state["archive"] for host, state in left.items() if state["undo"]}
    if any(state["undo"] and state["phase"] == KEPT for state in left.values()):
        # Who has nothing under way any more has come to the end that the others are brought to.
        return {host: _part(undone.get(host), "") for host in hosts}
    unended = {host: each for host, each in left.items() if not each["undo"] and each["phase"] not in (STAGED, KEPT)}
    if unended:
        _check_is_of_all(unended, {nodes[host] for host in hosts})
        # What is done with it first (:func:`.under_way.plan_leftovers`) is all that has to be done.
        return {host: _part(None, "") for host in hosts}
    last = {host: _last(found[host], left.get(host), undone.get(host)) for host in hosts}
    _check_all_have_one(last)
    _check_one_run(last)
    together = {node for copy in last.values() for node in copy["together"]}
    missing = sorted(together - {nodes[host] for host in hosts})
    if missing:
        raise OpsError(
            f"what {', '.join(hosts)} had before is of a restore together with {', '.join(missing)}, and those are "
            "not in this run: one of them would not start any more. Run this for the whole group, without --limit. "
            f"When one is lost for good, this cannot be taken back. {_ARCHIVES}",
            kind="plan",
        )
    return {host: _part(os.path.basename(copy["path"]), _text(host, nodes[host], copy)) for host, copy in last.items()}


def _check_is_of_all(unended, run):
    alone = sorted(host for host, state in unended.items() if len(run) > 1 and not run <= set(state["together"]))
    if alone:
        raise OpsError(
            f"a restore of {', '.join(alone)} has not ended, and the other hosts here took no part in it: run the "
            "playbook restore there first (--limit), which ends it",
            kind="plan",
        )


def _last(there, state, undone):
    """What was moved aside last, or what an undo that has not ended is putting back; ``None`` for nothing."""
    copies = [copy for copy in there["safety_copies"] if copy["kind"] != FAILED]
    if undone:
        known = {os.path.basename(copy["path"]): copy for copy in copies}
        return known.get(undone) or {"path": undone, "under_way": state, "together": []}
    if not copies:
        return None
    # A restore that has not ended has not noted yet what it has moved aside.
    told = state if state and state["phase"] == KEPT else {}
    return {**copies[-1], **{name: told[name] for name in ("run", "together") if name in told}}


def _check_all_have_one(last):
    without = sorted(host for host, copy in last.items() if copy is None)
    if without:
        raise OpsError(
            f"nothing that a restore has replaced stands on {', '.join(without)}, so there is none to be taken back "
            f"there. {_ARCHIVES}",
            kind="plan",
        )


def _check_one_run(last):
    # Of an undo that is under way this was seen before it began.
    known = {host: copy for host, copy in last.items() if "under_way" not in copy}
    runs = {copy["run"] for copy in known.values()}
    if len(runs) > 1 or (None in runs and len(last) > 1):
        told = "; ".join(f"{host}: {_restore_of(copy)}" for host, copy in sorted(known.items()))
        raise OpsError(
            f"what the hosts had before is not of one restore ({told}), and they would not fit each other. {_ARCHIVES}",
            kind="plan",
        )


def _restore_of(copy):
    return f"{os.path.basename(copy['path'])}, of the restore that began at {copy['run'] or 'a time that nobody noted'}"


def _text(host, node, copy):
    if "under_way" in copy:
        return f"{host} ({node}) gets back {os.path.basename(copy['path'])}, which is under way"
    by = f", which {copy['replaced_by']} has replaced" if copy["replaced_by"] else ""
    return f"{host} ({node}) gets back {copy['path']}{by} at {copy['time']}"


def _part(archive, text):
    return {"archive": archive, "tables_archive": None, "node_map": {}, "files": [], "copies": [], "text": text}
