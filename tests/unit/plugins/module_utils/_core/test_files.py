# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._core.files import (
    is_mount_point,
    link_atomically,
    mount_points,
    write_atomically,
)


def test_a_file_is_replaced_with_its_mode(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    write_atomically(str(path), b"new", 0o600)
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["file"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_text("old")

    def no_space(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", no_space)
    with pytest.raises(OSError, match="No space"):
        write_atomically(str(path), b"new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_link_is_replaced_although_its_target_does_not_exist(tmp_path):
    path = tmp_path / "link"
    path.symlink_to("old")
    link_atomically(str(path), "new")
    assert os.readlink(path) == "new"
    assert os.listdir(tmp_path) == ["link"]


def test_what_a_killed_run_left_beside_is_in_nobodys_way(tmp_path):
    (tmp_path / "file.tmp").write_text("half")
    (tmp_path / "link.tmp").symlink_to("half")
    write_atomically(str(tmp_path / "file"), b"whole")
    link_atomically(str(tmp_path / "link"), "target")
    assert sorted(os.listdir(tmp_path)) == ["file", "link"]


MOUNT_INFO = """\
479 457 0:42 / / rw,relatime shared:4 - overlay overlay rw,lowerdir=/a
635 479 0:42 /var/lib/erlmcp /var/lib/erlmcp rw,relatime shared:4 - overlay overlay rw
636 479 8:1 / /srv/of\\040two\\134words rw - ext4 /dev/sda1 rw
"""


def test_what_is_mounted_is_known_of_the_same_file_system_too():
    assert mount_points(MOUNT_INFO) == {"/", "/var/lib/erlmcp", "/srv/of two\\words"}


def test_the_kernel_is_asked(tmp_path):
    assert is_mount_point("/proc")
    assert not is_mount_point(str(tmp_path))
