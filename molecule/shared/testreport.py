# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A pytest plugin: molecule's workers keep what a verifier prints to themselves; failures and times are filed, too."""

from __future__ import annotations

import os
from pathlib import Path

SCENARIO = os.environ.get("MOLECULE_SCENARIO_NAME", "unit")
FAILURES = Path(os.environ["ERLMCP_OPS_CACHE"]) / "failures"
TIMES = FAILURES.with_name("times")


def pytest_runtest_logreport(report):
    if report.failed:
        _file(FAILURES / f"{SCENARIO}.txt", f"=== {SCENARIO}: {report.nodeid}\n{report.longreprtext}\n")
    if report.duration >= 1:
        _file(TIMES, f"{report.duration:6.1f} s {SCENARIO}: {report.when} {report.nodeid}\n")


def _file(path, text):
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        file.write(text)
