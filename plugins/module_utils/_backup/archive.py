# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Archives as streams: written with every byte hashed on its way, read without trusting any of them.

An archive is a tar of regular files: a header that declares the names and sizes of what follows, exactly that, and the
manifest.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import stat
from dataclasses import dataclass

from .._core import trees
from .._core.errors import OpsError
from . import tarentry
from .collect import exclusion
from .manifest import HEADER_NAME, MANIFEST_NAME, check_beside, check_header, check_manifest, parse_name
from .pipeline import CHUNK, ProgramFailed, Programs, write_all

# Both are read into memory as a whole. 16 MiB declare some hundred thousand files.
MAX_HEADER = 16 * 1024**2
MAX_MANIFEST = 64 * 1024**2

_PACK = {"zstd": ["zstd", "-q", "-c", "-T0"], "gzip": ["gzip", "-c"]}
_UNPACK = {b"\x28\xb5\x2f\xfd": ["zstd", "-q", "-d", "-c"], b"\x1f\x8b": ["gzip", "-d", "-c"]}
_AGE = b"age-encryption.org/v1"
_DECRYPT = ["age", "-d", "-i", "{secret}"]
_MAGIC_BYTES = 4
_AGAIN = "copy it again from where it is whole, or take another archive"


@dataclass(frozen=True)
class Source:
    """One member to be written.

    ``name``: of the member. ``path``: of the file it is read from, which may not be a link; or ``content``: its bytes.
    ``mode``: permission bits, those of the file when ``None``. ``may_grow``: somebody may append to it or rotate it
    away meanwhile; what it held at the beginning is taken, and it is kept open from then on. ``root``: a directory
    that is trusted, above ``path``; what is below it belongs to somebody else, and no link is followed there.
    """

    name: str
    path: str = ""
    content: bytes | None = None
    mode: int | None = None
    may_grow: bool = False
    root: str | None = None


@dataclass(frozen=True)
class Written:
    """Size in bytes and SHA-256 (hexadecimal) of an archive file, and the manifest inside."""

    size: int
    sha256: str
    manifest: dict


