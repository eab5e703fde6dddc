# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report: the checks of all hosts as a table for people, and as one value for programs."""

from __future__ import annotations

import textwrap

from .checks import FAIL, STATUSES, WARN

_EVIDENCE_WIDTH = 90
_HEADINGS = {"status": "STATUS", "host": "HOST", "id": "CHECK"}


def make_report(hosts):
    """Return what the filter ``security_report`` documents.

    :param hosts: host to its checks, as :func:`.checks.judge_host` returned them.
    """
    rows = [row for host in sorted(hosts) for row in hosts[host]]
    counts = {status: sum(row["status"] == status for row in rows) for status in STATUSES}
    return {
        "failed": counts[FAIL] > 0,
        "hosts": sorted(hosts),
        "counts": counts,
        "checks": rows,
        "text": _table(rows) + _remedies(rows) + [_summary(counts, len(hosts))],
    }


def _table(rows):
    widths = {name: max([len(heading), *(len(row[name]) for row in rows)]) for name, heading in _HEADINGS.items()}
    lines = [_line(_HEADINGS, widths, "EVIDENCE")]
    for row in rows:
        text = f"{row['evidence']} (accepted: {row['reason']})" if row["reason"] else row["evidence"]
        first, *more = textwrap.wrap(text, _EVIDENCE_WIDTH) or [""]
        lines.append(_line(row, widths, first))
        lines += [_line(dict.fromkeys(_HEADINGS, ""), widths, line) for line in more]
    return lines


def _line(cells, widths, last):
    return "  ".join([*(cells[name].ljust(width) for name, width in widths.items()), last]).rstrip()


def _remedies(rows):
    """What to do, once for all hosts that need it."""
    lines = []
    for status in (FAIL, WARN):
        remedies = {}
        for row in rows:
            if row["status"] == status:
                remedies.setdefault((row["id"], row["remedy"]), []).append(row["host"])
        for (check, remedy), hosts in remedies.items():
            lines.append(f"{status}: {check} on {', '.join(hosts)}: {remedy}")
    return lines


def _summary(counts, hosts):
    told = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    return f"{hosts} hosts: {told}"
