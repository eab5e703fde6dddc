#!/usr/bin/env python
# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Times site.yml against fact gathering alone, in one run, since machines differ; and what a host more costs."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import yaml
from testlib import Played

SHARED = Path(__file__).parent
SITE = "erlmcp.ops.site"
SIZES = (3, 6, 12)
ROUNDS = 5


@dataclass(frozen=True)
class Run:
    """Seconds of a run, of the control node's processor in user mode and in all, and its tasks: (seconds, name)."""

    seconds: float
    user: float
    cpu: float
    tasks: tuple


def hosts(*arguments):
    subprocess.run([sys.executable, SHARED / "hosts.py", *arguments], check=True, stdout=subprocess.DEVNULL)


def make_inventory(directory, size):
    """Write an inventory of so many hosts, which begins like the smaller ones; return its directory."""
    made = directory / str(size)
    made.mkdir()
    (made / "group_vars").symlink_to(SHARED / "group_vars")
    group = {f"n{number}.bench.test": {"ansible_host": f"10.83.15.{10 + number}"} for number in range(1, size + 1)}
    inventory = {"all": {"children": {"erlmcp": {"hosts": group, "vars": {"erlmcp_cluster_name": "bench"}}}}}
    (made / "hosts.yml").write_text(yaml.safe_dump(inventory, sort_keys=False))
    return made


def run(playbook, inventory):
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        ["ansible-playbook", "-i", inventory, playbook],
        env={**os.environ, "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    report = json.loads(done.stdout[done.stdout.index("{\n") :])
    if done.returncode:
        raise SystemExit(f"{playbook}: {Played(done.returncode, done.stdout, report).messages}")
    tasks = tuple(
        (_seconds(task["task"]["duration"]), task["task"]["name"]) for play in report["plays"] for task in play["tasks"]
    )
    user = after.ru_utime - before.ru_utime
    return Run(seconds, user, user + after.ru_stime - before.ru_stime, tasks)


def _seconds(duration):
    start, end = (_timestamp(duration[each]) for each in ("start", "end"))
    return end - start


def _timestamp(text):
    from datetime import datetime

    return datetime.fromisoformat(text.rstrip("Z")).timestamp()


def show_slowest(title, tasks):
    print(f"\n{title}: {len(tasks)} tasks, of which the ten slowest:")
    for duration, name in sorted(tasks, reverse=True)[:10]:
        print(f"{duration:>8.2f}  {name}")


def main():
    with tempfile.TemporaryDirectory() as directory:
        directory = Path(directory)
        inventories = {size: make_inventory(directory, size) for size in SIZES}
        facts = directory / "facts.yml"
        facts.write_text("- {name: Floor, hosts: erlmcp, gather_facts: true}\n")
        first, floors, seconds = None, {}, {}
        for size, inventory in inventories.items():
            hosts("up", inventory / "hosts.yml")
            if first is None:
                hosts("reset", inventory / "hosts.yml")
            run(facts, inventory)
            grown = run(SITE, inventory)
            first = first or grown
            # In turns, since a machine that others use is not equally fast from one minute to the next.
            rounds = [(run(facts, inventory), run(SITE, inventory)) for _round in range(ROUNDS)]
            floors[size], seconds[size] = zip(*rounds)
        hosts("down", inventories[SIZES[-1]] / "hosts.yml")
    show(first, floors, seconds)


def show(first, floors, seconds):
    floor = median(each.seconds for each in floors[SIZES[0]])
    print(f"medians of {ROUNDS} rounds; cpu: the control node's; ratio: to the facts of {SIZES[0]} hosts")
    print(f"{'':<28}{'seconds':>8}{'ratio':>8}{'user':>8}{'cpu':>8}")

    def row(name, runs):
        wall, user, cpu = (median(getattr(each, field) for each in runs) for field in ("seconds", "user", "cpu"))
        print(f"{name:<28}{wall:>8.2f}{wall / floor:>8.2f}{user:>8.2f}{cpu:>8.2f}")
        return wall, cpu

    row(f"facts alone, {SIZES[0]} hosts (floor)", floors[SIZES[0]])
    row(f"first run, {SIZES[0]} hosts", [first])
    figures = {size: row(f"second run, {size} hosts", seconds[size]) for size in SIZES}
    for small, large in zip(SIZES, SIZES[1:]):
        wall, cpu = ((after - before) / (large - small) for before, after in zip(figures[small], figures[large]))
        print(f"a host more, from {small} to {large}: {cpu:.2f} s of the control node's processor, {wall:.2f} s")
    ratios = (site.seconds / facts.seconds for facts, site in zip(floors[SIZES[0]], seconds[SIZES[0]]))
    print(f"second run, {SIZES[0]} hosts, ratio of each round: {', '.join(f'{ratio:.2f}' for ratio in ratios)}")
    show_slowest("first run", first.tasks)
    show_slowest("second run", min(seconds[SIZES[0]], key=lambda each: each.seconds).tasks)


if __name__ == "__main__":
    main()
