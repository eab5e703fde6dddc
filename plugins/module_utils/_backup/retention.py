# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which archives stay. Pure.

What is deleted cannot be asked for again, so every doubt keeps: an archive with a problem, one from the future, and
everything of a host of which nothing is proven.
"""

from __future__ import annotations

import datetime
from typing import Any, NamedTuple

UNVERIFIED = "no archive of this host is verified, so none is removed"


class Decision(NamedTuple):
    """What becomes of one archive. ``reasons`` says why it stays, and is empty when it goes."""

    backup: Any
    keep: bool
    reasons: list[str]


def plan_retention(backups, now, keep_days=30, keep_daily=0, keep_weekly=0, keep_monthly=0, keep_last=1):
    """Decide for each archive, host by host.

    The newest verified one always stays. Days, weeks (ISO) and months are of UTC; those without an archive are not
    counted.

    :param backups: objects with ``host``, ``time`` (aware datetime), ``name``, ``verified`` and ``problem``.
    :param now: aware datetime.
    :param keep_days: all that are younger stay.
    :param keep_daily, keep_weekly, keep_monthly: so many days, weeks and months keep their newest.
    :param keep_last: so many stay, whatever their age.
    :return: list of :class:`Decision`, in the order of ``backups``.
    """
    reasons = {id(backup): [doubt(backup, now)] if doubt(backup, now) else [] for backup in backups}
    sound = sorted(
        (backup for backup in backups if not doubt(backup, now)),
        key=lambda backup: (backup.time, backup.name),
        reverse=True,
    )
    for host in {backup.host for backup in sound}:
        newest_first = [backup for backup in sound if backup.host == host]
        kept = [
            *_last_verified(newest_first),
            *((backup, f"younger than {keep_days} days") for backup in _younger(newest_first, now, keep_days)),
            *((backup, f"one of the last {keep_last}") for backup in newest_first[:keep_last]),
            *((backup, f"newest of {day}") for day, backup in _newest(newest_first, keep_daily, "%Y-%m-%d")),
            *((backup, f"newest of week {week}") for week, backup in _newest(newest_first, keep_weekly, "%G-W%V")),
            *((backup, f"newest of month {month}") for month, backup in _newest(newest_first, keep_monthly, "%Y-%m")),
        ]
        for backup, reason in kept:
            reasons[id(backup)].append(reason)
    return [Decision(backup, bool(reasons[id(backup)]), reasons[id(backup)]) for backup in backups]


def doubt(backup, now):
    """Return why an archive counts for nothing and is left to people, or ``None``."""
    if backup.problem:
        return backup.problem
    if backup.time > now:
        return f"{backup.name} is from the future"
    return None


def _last_verified(newest_first):
    for backup in newest_first:
        if backup.verified:
            return [(backup, "last verified")]
    return [(backup, UNVERIFIED) for backup in newest_first]


def _younger(newest_first, now, days):
    return [backup for backup in newest_first if now - backup.time < datetime.timedelta(days=days)]


def _newest(newest_first, count, period):
    """Return (period, its newest) of the last ``count`` periods that have one."""
    newest = {}
    for backup in newest_first:
        newest.setdefault(backup.time.astimezone(datetime.timezone.utc).strftime(period), backup)
    return list(newest.items())[:count]
