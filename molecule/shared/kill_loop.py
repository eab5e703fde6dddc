# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs on a host: kills backups or restores with SIGKILL at random moments, and says what it found after each.

Usage: kill_loop.py backup ROUNDS SEED
       kill_loop.py restore ROUNDS SEED ARCHIVE DIGEST ARCHIVE DIGEST

A digest is ``erlang:phash2`` of the tables, which is how old and new data are told apart.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

STORE = Path("/var/backups/erlmcp")
DATA = Path("/var/lib/erlmcp")
# Of tables that are loaded: a node that has just started may answer before.
DIGEST = (
    "ok = mnesia:wait_for_tables([erlmcp_session, erlmcp_item], 30000), "
    "erlang:phash2(lists:sort(ets:tab2list(erlmcp_session) ++ ets:tab2list(erlmcp_item)))."
)


def ops(*arguments):
    return subprocess.run(["erlmcp-ops", *arguments], capture_output=True, text=True, check=False)


def killed(arguments, longest):
    """Start the command and kill it, alone or with all it started, at a random moment; return what became of it."""
    process = subprocess.Popen(
        ["erlmcp-ops", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    time.sleep(random.uniform(0.05, longest))
    if process.poll() is not None:
        return "finished"
    if random.random() < 0.5:
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return "killed"


def partial_archives():
    """Archives with a final name that are not what their beside file says."""
    bad = []
    for path in STORE.glob("erlmcp-*.tar.*"):
        if path.suffix == ".json":
            continue
        try:
            wanted = json.loads(Path(f"{path}.json").read_text())["archive"]["sha256"]
        except (OSError, ValueError):
            bad.append(f"{path.name}: no file beside it")
            continue
        if hashlib.sha256(path.read_bytes()).hexdigest() != wanted:
            bad.append(f"{path.name}: not complete")
    return bad


def leftovers():
    return [
        str(path)
        for directory, pattern in ((STORE, ".erlmcp-*"), (DATA, ".erlmcp-*"), (DATA.parent, ".erlmcp.*"))
        for path in directory.glob(pattern)
    ]


def duration(*arguments):
    started = time.monotonic()
    done = ops(*arguments)
    if done.returncode:
        raise SystemExit(f"erlmcp-ops {arguments}: {done.stderr}")
    return time.monotonic() - started


def backups(rounds):
    longest = duration("backup")
    for _round in range(rounds):
        outcome = killed(["backup"], longest)
        problems = partial_archives()
        after = ops("backup")
        problems += [after.stderr] if after.returncode else []
        problems += [f"left: {path}" for path in leftovers()]
        for path in sorted(STORE.glob("erlmcp-*.tar.*"))[:-6]:
            path.unlink()
        yield outcome, problems


def digest():
    """Of the node's tables, started first when a kill left it stopped."""
    subprocess.run(["systemctl", "start", "erlmcp"], check=True)
    for _attempt in range(200):
        done = subprocess.run(["erlmcp", "eval", DIGEST], capture_output=True, text=True, check=False)
        if done.returncode == 0 and done.stdout.strip().isdigit():
            return done.stdout.strip()
        time.sleep(0.1)
    return f"no answer: {done.stdout}{done.stderr}"


def restores(rounds, *archives):
    known = list(zip(archives[::2], archives[1::2]))
    longest = max(duration("restore", archive, "--data-only") for archive, _digest in known)
    for number in range(rounds):
        archive, new = known[number % 2]
        old = known[1 - number % 2][1]
        outcome = killed(["restore", archive, "--data-only"], longest)
        found = digest()
        problems = [] if found in (old, new) else [f"neither old nor new: {found}"]
        again = ops("restore", archive, "--data-only")
        problems += [again.stderr] if again.returncode else []
        problems += [] if digest() == new else ["the next run did not bring the new data"]
        problems += [f"left: {path}" for path in leftovers()]
        for path in sorted(DATA.parent.glob("erlmcp.before-restore-*"))[:-2]:
            subprocess.run(["rm", "-rf", path], check=True)
        yield f"{outcome}, was {'new' if found == new else 'old'}", problems


def main():
    what, rounds, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    random.seed(seed)
    outcomes, bad = {}, []
    for outcome, problems in (backups if what == "backup" else restores)(rounds, *sys.argv[4:]):
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        bad += problems
    print(json.dumps({"rounds": rounds, "outcomes": outcomes, "problems": bad}))


if __name__ == "__main__":
    main()
