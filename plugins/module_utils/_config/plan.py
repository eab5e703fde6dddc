# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From what is on disk and what is wanted to what has to be done; no input, no output."""

from __future__ import annotations

from dataclasses import dataclass, field

from .._core.slots import SlotState
from .live import same_but_live

FILES = ("sys.config", "vm.args", "env.sh")


@dataclass(frozen=True)
class StoredSet:
    """The files of one set as bytes, ``None`` for one that is missing; ``intact`` means owner and modes are right."""

    files: dict
    intact: bool = True

    def holds(self, wanted):
        return self.intact and self.files == wanted


@dataclass(frozen=True)
class Observed:
    """What is on disk.

    :param sets: entry name to :class:`StoredSet`, for the entries behind ``current`` and ``next``.
    :param by_hand: name to content of the files an operator made in the place of our links.
    :param unlinked: names whose link into ``current`` is missing or is something else.
    """

    slots: SlotState = SlotState()
    sets: dict = field(default_factory=dict)
    by_hand: dict = field(default_factory=dict)
    unlinked: tuple = FILES


@dataclass(frozen=True)
class Plan:
    """What has to be done, in this order.

    :param adopted: the hand-made files that become the current set, so that a crash before the restart, or a
        rollback, finds what runs now; ``None`` when there is nothing to adopt.
    :param stage: lay down the wanted set and let it wait in ``next``.
    :param replace: make the wanted set current at once, because it differs from the current one in live settings only.
    :param unstage: forget what waits in ``next``, because the wanted set is current.
    :param links: names to link into ``current``.
    :param before: the files that would have run from the next restart on, for the diff.
    """

    adopted: dict | None
    stage: bool
    replace: bool
    unstage: bool
    links: tuple
    before: dict

    @property
    def adopt(self):
        return self.adopted is not None

    @property
    def steps(self):
        steps = [step for step in ("adopt", "stage", "replace", "unstage") if getattr(self, step)]
        return [*steps, *(f"link {name}" for name in self.links)]


def made_by_hand(observed):
    """Return name to content, for each of ``FILES``, of what an operator made there; ``None`` where there is none."""
    return {name: observed.by_hand.get(name) for name in FILES} if observed.by_hand else None


def plan(wanted, observed):
    """Return the :class:`Plan` that makes ``wanted`` run from the next restart on.

    :param wanted: name to content as bytes, for each of ``FILES``.
    """
    current = observed.sets.get(observed.slots.current)
    waiting = observed.sets.get(observed.slots.next)
    adopted = made_by_hand(observed) if current is None else None
    if adopted:
        current = StoredSet(adopted)
    is_current = current is not None and current.holds(wanted)
    waits = waiting is not None and waiting.holds(wanted)
    before = waiting or current
    replace = not is_current and current is not None and current.intact and same_but_live(current.files, wanted)
    return Plan(
        adopted=adopted,
        stage=not is_current and not waits and not replace,
        replace=replace,
        unstage=(is_current or replace) and waiting is not None,
        links=tuple(observed.unlinked),
        before=before.files if before else dict.fromkeys(FILES),
    )
