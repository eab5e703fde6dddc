# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The way back: forget what waits, or let the previous set wait."""

from __future__ import annotations

import os
from dataclasses import replace

from .._core.errors import OpsError
from .._core.files import read_if_there
from .._core.slots import Slots
from .left_behind import left_behind
from .plan import FILES
from .validate import validate


def plan_revert(slots):
    """Return the :class:`SlotState` after a revert.

    Reverting again before the restart changes nothing, so a run that died can be repeated.
    """
    if slots.next is not None and slots.next == slots.previous:
        return slots
    return replace(slots, next=None if slots.next is not None else slots.previous)


def revert(module, runner):
    """The module ``config`` with ``state=reverted``."""
    node = module.params["node"]
    slots = Slots(node["config_dir"], "sets")
    before = slots.state()
    after = plan_revert(before)
    validated = before != after and after.next is not None and _validate(slots, after, node, runner)
    if before != after and not module.check_mode:
        if after.next is None:
            slots.unstage()
        else:
            slots.stage(after.next)
    return {
        "changed": before != after,
        "steps": ["revert"] if before != after else [],
        "set": after.wanted,
        "staged": after.next is not None,
        "current": after.current,
        "next": after.next,
        "previous": after.previous,
        "validated": validated,
        "diff": {"before": f"next: {before.next}\n", "after": f"next: {after.next}\n"},
    }


def _validate(slots, after, node, runner):
    """Refuse a set with which the node would leave its rows behind, or that was changed since it ran."""
    directory = slots.path(after.next)
    files = _files(directory)
    behind = left_behind(after.current and _files(slots.path(after.current)), files, node["service"])
    if behind:
        raise _refused(directory, f"is of another time: {behind[0]}")
    try:
        missing = [name for name, content in files.items() if content is None]
        if missing:
            raise OpsError(f"{' and '.join(missing)} is missing", kind="config")
        return validate(files, node, runner, [])
    except OpsError as error:
        raise _refused(directory, f"is not what it was when it ran: {error}") from error


def _files(directory):
    return {name: read_if_there(os.path.join(directory, name)) for name in FILES}


def _refused(directory, problem):
    return OpsError(
        f"the previous config set {directory} {problem}. Nothing was changed. Correct the inventory and run the "
        "playbook site, which makes a set anew",
        kind="config",
    )
