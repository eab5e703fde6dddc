# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs on a host: asks for the restore of one damaged archive after the other, and says which were not refused.

Usage: damage_loop.py ARCHIVE COUNT SEED
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from mutate import mutations


def main_pid():
    return subprocess.run(
        ["systemctl", "show", "-P", "MainPID", "erlmcp"], capture_output=True, text=True, check=True
    ).stdout.strip()


def main():
    archive, count, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    running = main_pid()
    refused, taken, unexpected, stopped = 0, [], [], []
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        for path, description in mutations(archive, Path(f"{archive}.json"), Path(directory), count, seed):
            done = subprocess.run(
                ["erlmcp-ops", "restore", path, "--data-only"], capture_output=True, text=True, check=False
            )
            if done.returncode == 0:
                taken.append(description)
            elif done.returncode != 1 or "Traceback" in done.stderr or not done.stderr.strip():
                unexpected.append(f"{description}: {done.returncode} {done.stderr[-2000:]}")
            else:
                refused += 1
            if main_pid() != running:
                stopped.append(description)
                running = main_pid()
        left = [str(path) for path in Path("/var/lib").glob(".erlmcp.*")]
        shutil.rmtree(directory)
        Path(directory).mkdir()
    print(json.dumps({"refused": refused, "taken": taken, "unexpected": unexpected, "stopped": stopped, "left": left}))


if __name__ == "__main__":
    main()
