# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""In which order a partition is repaired."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_losing_side_takes_in_nothing_new_while_it_is_backed_up():
    """What it takes in after its backup is in the archive of its stop only."""
    steps = re.findall(r"tasks_from: (\w+)", (ROOT / "playbooks/repair_partition.yml").read_text())
    done = [step for step in steps if step in ("partition_drain", "backup", "partition_stop", "restart")]
    # The last backup is of what they had at their stop.
    assert done == ["partition_drain", "backup", "partition_stop", "backup", "restart"]
    drain = (ROOT / "roles/erlmcp_cluster/tasks/partition_drain.yml").read_text()
    assert re.findall(r"tasks_from: (\w+)", drain) == ["drain"]
