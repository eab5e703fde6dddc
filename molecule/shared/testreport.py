# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A pytest plugin: molecule's workers keep what a verifier prints to themselves; failures and times are filed, too."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

from hostlib.inventory import read_inventories, recorded_hosts

DIRECTORY = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"])
SCENARIO = DIRECTORY.name
CACHE = Path(os.environ["ERLMCP_OPS_CACHE"])
FAILURES = CACHE / "failures"
TIMES = CACHE / "times"
PARTS = CACHE / "parts"
STARTED = time.time()


def pytest_sessionstart():
    made = [(host.directory / "host.json").stat().st_mtime for host in _hosts()]
    if made:
        _file(PARTS, f"{STARTED - min(made):6.0f} s {SCENARIO}: hosts made and provisioned\n")


def pytest_sessionfinish():
    _file(PARTS, f"{time.time() - STARTED:6.0f} s {SCENARIO}: tests\n")


def pytest_runtest_logreport(report):
    if report.failed:
        logs = _keep_logs(FAILURES / SCENARIO / re.sub(r"[^\w.-]+", "_", report.nodeid))
        _file(FAILURES / f"{SCENARIO}.txt", f"=== {SCENARIO}: {report.nodeid}\n{report.longreprtext}\n{logs}\n")
    if report.duration >= 1:
        _file(TIMES, f"{report.duration:6.1f} s {SCENARIO}: {report.when} {report.nodeid}\n")


def _hosts():
    """Those of the scenario that are there."""
    names = read_inventories([DIRECTORY / "inventory" / "hosts.yml"])
    return [host for host in recorded_hosts() if host.name in names]


def _keep_logs(directory):
    """Keep what each host had in its journal when the test failed; return where."""
    lines = []
    for host in _hosts():
        directory.mkdir(parents=True, exist_ok=True)
        log = directory / f"{host.name}.journal"
        with log.open("w") as file:
            subprocess.run(
                [sys.executable, Path(__file__).with_name("hosts.py"), "journal", host.name],
                stdout=file,
                stderr=subprocess.STDOUT,
                check=False,
            )
        lines.append(f"The log of {host.name}: {log} (console: {host.console})")
    return "\n".join(lines)


def _file(path, text):
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        file.write(text)
