#!/usr/bin/env python
# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Times site.yml on three hosts against fact gathering alone, in one run, since machines differ."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

SHARED = Path(__file__).parent
INVENTORY = SHARED.parent / "default" / "inventory"
FACTS = "- {name: Floor, hosts: erlmcp, gather_facts: true}\n"


def hosts(*arguments):
    subprocess.run([sys.executable, SHARED / "hosts.py", *arguments], check=True, stdout=subprocess.DEVNULL)


def run(playbook):
    """Return (seconds, tasks) of a run; a task is (seconds, name)."""
    started = time.monotonic()
    done = subprocess.run(
        ["ansible-playbook", "-i", INVENTORY, playbook],
        env={**os.environ, "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"},
        capture_output=True,
        text=True,
        check=True,
    )
    seconds = time.monotonic() - started
    return seconds, [
        (_seconds(task["task"]["duration"]), task["task"]["name"])
        for play in json.loads(done.stdout[done.stdout.index("{") :])["plays"]
        for task in play["tasks"]
    ]


def _seconds(duration):
    start, end = (_timestamp(duration[each]) for each in ("start", "end"))
    return end - start


def _timestamp(text):
    from datetime import datetime

    return datetime.fromisoformat(text.rstrip("Z")).timestamp()


def main():
    hosts("up", INVENTORY / "hosts.yml")
    hosts("reset", INVENTORY / "hosts.yml")
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as playbook:
        playbook.write(FACTS)
        playbook.flush()
        run(playbook.name)
        first = run("erlmcp.ops.site")[0]
        # In turns, since a machine that others use is not equally fast from one minute to the next.
        rounds = [(run(playbook.name)[0], run("erlmcp.ops.site")) for _round in range(5)]
    floor = median(facts for facts, _site in rounds)
    second = median(site[0] for _facts, site in rounds)
    tasks = min(site for _facts, site in rounds)[1]
    print("three hosts; medians of five rounds")
    print(f"{'':<28}{'seconds':>8}{'ratio':>8}")
    for name, value in (("facts alone (the floor)", floor), ("first run", first), ("second run", second)):
        print(f"{name:<28}{value:>8.2f}{value / floor:>8.2f}")
    print(f"second run, ratio of each round: {', '.join(f'{site[0] / facts:.2f}' for facts, site in rounds)}")
    print(f"tasks in the second run: {len(tasks)}")
    print("its ten slowest:")
    for duration, name in sorted(tasks, reverse=True)[:10]:
        print(f"{duration:>8.2f}  {name}")


if __name__ == "__main__":
    main()
