# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.erlmcp.ops.plugins.module_utils._erlang.told import at_most_a_line


def test_pages_of_erlang_are_a_line(monkeypatch):
    written = []
    monkeypatch.setattr("syslog.syslog", written.append)
    assert at_most_a_line("{aborted,\n  {no_exists,  t}}") == "{aborted, {no_exists, t}}"
    assert written == []
    term = "{crash," + "x\n" * 5000 + "}"
    assert len(at_most_a_line(term)) < 260
    assert "journalctl -t erlmcp-ops" in at_most_a_line(term)
    assert set(written) == {" ".join(term.split())}
