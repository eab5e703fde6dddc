# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Archives and safety copies that need not be kept any longer."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field

from .._core.errors import OpsError
from .lock import Lock
from .retention import UNVERIFIED, doubt, plan_retention
from .safety import SafetyCopies, plan_safety_copies
from .store import Store

_KEEP = ("keep_days", "keep_daily", "keep_weekly", "keep_monthly", "keep_last")
_COPIES = "safety_copy_days"
_HUNDRED_YEARS = 36525


@dataclass(frozen=True)
class Plan:
    """What goes, and why the rest stays. ``decisions`` are of the retention, ``copies`` are :class:`SafetyCopy`."""

    decisions: list
    leftovers: list
    copies: list = field(default_factory=list)
    copies_going: list = field(default_factory=list)
    copies_leftovers: list = field(default_factory=list)
    warnings: list = field(default_factory=list)

    @property
    def going(self):
        return [decision.backup for decision in self.decisions if not decision.keep]

    def result(self):
        """Return what the module returns, in check mode too."""
        archives = [decision.backup.name for decision in self.decisions]
        removed = [backup.name for backup in self.going]
        copies = [copy.path for copy in self.copies]
        removed_copies = [copy.path for copy in self.copies_going]
        leftovers = [*self.leftovers, *self.copies_leftovers]
        return {
            "changed": bool(removed or removed_copies or leftovers),
            "removed": removed,
            "kept": [
                {"name": decision.backup.name, "reasons": decision.reasons}
                for decision in self.decisions
                if decision.keep
            ],
            "removed_safety_copies": removed_copies,
            "cleared": leftovers,
            "freed_bytes": sum(each.size for each in [*self.going, *self.copies_going]),
            "warnings": self.warnings,
            "diff": {
                "before": _lines([*archives, *copies, *leftovers]),
                "after": _lines(each for each in [*archives, *copies] if each not in {*removed, *removed_copies}),
            },
        }


def backup_prune(module, runner):
    """The module ``backup_prune``."""
    options = module.params
    _check(options)
    prune = Prune(options)
    if module.check_mode:
        Lock.wait_until_free(options["run_dir"], options["service"])
        return prune.plan().result()
    with Lock(options["run_dir"], options["service"], "prune"):
        plan = prune.plan()
        prune.apply(plan)
    return plan.result()


class Prune:
    """Prunes one store and the safety copies of one data directory.

    :param options: of the module.
    """

    def __init__(self, options):
        self._options = options
        self._store = Store(options["store_dir"])
        self._copies = SafetyCopies(options["data_dir"])

    def plan(self):
        """Look, and return the :class:`Plan`."""
        now = datetime.datetime.now(datetime.timezone.utc)
        decisions = plan_retention(self._store.backups(), now, **{name: self._options[name] for name in _KEEP})
        leftovers = self._store.leftovers()
        warnings = _warnings(decisions, now)
        copies = self._copies.found()
        if self._copies.in_use():
            warnings.append("a restore is staged or was cut off, so no safety copy is removed")
            return Plan(decisions, leftovers, copies, warnings=warnings)
        going = plan_safety_copies(copies, now, self._options[_COPIES])
        return Plan(decisions, leftovers, copies, going, self._copies.leftovers(), warnings)

    def apply(self, plan):
        """Do what ``plan`` says; the caller holds the lock. Cut off at any point, the next run does the rest."""
        self._store.clear(plan.leftovers)
        for backup in plan.going:
            self._store.remove(backup)
        self._copies.clear(plan.copies_leftovers)
        for copy in plan.copies_going:
            self._copies.remove(copy)


def _check(options):
    for name in (*_KEEP, _COPIES):
        if not 0 <= options[name] <= _HUNDRED_YEARS:
            raise OpsError(f"{name}: {options[name]} is not from 0 to {_HUNDRED_YEARS}", kind="input")


def _warnings(decisions, now):
    doubts = [(decision.backup.name, doubt(decision.backup, now)) for decision in decisions]
    unverified = {decision.backup.host for decision in decisions if UNVERIFIED in decision.reasons}
    return [
        *(
            f"{problem}: it is never removed and counts for nothing, look at {name}"
            for name, problem in doubts
            if problem
        ),
        *(f"{host}: {UNVERIFIED}: run the playbook verify_backups" for host in sorted(unverified)),
    ]


def _lines(names):
    return "".join(f"{name}\n" for name in names)
