# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The way back: forget what waits, or let the previous set wait."""

from __future__ import annotations

from dataclasses import replace

from .._core.slots import Slots


def plan_revert(slots):
    """Return the :class:`SlotState` after a revert.

    Reverting again before the restart changes nothing, so a run that died can be repeated.
    """
    if slots.next is not None and slots.next == slots.previous:
        return slots
    return replace(slots, next=None if slots.next is not None else slots.previous)


def revert(module):
    """The module ``config`` with ``state=reverted``."""
    slots = Slots(module.params["node"]["config_dir"], "sets")
    before = slots.state()
    after = plan_revert(before)
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
        "validated": False,
        "diff": {"before": f"next: {before.next}\n", "after": f"next: {after.next}\n"},
    }
