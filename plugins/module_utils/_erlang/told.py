# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Erlang terms in messages: at most a line. A whole one can have pages; it goes to the host's journal."""

from __future__ import annotations

import syslog

_LONGEST = 200
_IDENTIFIER = "erlmcp-ops"


def at_most_a_line(text):
    """Return what a message shows of an Erlang term, and send the whole to the journal when that is more."""
    line = " ".join(str(text).split())
    if len(line) <= _LONGEST:
        return line
    syslog.openlog(_IDENTIFIER)
    syslog.syslog(line)
    return f"{line[:_LONGEST]}… (the whole: journalctl -t {_IDENTIFIER})"
