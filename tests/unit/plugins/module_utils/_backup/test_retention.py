# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.retention import UNVERIFIED, plan_retention

NOW = datetime(2026, 6, 15, 12, tzinfo=timezone.utc)
NOTHING = {"keep_days": 0, "keep_daily": 0, "keep_weekly": 0, "keep_monthly": 0, "keep_last": 0}


@dataclass(frozen=True)
class Archive:
    name: str
    time: datetime
    host: str = "a"
    verified: bool = True
    problem: str | None = None


def daily(count, **more):
    """One a day, the newest of today, oldest first."""
    return [Archive(f"{age:03}", NOW - timedelta(days=age, hours=1), **more) for age in reversed(range(count))]


def kept(backups, now=NOW, **keep):
    return [backup.name for backup, keep, _reasons in plan_retention(backups, now, **{**NOTHING, **keep}) if keep]


def test_young_ones_stay():
    assert kept(daily(60), keep_days=3) == ["002", "001", "000"]


def test_an_archive_is_no_longer_young_on_the_second():
    exactly = Archive("exactly", NOW - timedelta(days=3))
    assert kept([exactly, *daily(1)], keep_days=3) == ["000"]


def test_the_newest_of_the_last_days_weeks_and_months_stay():
    backups = daily(100)
    assert kept(backups, keep_daily=2) == ["001", "000"]
    # 15 June 2026 is a Monday.
    assert kept(backups, keep_weekly=3) == ["008", "001", "000"]
    assert kept(backups, keep_monthly=3) == ["046", "015", "000"]


def test_days_without_an_archive_are_not_counted():
    backups = [Archive(str(age), NOW - timedelta(days=age)) for age in (300, 200, 100)]
    assert kept(backups, keep_daily=2) == ["200", "100"]


def test_weeks_are_iso_weeks_across_the_year():
    # Both in week 2026-W01.
    backups = [Archive("2025", datetime(2025, 12, 30, tzinfo=timezone.utc))]
    backups.append(Archive("2026", datetime(2026, 1, 2, tzinfo=timezone.utc)))
    assert kept(backups, keep_weekly=2) == ["2026"]


def test_days_are_days_of_utc():
    east = timezone(timedelta(hours=10))
    late = datetime(2026, 6, 1, 23, tzinfo=timezone.utc).astimezone(east)
    backups = [Archive("late", late), Archive("early", datetime(2026, 6, 2, 1, tzinfo=timezone.utc))]
    assert kept(backups, keep_daily=2) == ["late", "early"]


def test_the_last_verified_one_stays_for_ever():
    old = Archive("good", NOW - timedelta(days=4000))
    backups = [old, *daily(5, verified=False)]
    assert kept(backups, keep_last=1) == ["good", "000"]
    assert plan_retention(backups, NOW, **NOTHING)[0].reasons == ["last verified"]


def test_without_a_verified_one_nothing_goes():
    decisions = plan_retention(daily(50, verified=False), NOW, **NOTHING)
    assert all(decision.keep and UNVERIFIED in decision.reasons for decision in decisions)


def test_each_host_has_its_own():
    backups = [*daily(3), *daily(3, host="b", verified=False)]
    assert kept(backups) == ["000", "002", "001", "000"]


def test_a_verified_one_with_a_problem_counts_for_nothing():
    backups = [*daily(3, verified=False), Archive("bad", NOW - timedelta(minutes=1), problem="it is empty")]
    decisions = plan_retention(backups, NOW, **NOTHING)
    assert decisions[-1].reasons == ["it is empty"]
    assert all(decision.keep for decision in decisions)


def test_one_from_the_future_counts_for_nothing():
    backups = [*daily(3), Archive("wrong clock", NOW + timedelta(days=3000))]
    assert kept(backups, keep_last=1) == ["000", "wrong clock"]


def random_archives(dice):
    def archive(number):
        age = timedelta(seconds=dice.choice([86400, 86400 * 30, 86400 * 900]) * dice.uniform(-0.05, 1))
        problem = "bad" if dice.random() < 0.1 else None
        return Archive(str(number), NOW - age, dice.choice("ab"), dice.random() < 0.3, problem)

    backups = [archive(number) for number in range(dice.randrange(40))]
    dice.shuffle(backups)
    return backups


def random_keep(dice):
    return {name: dice.choice([0, 0, 1, 2, 3, 10]) for name in NOTHING}


@pytest.mark.parametrize("seed", range(500))
def test_whatever_there_is(seed):
    dice = random.Random(seed)
    backups, keep = random_archives(dice), random_keep(dice)
    decisions = plan_retention(backups, NOW, **keep)
    assert [decision.backup for decision in decisions] == backups
    assert all(decision.keep == bool(decision.reasons) for decision in decisions)
    stays = {decision.backup for decision in decisions if decision.keep}
    assert {each for each in backups if each.problem or each.time > NOW} <= stays
    for host in "ab":
        sound = [each for each in backups if each.host == host and not each.problem and each.time <= NOW]
        good = max((each for each in sound if each.verified), key=lambda each: each.time, default=None)
        assert good in stays if good else set(sound) <= stays

    # A second run finds nothing to do, and the order of the files in the directory says nothing.
    shuffled = dice.sample(backups, len(backups))
    assert {each.backup for each in plan_retention(shuffled, NOW, **keep) if each.keep} == stays
    assert all(each.keep for each in plan_retention([each for each in backups if each in stays], NOW, **keep))

    # Who asks for more to be kept loses nothing.
    more = {name: count + dice.choice([0, 1, 5]) for name, count in keep.items()}
    assert stays <= {each.backup for each in plan_retention(backups, NOW, **more) if each.keep}
