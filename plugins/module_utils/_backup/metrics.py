# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Figures for Prometheus, through the node exporter's text-file directory."""

from __future__ import annotations

import os

from .._core.files import write_atomically

FILE = "erlmcp_backup.prom"
METRICS = {
    "erlmcp_backup_last_success_timestamp_seconds": "When the last archive was made.",
    "erlmcp_backup_last_failure_timestamp_seconds": "When a backup failed last.",
    "erlmcp_backup_size_bytes": "Size of the last archive.",
    "erlmcp_backup_duration_seconds": "How long the last backup took.",
    "erlmcp_backup_verify_last_success_timestamp_seconds": "When archives were last verified.",
    "erlmcp_backup_copy_last_success_timestamp_seconds": "When an archive was last copied away and proven there.",
    "erlmcp_restore_last_success_timestamp_seconds": "When an archive was last restored.",
    "erlmcp_restore_drill_last_success_timestamp_seconds": "When a restore was last tried out.",
    "erlmcp_restore_drill_duration_seconds": "How long the last restore drill took.",
}
_LONGEST = 64 * 1024


def write_metrics(directory, updates):
    """Write figures beside those that are there.

    It comes after what it tells of, which is done and must not be reported as failed: hence no exception.

    :param directory: of the node exporter; when empty or missing, nothing is written.
    :param updates: name, of :data:`METRICS`, to number.
    :return: what went wrong, as text for a warning, or ``None``.
    """
    if not directory or not os.path.isdir(directory):
        return None
    path = os.path.join(directory, FILE)
    try:
        values = {**_read(path), **{name: float(value) for name, value in updates.items()}}
        write_atomically(path, render(values).encode(), mode=0o644)
    except OSError as error:
        return f"{path} could not be written: {error.strerror}"
    return None


def render(values):
    """Return the text of a metrics file.

    :param values: name, of :data:`METRICS`, to float.
    """
    return "".join(
        f"# HELP {name} {METRICS[name]}\n# TYPE {name} gauge\n{name} {value!r}\n"
        for name, value in sorted(values.items())
    )


def parse(text):
    """Return the values of a metrics file; what we would not have written is left out."""
    values = {}
    for line in text.splitlines():
        name, _blank, number = line.partition(" ")
        if name in METRICS:
            try:
                values[name] = float(number)
            except ValueError:
                continue
    return values


def _read(path):
    try:
        # The directory may be another account's: neither a link nor a pipe must lead astray.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return {}
    with open(descriptor, "rb") as stream:
        return parse(stream.read(_LONGEST).decode("utf-8", "replace"))
