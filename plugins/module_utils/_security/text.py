# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Text that others chose, like names of files, made fit for a terminal and for JSON."""

from __future__ import annotations


def printable(text):
    """Return the text on one line, without what a terminal would obey; what is not printed is shown by its number."""
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in text)
