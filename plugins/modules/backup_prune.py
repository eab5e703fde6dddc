#!/usr/bin/python
# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_prune
short_description: Remove backups of erlmcp that need not be kept
version_added: 0.1.0
description:
  - An archive stays when one of the C(keep) options keeps it. They are applied to the archives of each host by itself.
  - The newest verified archive of a host always stays. As long as none is verified, nothing of that host is removed,
    and a warning says so.
  - What has a problem (no file beside it, another size than when it was made), is from the future, or was not written
    by this collection is never removed, and counts for none of the C(keep) options.
  - Data directories that M(erlmcp.ops.restore) has moved aside go when they are older than O(safety_copy_days). The
    newest of those that served once stays whatever its age, as it may hold rows that no archive has. None goes while a
    restore is staged or was cut off.
  - What killed runs left is cleared too. A prune that is killed is finished by the next one.
author:
  - erlmcp.ops contributors (@erlmcp)
extends_documentation_fragment:
  - erlmcp.ops.attributes
  - erlmcp.ops.backup
options:
  keep_days:
    description: Archives younger than so many days stay.
    type: int
    default: 30
  keep_daily:
    description: The last so many days (UTC) that have an archive keep their newest.
    type: int
    default: 7
  keep_weekly:
    description: The last so many weeks (ISO, UTC) that have an archive keep their newest.
    type: int
    default: 4
  keep_monthly:
    description: The last so many months (UTC) that have an archive keep their newest.
    type: int
    default: 12
  keep_last:
    description: So many of the newest archives stay, whatever their age.
    type: int
    default: 1
  safety_copy_days:
    description: Safety copies older than so many days go, but for the newest.
    type: int
    default: 7
seealso:
  - module: erlmcp.ops.backup
  - module: erlmcp.ops.backup_info
  - module: erlmcp.ops.backup_verify
"""

EXAMPLES = r"""
- name: Show what would go
  erlmcp.ops.backup_prune:
  check_mode: true
  diff: true

- name: Keep a week, and one archive of each of the last twelve months
  erlmcp.ops.backup_prune:
    keep_days: 7
    keep_daily: 0
    keep_weekly: 0
    keep_monthly: 12
"""

RETURN = r"""
removed:
  description: Names of the archives that were removed, or would be in check mode.
  type: list
  elements: str
  returned: success
kept:
  description: The archives that stay.
  type: list
  elements: dict
  returned: success
  contains:
    name:
      description: File name.
      type: str
      returned: success
    reasons:
      description: Why it stays.
      type: list
      elements: str
      returned: success
      sample: [last verified, newest of week 2026-W05]
removed_safety_copies:
  description: Paths of the safety copies that were removed, or would be.
  type: list
  elements: str
  returned: success
cleared:
  description: What killed runs had left and was cleared, or would be.
  type: list
  elements: str
  returned: success
freed_bytes:
  description: Bytes of the archives and safety copies that were removed, or would be.
  type: int
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.prune import backup_prune
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.spec import SPECS
from ansible_collections.erlmcp.ops.plugins.module_utils._core.module import run
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Runner


def main():
    module = AnsibleModule(argument_spec=SPECS["backup_prune"], supports_check_mode=True)
    run(module, lambda module: backup_prune(module, Runner()))


if __name__ == "__main__":
    main()
