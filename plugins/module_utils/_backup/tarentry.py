# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one kind of tar entry that an archive has: a regular file.

Everything in such a header follows from name, size, mode and time. So a reader does not interpret headers, it makes
the one that must be there and compares: links, devices, sparse files and extensions have no way in. Written by hand
because ``tarfile`` does not write the same bytes in every version of Python. GNU format, which every tar reads.
"""

from __future__ import annotations

import struct

BLOCK = 512
END = bytes(2 * BLOCK)
# What twelve bytes of octal digits can say; times before 1970 and after 2242 are moved inside.
MAX_TIME = 8**11 - 1

_NAME_BYTES = 100
_FIELDS = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s167x")
_LONG_NAME = "././@LongLink"
_KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"5": "a directory",
    b"6": "a FIFO",
    b"S": "a sparse file",
}


def header(name, size, mode, mtime):
    """Return the bytes in front of a regular file.

    :param name: text, undecodable bytes as surrogates.
    :param size: bytes.
    :param mode: permission bits.
    :param mtime: seconds since 1970, 0 to ``MAX_TIME``.
    """
    encoded = name.encode("utf-8", "surrogateescape")
    return long_name(encoded) + _block(encoded[:_NAME_BYTES], size, mode, mtime, b"0")


def long_name(encoded):
    """Return what stands in front of the header of a file whose name does not fit into it."""
    if len(encoded) <= _NAME_BYTES:
        return b""
    content = encoded + b"\0"
    return _block(_LONG_NAME.encode(), len(content), 0o644, 0, b"L") + content + padding(len(content))


def padding(size):
    """Return the zeros behind a file of ``size`` bytes."""
    return bytes(-size % BLOCK)


def size_of(block):
    """Return the size that a header gives, which is below 8 GiB. Raises ValueError when it gives none."""
    return _octal(block[124:135])


def mode_and_time(block):
    """Return the mode and the time that a header gives. Raises ValueError when it gives none."""
    return _octal(block[100:107]), _octal(block[136:147])


def kind(block):
    """Say what a header stands for, for people; ``None`` when it is a regular file."""
    letter = block[156:157]
    return None if letter == b"0" else _KINDS.get(letter, f"an entry of type {letter!r}")


def _block(name, size, mode, mtime, letter):
    def fields(checksum):
        return _FIELDS.pack(
            name,
            b"%07o\0" % mode,
            b"%07o\0" % 0,
            b"%07o\0" % 0,
            _size(size),
            b"%011o\0" % mtime,
            checksum,
            letter,
            b"",
            b"ustar  \0",
            b"root",
            b"root",
            b"",
            b"",
        )

    return fields(b"%06o\0 " % sum(fields(b" " * 8)))


def _octal(digits):
    # int takes signs, spaces and underscores too.
    if not digits.isdigit():
        raise ValueError("no octal number")
    return int(digits, 8)


def _size(size):
    if size < 8**11:
        return b"%011o\0" % size
    # The GNU way for what does not fit into octal digits.
    return b"\x80" + size.to_bytes(11, "big")
