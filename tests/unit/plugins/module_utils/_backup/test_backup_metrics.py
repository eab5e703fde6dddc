# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.metrics import FILE, METRICS, parse, write_metrics


def test_a_metric_is_what_prometheus_reads(tmp_path):
    assert write_metrics(str(tmp_path), {"erlmcp_backup_size_bytes": 43000}) is None
    assert (tmp_path / FILE).read_text() == (
        "# HELP erlmcp_backup_size_bytes Size of the last archive.\n"
        "# TYPE erlmcp_backup_size_bytes gauge\n"
        "erlmcp_backup_size_bytes 43000.0\n"
    )
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o644
    assert os.listdir(tmp_path) == [FILE]


def test_others_are_kept(tmp_path):
    write_metrics(str(tmp_path), {"erlmcp_backup_size_bytes": 1, "erlmcp_backup_duration_seconds": 2.5})
    write_metrics(str(tmp_path), {"erlmcp_backup_size_bytes": 3})
    assert parse((tmp_path / FILE).read_text()) == {
        "erlmcp_backup_size_bytes": 3.0,
        "erlmcp_backup_duration_seconds": 2.5,
    }


def test_a_timestamp_keeps_its_digits(tmp_path):
    name = "erlmcp_backup_last_success_timestamp_seconds"
    write_metrics(str(tmp_path), {name: 1769824800.123456})
    assert parse((tmp_path / FILE).read_text()) == {name: 1769824800.123456}


def test_all_can_be_written_and_read(tmp_path):
    values = {name: float(number) for number, name in enumerate(METRICS)}
    write_metrics(str(tmp_path), values)
    assert parse((tmp_path / FILE).read_text()) == values


def test_a_damaged_file_is_replaced(tmp_path):
    (tmp_path / FILE).write_bytes(b"erlmcp_backup_size_bytes much\nother 1\nerlmcp_backup_duration_seconds 2\n\xff\x00")
    write_metrics(str(tmp_path), {"erlmcp_backup_size_bytes": 1})
    assert parse((tmp_path / FILE).read_text()) == {
        "erlmcp_backup_size_bytes": 1.0,
        "erlmcp_backup_duration_seconds": 2.0,
    }


@pytest.mark.parametrize("directory", ["", "/nonexistent/directory"])
def test_without_a_directory_nothing_is_written(directory):
    assert write_metrics(directory, {"erlmcp_backup_size_bytes": 1}) is None
    assert not os.path.exists(FILE)


@pytest.mark.parametrize("make", [os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_what_cannot_be_written_is_told_and_fails_nothing(tmp_path, make):
    make(tmp_path / FILE)
    assert FILE in write_metrics(str(tmp_path), {"erlmcp_backup_size_bytes": 1})


def test_a_pipe_does_not_hold_us_up(tmp_path):
    os.mkfifo(tmp_path / FILE)
    assert write_metrics(str(tmp_path), {"erlmcp_backup_size_bytes": 1}) is None


def test_a_metric_that_is_none_is_a_mistake_of_ours(tmp_path):
    with pytest.raises(KeyError):
        write_metrics(str(tmp_path), {"erlmcp_backup_sice_bytes": 1})
