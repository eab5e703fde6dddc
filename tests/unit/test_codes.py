# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every code that ``check_health`` may show is explained in README, and README explains no other."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def codes(*paths):
    return {code for path in paths for code in re.findall(r"\bERLMCP_[A-Z_]+\b", path.read_text())}


def test_every_code_is_explained():
    used = codes(*ROOT.glob("plugins/module_utils/_checks/*.py"), *ROOT.glob("plugins/module_utils/_node/*.py"))
    assert used
    assert codes(ROOT / "README.md") == used
