# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Directories in which somebody else may write, as root has to treat them.

Who owns a directory can exchange what is in it between two calls that name it by path, for a link that leads root
elsewhere. A descriptor stays what was opened. So everything here is opened one directory below the other, and no link
is followed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from .errors import OpsError
from .runner import Runner

# Deeper than any data directory that is meant, and far from the limits of paths and of Python.
MAX_DEPTH = 100
_MAX_LINKS = 40
_REMOVE_SECONDS = 3600
_REMOVE_ATTEMPTS = 5
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Neither a link is followed, nor does a FIFO wait for somebody to write.
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# Where one is met that should not be there: a link, no directory, or nothing any more.
_EXCHANGED = (errno.ELOOP, errno.ENOTDIR, errno.ENOENT, errno.ENXIO)
# File systems that cannot copy inside of the kernel.
_NO_COPY = (errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


def tampered(path, found):
    """Return the error for what cannot be there unless somebody put it there.

    :param found: what is wrong with it, for example ``is a link``.
    """
    return OpsError(
        f"{path} {found}: somebody who may write there has tampered with it. Find out who (ls -la "
        f"{os.path.dirname(path)}), remove it, then run again",
        kind="tampered",
        path=path,
    )


@contextlib.contextmanager
def opened(path, make_mode=None):
    """Open the directory at an absolute path, yield its descriptor, and close it.

    A link on the way is followed where only root can put one.

    :param make_mode: with which mode directories that are missing are made; ``None`` makes none.
    :raises OpsError: at a link that somebody else could have put there.
    :raises FileNotFoundError: when it is not there.
    """
    descriptor = _from_top(path, make_mode)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def at(descriptor, name):
    """Return a path of ``name`` in an opened directory, for what takes no descriptor; valid while that is open."""
    return f"/proc/self/fd/{descriptor}/{name}"


def check_place(path, account):
    """Refuse a directory that an account could move away and replace.

    :param account: entry of the account in the list of users.
    :raises OpsError: naming the directory above that has to be root's.
    """
    if account.pw_uid == os.geteuid():
        return
    groups = os.getgrouplist(account.pw_name, account.pw_gid)
    place = os.path.realpath(path)
    while place != os.sep:
        place = os.path.dirname(place)
        status = os.stat(place)
        may_write = status.st_mode & stat.S_IWOTH or (status.st_mode & stat.S_IWGRP and status.st_gid in groups)
        if status.st_uid == account.pw_uid or (may_write and not status.st_mode & stat.S_ISVTX):
            raise OpsError(
                f"{path} lies in {place}, where {account.pw_name} may write: it could exchange one for the other while "
                f"root works there. Give {place} to root (chown root {place}; chmod go-w {place}), or choose another "
                "directory",
                kind="place",
                path=place,
            )


def way_off_the_mount(path):
    """Say how what is kept in a mounted directory goes where it can be renamed, and where :func:`check_place` takes it.

    :param path: of the mounted directory, which is the data directory.
    """
    return (
        f"stop the node, move its data to a directory below, give {path} to root (chown root {path}), set "
        "erlmcp_data_dir to the directory below, and run the playbook site"
    )


def open_below(top, relative, flags=FILE):
    """Open ``relative`` step by step below the opened directory ``top``; return a descriptor.

    :raises OSError: ``ELOOP`` or ``ENOTDIR`` at a link.
    """
    *directories, name = relative.split(os.sep)
    descriptor = top
    try:
        for directory in directories:
            below = os.open(directory, _DIRECTORY, dir_fd=descriptor)
            if descriptor != top:
                os.close(descriptor)
            descriptor = below
        return os.open(name, flags, dir_fd=descriptor)
    finally:
        if descriptor != top:
            os.close(descriptor)


def read(directory, name, limit, from_end=False):
    """Return at most ``limit`` bytes of a regular file below a directory; ``None`` where there is none.

    :param from_end: whether to return its last bytes instead of its first.
    """
    try:
        with opened(directory) as top:
            descriptor = open_below(top, name)
    except OSError as error:
        if error.errno in _EXCHANGED:
            return None
        raise
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        return None
    with os.fdopen(descriptor, "rb") as stream:
        stream.seek(max(status.st_size - limit, 0) if from_end else 0)
        return stream.read(limit)


def walk(directory, enter=lambda name: True, directories=False):
    """Yield (relative path, status) of what is below a directory, those of one directory together and sorted.

    What vanishes meanwhile is left out: a directory that is served from is never still.

    :param directory: a path, or the descriptor of an opened directory.
    :param enter: called with the relative path of a directory; whether to look below.
    :param directories: whether to yield directories as well; without, only what is none.
    :raises OpsError: when directories are nested deeper than ``MAX_DEPTH``.
    """
    with contextlib.ExitStack() as stack:
        try:
            top = stack.enter_context(_descriptor(directory))
        except FileNotFoundError:
            return
        pending = [""]
        while pending:
            place = pending.pop()
            below = []
            for name, status in _entries(top, place):
                relative = os.path.join(place, name)
                is_directory = stat.S_ISDIR(status.st_mode)
                if is_directory and enter(relative):
                    below.append(relative)
                if directories or not is_directory:
                    yield relative, status
            pending += reversed(below)


def size(directory):
    """Bytes of the files below a directory, as far as ``MAX_DEPTH``; 0 where there is none."""
    found = walk(directory, lambda name: name.count(os.sep) < MAX_DEPTH - 1)
    return sum(status.st_size for _name, status in found)


@contextlib.contextmanager
def made(top, name, mode):
    """Make a directory in an opened one, yield its descriptor, and close that.

    :raises FileExistsError: when something is there.
    :raises OpsError: when it was exchanged before it was opened.
    """
    os.mkdir(name, 0o700, dir_fd=top)
    try:
        descriptor = os.open(name, _DIRECTORY, dir_fd=top)
    except OSError as error:
        raise tampered(os.path.join(_path_of(top), name), "is not what was made there") from error
    try:
        if os.fstat(descriptor).st_uid != os.geteuid():
            raise tampered(os.path.join(_path_of(top), name), "is not what was made there")
        os.fchmod(descriptor, mode)
        yield descriptor
    finally:
        os.close(descriptor)


def give(directory, uid, gid, directory_mode):
    """Give everything below a directory that is still root's to an account; the directory itself stays.

    What is below a directory is given before the directory, so nobody can exchange what is still to be given.

    :param directory: a path that only root can enter, or an opened directory that is such.
    :param directory_mode: of the directories below; files keep theirs.
    :raises OpsError: at what is somebody else's already, who could exchange it.
    """
    with _descriptor(directory) as top:
        for name, status in reversed(list(walk(top, directories=True))):
            if status.st_uid != os.geteuid():
                raise tampered(os.path.join(_path_of(top), name), "belongs to somebody else")
            with _parent(top, name) as (place, last):
                os.chown(last, uid, gid, dir_fd=place, follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    os.chmod(last, directory_mode, dir_fd=place)


def give_itself(directory, uid, gid, mode):
    """Give an account a directory, after what is below it.

    :param directory: a path, or an opened directory.
    """
    with _descriptor(directory) as top:
        os.fchown(top, uid, gid)
        os.fchmod(top, mode)


def copy(source, names, target):
    """Copy files and directories out of a directory of somebody else; owners are not kept, modes and times are.

    :param source: path of the directory.
    :param names: of what is in it, all the way down.
    :param target: an empty directory that only root can enter, opened.
    :return: relative paths of what is neither a file nor a directory, and was left out.
    :raises OpsError: at a file that has a second name and is not of the owner of ``source``.
    """
    left_out = []

    def wanted(name):
        return name.partition(os.sep)[0] in names

    with opened(source) as top:
        owner = os.fstat(top).st_uid
        for name, status in walk(top, wanted, directories=True):
            if not wanted(name):
                continue
            if stat.S_ISDIR(status.st_mode):
                with _parent(target, name) as (place, last):
                    os.mkdir(last, 0o700, dir_fd=place)
            elif stat.S_ISREG(status.st_mode):
                path = os.path.join(source, name)
                with _opened_file(top, name, path) as descriptor:
                    _copy_file(descriptor, path, target, name, owner)
            else:
                left_out.append(name)
    return left_out


def refuse_second_name(path, status, owner):
    """Refuse a file that is linked into a directory of ``owner`` and is not the owner's.

    Where the kernel protects hard links (``fs.protected_hardlinks``) nobody can make one.
    """
    if status.st_nlink > 1 and status.st_uid != owner:
        raise tampered(path, "is a hard link to a file of somebody else")


def is_removed(descriptor):
    """Whether the opened directory is nowhere any more."""
    return _path_of(descriptor).endswith(" (deleted)")


def remove(path):
    """Remove whatever is at ``path``, links as links; nothing where there is nothing.

    The program ``rm`` follows no link, and removes directories that are nested deeper than Python can walk.

    :raises OpsError: when something is left.
    """
    for _attempt in range(_REMOVE_ATTEMPTS):
        done = Runner().run(["rm", "-rf", "--one-file-system", "--", path], timeout=_REMOVE_SECONDS)
        if done.ok:
            return
    raise OpsError(
        f"{path} cannot be removed: {(done.err.strip().splitlines() or ['rm gave no reason'])[0]}. Remove the cause, "
        "then run again",
        kind="io",
        path=path,
    )


@contextlib.contextmanager
def _descriptor(directory):
    if isinstance(directory, int):
        yield directory
        return
    with opened(directory) as descriptor:
        yield descriptor


def _path_of(descriptor):
    return os.readlink(f"/proc/self/fd/{descriptor}")


def _from_top(path, make_mode):
    descriptor = os.open(os.sep, _DIRECTORY)
    pending = [part for part in os.path.normpath(path).split(os.sep)[::-1] if part]
    links = 0
    try:
        while pending:
            name = pending.pop()
            target = _link_target(descriptor, name)
            if target is None:
                below = _open_or_make(descriptor, name, make_mode)
            else:
                links += 1
                if links > _MAX_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                if not _is_trusted(os.fstat(descriptor)):
                    raise tampered(os.path.join(_path_of(descriptor), name), "is a link")
                pending += [part for part in target.split(os.sep)[::-1] if part]
                if not os.path.isabs(target):
                    continue
                below = os.open(os.sep, _DIRECTORY)
            os.close(descriptor)
            descriptor = below
    except OSError as error:
        os.close(descriptor)
        raise OSError(error.errno, os.strerror(error.errno), path) from error
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _link_target(descriptor, name):
    try:
        return os.readlink(name, dir_fd=descriptor)
    except OSError:
        # No link, or not there, which is said by who opens it.
        return None


def _open_or_make(descriptor, name, make_mode):
    try:
        return os.open(name, _DIRECTORY, dir_fd=descriptor)
    except FileNotFoundError:
        if make_mode is None:
            raise
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, make_mode, dir_fd=descriptor)
    return os.open(name, _DIRECTORY, dir_fd=descriptor)


def _is_trusted(status):
    """Whether only root, or who we are, can put something in the place of what is in a directory."""
    if status.st_uid not in (0, os.geteuid()):
        return False
    return not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or bool(status.st_mode & stat.S_ISVTX)


@contextlib.contextmanager
def _parent(top, relative):
    """Yield (descriptor of the directory that ``relative`` is in, its name there)."""
    place, _slash, name = relative.rpartition(os.sep)
    if not place:
        yield top, name
        return
    descriptor = open_below(top, place, _DIRECTORY)
    try:
        yield descriptor, name
    finally:
        os.close(descriptor)


def _entries(top, place):
    """Return (name, status) of what is in a directory below ``top``, sorted; nothing when it was exchanged."""
    if place.count(os.sep) >= MAX_DEPTH:
        raise OpsError(
            f"{_path_of(top)}: {place[:60]}... is nested deeper than {MAX_DEPTH} directories, which "
            "no node needs: remove it, then run again",
            kind="data",
        )
    try:
        descriptor = open_below(top, place, _DIRECTORY) if place else os.dup(top)
    except OSError as error:
        if error.errno in _EXCHANGED:
            return []
        raise
    found = []
    try:
        with os.scandir(descriptor) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    found.append((entry.name, entry.stat(follow_symlinks=False)))
    finally:
        os.close(descriptor)
    return sorted(found, key=lambda each: each[0])


@contextlib.contextmanager
def _opened_file(top, name, path):
    try:
        descriptor = open_below(top, name)
    except OSError as error:
        if error.errno in _EXCHANGED:
            raise tampered(path, "was exchanged or removed while it was copied") from error
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise tampered(path, "was exchanged while it was copied")
        yield descriptor
    finally:
        os.close(descriptor)


def _copy_file(descriptor, path, new, name, owner):
    status = os.fstat(descriptor)
    refuse_second_name(path, status, owner)
    with _parent(new, name) as (place, last):
        written = os.open(last, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=place)
    try:
        _copy_content(descriptor, written, status.st_size)
        os.fchmod(written, stat.S_IMODE(status.st_mode) & 0o777)
        os.utime(written, ns=(status.st_atime_ns, status.st_mtime_ns))
    finally:
        os.close(written)


def _copy_content(source, target, length):
    """Copy what is no hole; blocks are shared where the file system can."""
    position = 0
    while position < length:
        position = _seek(source, position, os.SEEK_DATA, length)
        end = min(_seek(source, position, os.SEEK_HOLE, length), length)
        os.lseek(source, position, os.SEEK_SET)
        os.lseek(target, position, os.SEEK_SET)
        while position < end:
            count = _copy_some(source, target, end - position)
            if not count:
                return
            position += count
    os.ftruncate(target, length)


def _seek(descriptor, position, what, length):
    try:
        return os.lseek(descriptor, position, what)
    except OSError as error:
        # There is no more data, also in a file that was made shorter meanwhile.
        if error.errno != errno.ENXIO:
            raise
        return length


def _copy_some(source, target, count):
    try:
        return os.copy_file_range(source, target, count)
    except OSError as error:
        if error.errno not in _NO_COPY:
            raise
    return os.sendfile(target, source, None, count)
