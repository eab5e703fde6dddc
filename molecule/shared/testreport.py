# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A pytest plugin: molecule's workers keep what a verifier prints to themselves, so failures are also filed."""

from __future__ import annotations

import os
from pathlib import Path

FAILURES = Path(os.environ["ERLMCP_OPS_CACHE"]) / "failures"


def pytest_runtest_logreport(report):
    if report.failed:
        scenario = Path(os.environ.get("MOLECULE_SCENARIO_NAME", "unit"))
        FAILURES.mkdir(exist_ok=True)
        with (FAILURES / f"{scenario}.txt").open("a") as file:
            file.write(f"=== {scenario}: {report.nodeid}\n{report.longreprtext}\n")
