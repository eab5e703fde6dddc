# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two directories change places in one step of the kernel: at every moment the data is all old or all new."""

from __future__ import annotations

import errno
import json
import os
import stat

from .._core import trees
from .._core.errors import OpsError
from .._core.files import exchange, is_mount_point, sync_directory, write_atomically
from .._core.scratch import scratch


def check_can_exchange(data_dir):
    """Refuse a data directory that cannot be exchanged, before anything is done for it.

    :raises OpsError: naming the reason.
    """
    if is_mount_point(data_dir):
        raise OpsError(
            f"{data_dir} is a mount point, and what is mounted cannot change places with a directory: "
            f"{trees.way_off_the_mount(data_dir)}",
            kind="data",
        )
    with scratch(".erlmcp-probe", os.path.dirname(data_dir)) as probe:
        one, other = os.path.join(probe, "one"), os.path.join(probe, "other")
        os.mkdir(one)
        os.mkdir(other)
        try:
            exchange(one, other)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.EXDEV):
                raise
            raise OpsError(
                f"the file system of {data_dir} cannot exchange two directories in one step ({error.strerror}); ext4, "
                "xfs and btrfs can",
                kind="data",
            ) from error


class Swap:
    """One exchange that can be cut off anywhere and be finished later.

    What becomes of the directory that was live is decided before: it goes ``aside``, and is never deleted here.
    Directories are told apart by their inode, which they keep when they are renamed.

    :param record: path of the file that says what is going on.
    """

    def __init__(self, record):
        self.record = record

    def begin(self, candidate, live, aside):
        """Note what is about to happen; nothing happened yet.

        :raises OpsError: when one of them is no directory.
        """
        for path in (candidate, live):
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                raise trees.tampered(path, "is no directory")
        note = {
            "candidate": candidate,
            "live": live,
            "aside": aside,
            "candidate_inode": os.lstat(candidate).st_ino,
            "live_inode": os.lstat(live).st_ino,
        }
        write_atomically(self.record, json.dumps(note).encode(), mode=0o600)

    def pending(self):
        """Return the note of a swap that was begun, or ``None``."""
        try:
            with open(self.record, encoding="utf-8") as stream:
                return json.load(stream)
        except FileNotFoundError:
            return None

    def exchanged(self):
        """Whether the candidate of the noted swap is live."""
        note = self.pending()
        return note is not None and _inode(note["live"]) == note["candidate_inode"]

    def carry_out(self):
        """Exchange, unless that happened already, and move what was live aside."""
        note = self.pending()
        if not self.exchanged():
            exchange(note["candidate"], note["live"])
        self.tidy()

    def tidy(self):
        """After the exchange: give what was live the name under which it is kept."""
        note = self.pending()
        if note and self.exchanged() and _inode(note["candidate"]) == note["live_inode"]:
            os.rename(note["candidate"], note["aside"])
            sync_directory(os.path.dirname(note["aside"]))


def _inode(path):
    try:
        return os.lstat(path).st_ino
    except FileNotFoundError:
        return None
