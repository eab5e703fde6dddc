# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCENARIO = Path(__file__).parents[1]


def hosts(*arguments):
    shared = SCENARIO.parent / "shared"
    subprocess.run([sys.executable, shared / "hosts.py", *arguments], check=True, stdout=subprocess.DEVNULL)


@pytest.fixture
def power():
    """Function that cuts a host's power or boots it again."""
    return lambda state, name: hosts("power", state, name)


@pytest.fixture
def rebuild():
    """Function that gives a host an empty disk."""
    return lambda name: hosts("reset", "--limit", name, str(SCENARIO / "inventory" / "hosts.yml"))
