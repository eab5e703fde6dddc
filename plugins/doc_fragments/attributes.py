# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and predicts what a real run changes.
    support: full
  diff_mode:
    description: Returns what changed, or would change, in diff mode. Secrets are never in it.
    support: full
  platform:
    description: Target systems.
    platforms: linux
    support: full
"""

    READ_ONLY = r"""
options: {}
attributes:
  check_mode:
    description: Reads only, so it runs for real in C(check_mode).
    support: full
  diff_mode:
    description: Changes nothing, so there is no diff.
    support: none
  platform:
    description: Target systems.
    platforms: linux
    support: full
"""
