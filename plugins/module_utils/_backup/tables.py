# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the other parts of a backup know of Erlang: tables of a running node, and tables of files."""

from __future__ import annotations

from .hot import export_hot, look
from .offline import Offline, is_dets

__all__ = ["Offline", "export_hot", "is_dets", "look"]
