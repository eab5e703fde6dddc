# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  expect_members:
    description: Node names that this node must see, itself included or not.
    type: list
    elements: str
    default: []
  expect_shared_tables:
    description: Whether the node must also share its tables (one Mnesia schema) with O(expect_members). A release
      without Mnesia has none to share.
    type: bool
    default: false
  watched_services:
    description: Services, without C(.service), of which it is a warning when they have failed.
    type: list
    elements: str
    default: []
"""
