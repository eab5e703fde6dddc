# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  drain:
    description: How to drain the node before it is stopped. A release that lacks the functions is stopped without.
    type: dict
    default: {}
    suboptions:
      start:
        description: Function that starts draining, like C(erlmcp_admin:drain/0).
        type: str
      undo:
        description: Function that takes it back when the stop fails.
        type: str
      count:
        description: Function that counts the open sessions; draining is over when it returns 0.
        type: str
      timeout_seconds:
        description: How long sessions may take to end.
        type: int
        default: 30
"""