def write_archive(
    stream_path, sources, header, finish, *, compression="zstd", level=1, recipients=(), tick=lambda done, total: None
):
    """Write an archive under a temporary name, synced; return :class:`Written`.

    :param stream_path: path to be made; gone again when anything fails.
    :param sources: :class:`Source` objects, in order.
    :param header: ``format``, ``id`` and ``node``; the declared files are added.
    :param finish: called with the records of all files (``name``, ``size``, ``sha256``, ``mode``, ``mtime``) after the
        last one; returns the manifest.
    :param compression: ``zstd`` or ``gzip``.
    :param level: of the compressor.
    :param recipients: public keys for age; none leaves the archive readable.
    :param tick: called with (bytes done, bytes in all), at least every MiB.
    :raises OpsError: kind ``changed`` when a file changed while it was read, ``io`` when a program or the disk failed,
        ``archive`` when a reader would refuse it.
    """
    try:
        descriptor = os.open(stream_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise OpsError(f"{stream_path} cannot be made: {error.strerror}", kind="io") from error
    try:
        with os.fdopen(descriptor, "wb", buffering=0) as output:
            return _write(output, sources, header, finish, compression, level, recipients, tick)
    except ProgramFailed as failed:
        os.unlink(stream_path)
        raise OpsError(f"{stream_path} was not written: {failed}", kind="io") from failed
    except OSError as error:
        os.unlink(stream_path)
        raise OpsError(f"{stream_path} was not written: {_told(error)}", kind="io") from error
    except BaseException:
        os.unlink(stream_path)
        raise


def _told(error):
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return error.strerror
    return f"{error.strerror}. Delete archives with the playbook prune_backups, or enlarge the file system"


def read_archive(path, *, beside=None, identity=None, sink=None, on_header=None, tick=lambda done, total: None):
    """Read an archive to its last byte, once; return its manifest.

    :param path: of the archive.
    :param beside: what the file beside it holds, parsed; ``None`` when there is none.
    :param identity: age identity as text, for an encrypted archive.
    :param sink: called with (name, reader, record) for every declared member, in order; ``reader.read(n)`` returns at
        most ``n`` bytes and ``b""`` at the end, ``record`` has ``name``, ``size``, ``mode`` and ``mtime``. Nothing of
        it is verified before this function returns.
    :param on_header: called with the header before anything is handed out; may raise to refuse.
    :param tick: called with (bytes done, bytes in all), at least every MiB.
    :raises OpsError: kind ``archive``, when it is damaged, hostile, of another format, or cannot be decrypted.
    """
    try:
        with _open_archive(path) as stream:
            return _read(path, stream, beside, identity, sink, on_header, tick)
    except _Problem as problem:
        raise OpsError(f"{path} {problem}: {problem.action}", kind="archive", archive=path) from problem


class _Problem(Exception):
    """What is wrong with an archive, in words that follow its name, and what to do."""

    def __init__(self, problem, action=_AGAIN):
        super().__init__(problem)
        self.action = action


class _EndsEarly(Exception):
    """There is less to read than there must be."""


def _write(output, sources, header, finish, compression, level, recipients, tick):
    result = _Hashed(output)
    with Programs() as programs, contextlib.ExitStack() as held:
        packer = last = programs.start([*_PACK[compression], f"-{level}"])
        if recipients:
            # Public keys, so the list of processes may show them.
            last = programs.start(
                ["age", *(word for recipient in recipients for word in ("-r", recipient))], packer.stdout
            )
        programs.pump(last.stdout, result)
        try:
            manifest = _Writer(packer.stdin, tick).write(sources, header, finish, held)
            packer.stdin.close()
        except BrokenPipeError:
            # A program ended, and says why.
            packer.stdin.close()
            programs.finish()
            raise
        programs.finish()
    os.fsync(output.fileno())
    return Written(result.size, result.sha256(), manifest)


class _Writer:
    """Writes the tar into the first program, always a full buffer at once."""

    def __init__(self, output, tick):
        self._output = output
        self._tick = tick
        self._buffer = memoryview(bytearray(CHUNK))
        self._filled = 0
        self._done = self._total = 0

    def write(self, sources, header, finish, held):
        measured = [each for source in sources if (each := _measure(source, held))]
        files = [{"name": each.source.name, "size": each.size} for each in measured]
        self._total = sum(record["size"] for record in files)
        header = check_header({**header, "files": files, "bytes": self._total})
        self._add_json(HEADER_NAME, header, MAX_HEADER)
        records = [self._add_member(each) for each in measured]
        manifest = check_manifest(finish(records))
        _compare(header, records, manifest)
        self._add_json(MANIFEST_NAME, manifest, MAX_MANIFEST)
        self._add(tarentry.END)
        self._flush()
        return manifest

    def _add_json(self, name, data, limit):
        content = json.dumps(data, separators=(",", ":")).encode()
        if len(content) > limit:
            raise OpsError(
                f"{len(data['files'])} files are more than an archive can hold: name some in erlmcp_backup_exclude",
                kind="input",
            )
        self._add(tarentry.header(name, len(content), 0o600, 0))
        self._add(content)
        self._add(tarentry.padding(len(content)))

    def _add_member(self, measured):
        source, size = measured.source, measured.size
        self._add(tarentry.header(source.name, size, measured.mode, measured.mtime))
        digest = hashlib.sha256()
        if source.content is not None:
            digest.update(source.content)
            self._add(source.content)
            self._advance(size)
        else:
            self._copy(digest, measured)
        self._add(tarentry.padding(size))
        return {
            "name": source.name,
            "size": size,
            "sha256": digest.hexdigest(),
            "mode": measured.mode,
            "mtime": measured.mtime,
        }

    def _copy(self, digest, measured):
        source, left = measured.source, measured.size
        with measured.stream or _reading(source, _open_source, source) as stream:
            while left:
                space = self._space()[:left]
                count = _reading(source, stream.readinto, space)
                if not count:
                    break
                digest.update(space[:count])
                self._filled += count
                self._advance(count)
                left -= count
            if left or not (source.may_grow or _identity(os.fstat(stream.fileno())) == measured.identity):
                raise _changed(source)

    def _advance(self, count):
        self._done += count
        self._tick(self._done, self._total)

    def _add(self, data):
        view = memoryview(data)
        while view:
            space = self._space()[: len(view)]
            space[:] = view[: len(space)]
            self._filled += len(space)
            view = view[len(space) :]

    def _space(self):
        if self._filled == len(self._buffer):
            self._flush()
        return self._buffer[self._filled :]

    def _flush(self):
        write_all(self._output, self._buffer[: self._filled])
        self._filled = 0


@dataclass
class _Measured:
    """What a source was when the header was made; ``stream`` is open only when it may grow."""

    source: Source
    size: int
    mode: int
    mtime: int
    identity: tuple = ()
    stream: object = None


def _measure(source, held):
    """Return :class:`_Measured`, or ``None`` for what may vanish and did."""
    if source.content is not None:
        return _Measured(source, len(source.content), 0o600 if source.mode is None else source.mode, 0)
    stream = None
    if source.may_grow:
        try:
            stream = held.enter_context(_reading(source, _open_source, source))
        except OpsError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise
    status = os.fstat(stream.fileno()) if stream else _reading(source, os.lstat, source.path)
    _refuse_other_kinds(source, status)
    if source.root:
        trees.refuse_second_name(source.path, status, os.stat(source.root).st_uid)
    mode = stat.S_IMODE(status.st_mode) & 0o777 if source.mode is None else source.mode
    mtime = min(max(int(status.st_mtime), 0), tarentry.MAX_TIME)
    return _Measured(source, status.st_size, mode, mtime, _identity(status), stream)


def _identity(status):
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _without(source):
    """Say how an archive is made without a source; ``None`` where there is no archive without it."""
    member, _slash, name = source.name.partition("/")
    if member == "data":
        return exclusion(name)
    return f"leave {member} out of erlmcp_backup_members" if name else None


def _changed(source):
    # What is no data is written in an instant.
    is_data = source.name.startswith("data/")
    remedy = f"{_without(source)}, or set erlmcp_backup_method: stop" if is_data else "run again"
    return OpsError(
        f"{source.path} changed while it was read, so the copy is worth nothing: {remedy}",
        kind="changed",
        file=source.path,
    )


def _reading(source, action, *arguments):
    """Do something with the file of a source, and name it when that fails."""
    try:
        return action(*arguments)
    except OSError as error:
        remedies = ["run again when it comes and goes", _without(source)]
        raise OpsError(
            f"{source.path} cannot be read ({error.strerror}): {', or '.join(filter(None, remedies))}",
            kind="io",
            file=source.path,
        ) from error


def _refuse_other_kinds(source, status):
    if not stat.S_ISREG(status.st_mode):
        raise OpsError(f"{source.path} is no regular file: {_without(source) or 'run again'}", kind="io")


def _open_source(source):
    """Open the file of a source, unbuffered, whatever it is. Raises OSError."""
    return open(source.path, "rb", buffering=0, opener=lambda path, _flags: _open_below(source.root, path))


def _open_below(root, path):
    """Open ``path`` step by step from ``root``: who owns what is below could put a link in the place of a directory."""
    if root is None:
        return os.open(path, trees.FILE)
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return trees.open_below(descriptor, path[len(root) :].strip(os.sep))
    finally:
        os.close(descriptor)


def _open_archive(path):
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _Problem(f"cannot be read ({error.strerror})", "name an archive that is there") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _Problem("is no regular file", "name an archive")
    return os.fdopen(descriptor, "rb", buffering=0)


def _read(path, stream, beside, identity, sink, on_header, tick):
    size = os.fstat(stream.fileno()).st_size
    if size == 0:
        raise _Problem("is empty")
    if beside is not None:
        _check_beside(beside, os.path.basename(path), size)
    hashed = _Hashed(stream)
    with Programs() as programs:
        try:
            tar = _unpacked(programs, hashed, identity)
            manifest = _Contents(tar, beside, sink, on_header, tick).read()
        except _EndsEarly:
            # A program that failed is why.
            _finish(programs)
            raise _Problem("ends too early") from None
        _finish(programs)
    if hashed.size != size:
        raise _Problem("changed while it was read", "try again when nothing writes to it")
    if beside is not None:
        if hashed.sha256() != beside["archive"]["sha256"]:
            raise _Problem("is damaged: its bytes do not hash to what they did when it was written")
        if manifest != beside["manifest"]:
            raise _Problem("and the file beside it have different manifests")
    return manifest


def _check_beside(beside, name, size):
    # Before it has its final name it cannot be compared with that.
    if isinstance(beside, dict) and isinstance(beside.get("archive"), dict) and parse_name(name) is None:
        name = beside["archive"].get("name")
    _judge(check_beside, beside, name)
    if size != beside["archive"]["size"]:
        raise _Problem(f"has {size} bytes, and had {beside['archive']['size']} when it was written")


def _judge(check, *arguments):
    try:
        return check(*arguments)
    except OpsError as error:
        raise _Problem(str(error)) from error


def _finish(programs):
    try:
        programs.finish()
    except OSError as error:
        raise _Problem(f"cannot be read ({error.strerror})") from error
    except ProgramFailed as failed:
        if failed.program == "age" and "identity" in str(failed):
            problem = _Problem(f"cannot be decrypted ({failed})", "give the age identity of one of its recipients")
        else:
            problem = _Problem(f"is damaged ({failed})")
        raise problem from failed


def _unpacked(programs, hashed, identity):
    """Start what unpacks the archive; return the pipe that the tar comes from."""
    source = hashed
    head = _read_up_to(source, len(_AGE))
    if head == _AGE:
        if not identity:
            raise _Problem("is encrypted", "give the age identity of one of its recipients")
        age = programs.start(_DECRYPT, secret=identity)
        programs.pump(source, age.stdin, first=head)
        source = age.stdout
        head = _read_up_to(source, _MAGIC_BYTES)
        if len(head) < _MAGIC_BYTES:
            raise _EndsEarly
    for magic, command in _UNPACK.items():
        if head.startswith(magic):
            unpacker = programs.start(command)
            programs.pump(source, unpacker.stdin, first=head)
            return unpacker.stdout
    raise _Problem("is neither zstd nor gzip nor age", "name an archive that erlmcp.ops made")


def _read_up_to(stream, size):
    """Read ``size`` bytes, or what there is: a pipe gives parts."""
    parts = []
    buffer = memoryview(bytearray(min(size, CHUNK)))
    while size and (count := stream.readinto(buffer[:size])):
        parts.append(bytes(buffer[:count]))
        size -= count
    return b"".join(parts)


class _Contents:
    """The tar inside: header, what it declares, manifest, end."""

    def __init__(self, stream, beside, sink, on_header, tick):
        self._stream = stream
        self._beside = beside
        self._sink = sink
        self._on_header = on_header
        self._tick = tick

    def read(self):
        header = _judge(check_header, self._read_json(HEADER_NAME, MAX_HEADER))
        if self._beside is not None:
            declared = [(record["name"], record["size"]) for record in self._beside["manifest"]["files"]]
            if declared != [(record["name"], record["size"]) for record in header["files"]]:
                raise _Problem("declares other files than the file beside it")
        if self._on_header:
            self._on_header(header)
        records, done = [], 0
        for declared in header["files"]:
            records.append(self._read_member(declared, done, header["bytes"]))
            done += declared["size"]
        manifest = _judge(check_manifest, self._read_json(MANIFEST_NAME, MAX_MANIFEST))
        if self._exactly(len(tarentry.END)) != tarentry.END or self._stream.read(1):
            raise _Problem("has something behind its manifest")
        _judge(_compare, header, records, manifest)
        return manifest

    def _read_member(self, declared, done, total):
        name, size = declared["name"], declared["size"]
        long_name = tarentry.long_name(name.encode("utf-8", "surrogateescape"))
        if self._exactly(len(long_name)) != long_name:
            raise _Problem(f"does not have {name!r} where it is declared")
        mode, mtime = self._expect(self._exactly(tarentry.BLOCK), name, size)
        record = {"name": name, "size": size, "mode": mode, "mtime": mtime}
        reader = _Member(self._stream, size, lambda n: self._tick(done + n, total))
        if self._sink:
            self._sink(name, reader, dict(record))
        record["sha256"] = reader.finish()
        self._expect_padding(name, size)
        return record

    def _read_json(self, name, limit):
        block = self._exactly(tarentry.BLOCK)
        try:
            size = tarentry.size_of(block)
        except ValueError:
            raise _Problem(f"does not have {name} where it must be") from None
        if self._expect(block, name, size) != (0o600, 0):
            raise _Problem(f"has a damaged tar header at {name}")
        if not 0 <= size <= limit:
            raise _Problem(f"has a {name} of {size} bytes, which no backup has")
        content = self._exactly(size)
        self._expect_padding(name, size)
        try:
            return json.loads(content.decode(), parse_int=_integer, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            raise _Problem(f"has a {name} that is no JSON ({str(error)[:200]})") from error

    def _expect(self, block, name, size):
        """Compare a header with the only one that may be there; return mode and time, which it adds."""
        try:
            mode, mtime = tarentry.mode_and_time(block)
            if mode <= 0o777 and tarentry.header(name, size, mode, mtime)[-tarentry.BLOCK :] == block:
                return mode, mtime
        except ValueError:
            pass
        kind = tarentry.kind(block)
        if kind:
            raise _Problem(f"has {kind} where the file {name!r} is declared")
        raise _Problem(f"does not have {name!r} of {size} bytes where it is declared, or its tar header is damaged")

    def _expect_padding(self, name, size):
        padding = tarentry.padding(size)
        if self._exactly(len(padding)) != padding:
            raise _Problem(f"has something behind {name!r}")

    def _exactly(self, size):
        data = _read_up_to(self._stream, size)
        if len(data) < size:
            raise _EndsEarly
        return data


class _Member:
    """One member's bytes, hashed as they are read."""

    def __init__(self, stream, size, tick):
        self._stream = stream
        self._size = self._left = size
        self._tick = tick
        self._digest = hashlib.sha256()

    def read(self, size=CHUNK):
        """Return at most ``size`` bytes, ``b""`` at the end."""
        if not self._left or size == 0:
            return b""
        wanted = min(size if size > 0 else CHUNK, self._left, CHUNK)
        data = self._stream.read(wanted)
        if not data:
            raise _EndsEarly
        self._left -= len(data)
        self._digest.update(data)
        self._tick(self._size - self._left)
        return data

    def finish(self):
        """Read what nobody wanted; return the SHA-256, hexadecimal."""
        while self.read():
            pass
        return self._digest.hexdigest()


class _Hashed:
    """An archive file that is hashed as it is read or written. Who opened it closes it."""

    def __init__(self, stream):
        self._stream = stream
        self._digest = hashlib.sha256()
        self.size = 0

    def readinto(self, buffer):
        count = self._stream.readinto(buffer)
        self._digest.update(buffer[:count])
        self.size += count
        return count

    def write(self, data):
        count = self._stream.write(data)
        self._digest.update(data[:count])
        self.size += count
        return count

    def close(self):
        pass

    def sha256(self):
        return self._digest.hexdigest()


def _compare(header, records, manifest):
    """Raise OpsError unless the manifest tells of the files that are there, in that order."""
    if (header["id"], header["node"]) != (manifest["id"], manifest["node"]["name"]):
        raise OpsError("has a header and a manifest of different backups", kind="archive")
    if len(records) != len(manifest["files"]):
        raise OpsError("does not hold what its manifest says: the number of files differs", kind="archive")
    for record, told in zip(records, manifest["files"]):
        for key, value in record.items():
            if told[key] != value:
                raise OpsError(f"does not hold what its manifest says: {record['name']!r}, {key}", kind="archive")


def _integer(text):
    # Turning a megabyte of digits into a number takes minutes.
    if len(text) > 20:
        raise ValueError("a number that is too large")
    return int(text)


def _no_number(text):
    raise ValueError(f"{text} is no JSON")
