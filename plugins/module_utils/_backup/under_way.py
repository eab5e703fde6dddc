# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How far a restore is on a host, as it is noted beside the data directory, and what a killed run calls for. Pure."""

from __future__ import annotations

import json
import os

from .._core.errors import OpsError

# Built beside what serves; nothing was stopped.
STAGED = "staged"
# Stopped to be exchanged. Whether that happened the directories say.
EXCHANGED = "exchanged"
# Serves with every row; the way back is still open.
PROVEN = "proven"
# Decided when all nodes were proven: what is in service stays.
KEPT = "kept"
# Decided when one was not: every node gets back what it had.
WITHDRAWN = "withdrawn"

KEEP = "keep"
WITHDRAW = "withdraw"


def work_directory(data_dir):
    """Path of the directory in which a restore of ``data_dir`` does its work."""
    parent, name = os.path.split(os.path.realpath(data_dir))
    return os.path.join(parent, f".{name}.restore")


def read_state(data_dir):
    """Return what is noted of a restore that has not ended, or ``None``."""
    try:
        with open(os.path.join(work_directory(data_dir), "state.json"), encoding="utf-8") as stream:
            return json.load(stream)
    except FileNotFoundError:
        return None


def the_playbook(state):
    """Say which playbook ends the restore, or the undo, of which ``state`` is noted."""
    return "the playbook restore" + (" with erlmcp_backup_restore_undo: true" if state.get("undo") else "")


def summary(data_dir):
    """Return what module ``backup_info`` tells of it."""
    state = read_state(data_dir)
    if state is None:
        return None
    told = {name: state[name] for name in ("phase", "archive", "together")}
    # A run of an older version has not noted these.
    return {**told, "run": state.get("run"), "undo": bool(state.get("undo"))}


def plan_leftovers(found, nodes, wanted, lost=(), undo=False):
    """Decide what has to be done with what runs have left that were killed, before another restore begins.

    :param found: inventory name of each host to its :func:`summary`.
    :param nodes: inventory name to node name, of all hosts of the inventory.
    :param wanted: inventory name to the archive that the host is to get now, or to the safety copy.
    :param lost: inventory names of hosts that do not come back.
    :param undo: whether the last restore is to be taken back now.
    :return: ``action``, which is ``keep``, ``withdraw`` or empty, ``done``, whether nothing is left to be restored
        after it, ``text`` for the operator, and ``run``, the one that is gone on with, or empty.
    :raises OpsError: when hosts are missing on which that restore is under way too.
    """
    left = {host: state for host, state in found.items() if state}
    _check_all_are_here(left, {nodes.get(host, host) for host in [*found, *lost]})
    phases = {state["phase"] for state in left.values()}
    same = all(state["archive"] == wanted[host] for host, state in left.items())
    # What every node had before a restore that has not ended is what an undo of it brings.
    is_undone = undo and not any(state["undo"] for state in left.values())
    if WITHDRAWN in phases:
        text = "a restore was being taken back when its run ended: every node gets what it had"
        return _leftovers(WITHDRAW, text, done=is_undone)
    if KEPT in phases:
        text = "a restore had succeeded on all nodes when its run ended: what is in service stays"
        return _leftovers(KEEP, text, done=same)
    run = next((state["run"] for state in left.values() if same and state["run"]), "")
    if phases <= {STAGED}:
        return _leftovers("", "", run=run)
    if same and len(left) == len(found):
        what = "the same undo" if undo else "a restore of the same archives"
        return _leftovers("", f"{what} is under way: going on with it", run=run)
    why = "of other archives" if not same else f"that {', '.join(sorted(set(found) - set(left)))} took no part in"
    text = f"a restore {why} has not ended: every node gets what it had before it"
    return _leftovers(WITHDRAW, text, done=is_undone)


def _check_all_are_here(left, present):
    missing = sorted({node for state in left.values() for node in state["together"]} - present)
    if missing:
        raise OpsError(
            f"a restore of {', '.join(sorted(left))} together with {', '.join(missing)} has not ended, and those are "
            f"not in this run: run {the_playbook(next(iter(left.values())))} on all of them, without --limit. Name "
            "hosts that are lost for good in erlmcp_backup_restore_lost",
            kind="restore",
        )


def _leftovers(action, text, done=False, run=""):
    return {"action": action, "done": done, "text": text, "run": run}


def outcome(results, own):
    """Say why a restore failed, and what each node has now, going by what each has answered.

    :param results: inventory name to the results of its restore and of its way back, each ``None`` if there is none.
    :param own: inventory name of the host whose message this is.
    """
    reasons = {host: restored["msg"] for host, (restored, _back) in results.items() if (restored or {}).get("failed")}
    told = [f"{host} could not be restored" for host in sorted(reasons)]
    # What Ansible has of a host that could not be reached is of the step before.
    silent = {host for host, (_restored, back) in results.items() if not back} - set(reasons)
    told += [f"{host} has not answered" for host in sorted(silent)]
    reason = reasons.get(own, "; ".join(told)).rstrip(".")
    if len(results) == 1:
        return reason
    back = {host for host, (_restored, resumed) in results.items() if (resumed or {}).get("back")}
    if back == set(results):
        return f"{reason}. Every node has back what it had."
    return (
        f"{reason}. These nodes have back what they had: {', '.join(sorted(back)) or 'none'}. Of these it is not "
        f"known: {', '.join(sorted(set(results) - back))}. Repair what is named above, then run the playbook restore "
        "on all of them again, which ends this restore first"
    )
