# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads a relx archive and refuses what is no release, or would harm the host it is unpacked on.

The control node reads it before anything on a host changes, and the host reads it again while it unpacks:
the same code, with another sink.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import posixpath
import re
import tarfile
import zlib
from dataclasses import dataclass, fields
from tarfile import XGLTYPE, EmptyHeaderError, EOFHeaderError, HeaderError, ReadError

from .._core.errors import OpsError

# Releases have some thousand files and some hundred MB. A gzip archive can expand a thousandfold,
# so a small file must not be able to fill a disk or take the memory of a host that serves.
MAX_ENTRIES = 100_000
MAX_BYTES = 4 * 1024**3
# tarfile reads extended headers (long names) into memory as a whole.
MAX_HEADER_BYTES = 64 * 1024
MAX_NAME = 1024

BLOCK = 4096
CHUNK = 1024**2
# Start scripts have some 40 KB.
MAX_SCRIPT = CHUNK
_START_HOOKS = re.compile(rb'^PRE_START_HOOKS="([^"]*)"', re.MULTILINE)
# Where it looks for them, as some versions of relx have it, and as others.
_HOOKS_BESIDE_SCRIPT = b'"$SCRIPT_DIR/$HOOK_SCRIPT"'
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,127}")

_LONG_HEADERS = (tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
# e_machine of the ELF header, in the words of uname -m.
_ELF_MACHINES = {
    3: "i386",
    20: "ppc",
    21: "ppc64",
    22: "s390x",
    40: "arm",
    62: "x86_64",
    183: "aarch64",
    243: "riscv64",
    258: "loongarch64",
}


@dataclass(frozen=True)
class Release:
    """What is known of one release version.

    ``erts_included``: whether the archive brings its own Erlang runtime; ``architecture`` is that runtime's, ``None``
    without one. ``size``: bytes it takes on disk, unpacked. ``sha256``: of the archive, hexadecimal.
    ``archive``: its path, and of an installed one the file name. ``installed_at``: ISO 8601, UTC; ``None`` before it
    is installed. ``proven``: whether a node of this host was healthy with it. ``missing_hooks``: what the start script
    runs before Erlang, and the archive has not.
    """

    version: str
    erts: str
    erts_included: bool
    architecture: str | None
    size: int
    sha256: str
    archive: str
    installed_at: str | None = None
    proven: bool = False
    missing_hooks: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, data):
        """Build one from a mapping, which may hold more. Raises KeyError and TypeError when it is no such mapping."""
        # Nobody noted it of releases that were installed before this was known: they may have served for years.
        known = {"proven": True, "missing_hooks": (), **data}
        known["missing_hooks"] = tuple(known["missing_hooks"])
        return cls(**{field.name: known[field.name] for field in fields(cls)})


def check_version(version):
    """Return ``version``, which becomes the name of a directory, or raise OpsError."""
    if not VERSION.fullmatch(version):
        raise OpsError(
            f"{version!r} cannot be a release version: letters, digits and . _ + ~ - only, a letter or digit first",
            kind="archive",
        )
    return version


def sha256_of(stream):
    """Return the SHA-256 of the rest of a binary stream, hexadecimal."""
    digest = hashlib.sha256()
    while chunk := stream.read(CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def check_sum(archive, sha256, checksum):
    """Raise OpsError unless ``checksum``, when there is one, is ``sha256:`` and the digest of ``archive``."""
    if not checksum:
        return
    if not re.fullmatch(r"sha256:[0-9a-fA-F]{64}", checksum):
        raise OpsError(f"checksum: {checksum!r} is not sha256:<64 hexadecimal digits>", kind="archive")
    if checksum.lower() != f"sha256:{sha256}":
        raise OpsError(
            f"{archive} hashes to sha256:{sha256}, not to {checksum}: copy it again from where it was built, "
            "or correct checksum",
            kind="archive",
        )


def read_release(stream, archive, sha256, release_name, sink=None):
    """Read an archive to its last byte and return the :class:`Release` that it holds.

    :param stream: the archive, binary, at its beginning.
    :param archive: its path, for messages and the record.
    :param sha256: what its bytes must hash to; compared with what was read, so nobody can swap it meanwhile.
    :param release_name: ``bin/<release_name>`` must be in it.
    :param sink: receives the entries in order: ``directory(name)``, ``file(name, source, executable)``,
        ``link(name, target)``, ``hard_link(name, target)``; and ``remove(name)`` before a name, never that of a
        directory, comes again. Names are relative and stay inside. A refusal may come after entries were handed over.
    :raises OpsError: when the archive is damaged, hostile or not a release.
    """
    hashed = _Hashed(stream)
    contents = _Contents(archive, release_name, sink)
    try:
        with gzip.GzipFile(fileobj=hashed) as unzipped:
            limited = _Limited(unzipped, archive)
            with tarfile.open(fileobj=limited, mode="r|", bufsize=CHUNK, tarinfo=_Header, encoding="utf-8") as tar:
                while member := tar.next():
                    contents.add(member, tar)
                    # tarfile would keep every header.
                    tar.members = []
            # The checksum of gzip stands behind the last byte.
            while limited.read(CHUNK):
                pass
    except (EOFError, zlib.error, gzip.BadGzipFile, tarfile.TarError, RecursionError) as error:
        raise _refusal(
            archive, f"is not a complete .tar.gz archive ({error})", "copy it again from where it was built"
        ) from error
    if hashed.hexdigest() != sha256:
        raise _refusal(archive, "changed while it was read", "try again when nothing writes to it")
    return contents.release(sha256)


def _refusal(archive, problem, action):
    return OpsError(f"{archive} {problem}: {action}", kind="archive", archive=archive)


def _start_hooks(script):
    """Return the files that relx's start script runs before it starts Erlang in the foreground."""
    found = _START_HOOKS.search(script)
    words = found.group(1).decode("utf-8", "replace").split() if found else []
    directory = "bin/" if _HOOKS_BESIDE_SCRIPT in script else ""
    # Their arguments are behind a bar.
    return tuple(posixpath.normpath(directory + word.partition("|")[0]) for word in words)


class _Hashed:
    """Hashes what is read through it."""

    def __init__(self, stream):
        self._stream = stream
        self._digest = hashlib.sha256()
        self.hexdigest = self._digest.hexdigest

    def read(self, size):
        data = self._stream.read(size)
        self._digest.update(data)
        return data


class _Limited:
    """Ends a decompression bomb; counts every byte, so headers and padding too."""

    def __init__(self, stream, archive):
        self._stream = stream
        self._archive = archive
        self._left = MAX_BYTES

    def read(self, size):
        data = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise _refusal(
                self._archive, f"unpacks to more than {MAX_BYTES} bytes, which no release does", "build it again"
            )
        return data


class _Header(tarfile.TarInfo):
    """Headers that are checked before tarfile acts on them."""

    @classmethod
    def fromtarfile(cls, tarfile):
        try:
            return super().fromtarfile(tarfile)
        except (EOFHeaderError, EmptyHeaderError):
            raise
        except HeaderError:
            # tarfile takes a broken header for the end of the archive, and would lose what follows.
            raise ReadError("damaged header") from None

    def _proc_member(self, tarfile):
        # tarfile's own place for a subclass to step in, before anything behind the header is read.
        # A global header stays in memory, one behind the other.
        too_long = self.type in _LONG_HEADERS and self.size > MAX_HEADER_BYTES
        if too_long or self.size < 0 or self.type == XGLTYPE:
            raise ReadError("header of a kind or size that no release has")
        return super()._proc_member(tarfile)


class _Contents:
    """Takes in one entry after the other, and knows in the end which release they make."""

    def __init__(self, archive, release_name, sink):
        self._archive = archive
        self._script = f"bin/{release_name}"
        self._sink = sink
        self._kinds = {"": "directory"}
        self._entries = 0
        self._sizes = {}
        self._hard_linked = set()
        self._start_erl = None
        self._start_hooks = ()
        self._emulators = {}

    def add(self, member, tar):
        name = self._inside(member.name)
        if member.isdir():
            self._add_directory(name)
            return
        self._add_directory(name.rpartition("/")[0])
        if name in self._kinds:
            self._forget(name)
        if member.issym():
            self._check_link(name, member.linkname)
            self._enter(name, "link")
            self._hand("link", name, member.linkname)
        elif member.islnk():
            target = self._inside(member.linkname)
            if self._kinds.get(target) not in ("file", "program"):
                raise self._refused(member.name, f"is a hard link to {member.linkname!r}, which is no file before it")
            self._hard_linked |= {name, target}
            self._enter(name, self._kinds[target])
            self._hand("hard_link", name, target)
        elif member.isreg() and not member.issparse():
            executable = bool(member.mode & 0o111)
            self._enter(name, "program" if executable else "file", member.size)
            source = tar.extractfile(member)
            if name == self._script and member.size <= MAX_SCRIPT:
                source = io.BytesIO(source.read())
                self._start_hooks = _start_hooks(source.getvalue())
            self._note(name, source)
            self._hand("file", name, source, executable)
        else:
            raise self._refused(member.name, "is neither a file, a directory nor a link")

    def release(self, sha256):
        if self._start_erl is None:
            raise self._not_a_release(["releases/start_erl.data"])
        words = self._start_erl.split()
        if len(words) != 2:
            raise _refusal(
                self._archive, "has a releases/start_erl.data that is not '<erts> <version>'", "build it again"
            )
        erts, version = (check_version(word) for word in words)
        self._check_complete(version)
        included = f"erts-{erts}" in self._kinds
        if included:
            self._check_libraries()
        return Release(
            version=version,
            erts=erts,
            erts_included=included,
            architecture=self._architecture(f"erts-{erts}/bin/beam.smp") if included else None,
            size=sum(self._sizes.values()),
            sha256=sha256,
            archive=self._archive,
            missing_hooks=tuple(
                name for name in self._start_hooks if self._kinds.get(name) not in ("file", "program", "link")
            ),
        )

    def _inside(self, name):
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if name.startswith("/") or ".." in parts or "\0" in name or len(name) > MAX_NAME:
            raise self._refused(name[:MAX_NAME], "leads out of the release, or is too long")
        return "/".join(parts)

    def _check_link(self, name, target):
        """Allow ``../`` only in front: behind a name that is a link itself, it could climb out."""
        steps = [step for step in target.split("/") if step not in ("", ".")]
        names = [step for step in steps if step != ".."]
        climbs = len(steps) - len(names)
        if target.startswith("/") or "\0" in target or steps[climbs:] != names or climbs > name.count("/"):
            raise self._refused(
                name,
                f"is a link to {target!r}, out of the release, as relx makes them with dev_mode",
                "build it with {dev_mode, false} in the section relx of rebar.config",
            )

    def _add_directory(self, name):
        """Enter ``name`` and those above it. A link may not stand in for one: entries would land where it points."""
        for end in [at for at, letter in enumerate(name) if letter == "/"] + [len(name)]:
            kind = self._kinds.get(name[:end])
            if kind is None:
                self._enter(name[:end], "directory")
                self._hand("directory", name[:end])
            elif kind != "directory":
                raise self._refused(name, f"lies under {name[:end]!r}, which is a {kind}")

    def _forget(self, name):
        """Make room for an entry of the same name: as for tar, the last one counts. relx packs overlays repeatedly."""
        if self._kinds[name] == "directory":
            raise self._refused(
                name,
                "is a directory in it and something else too",
                "leave one of the two out where it was built (overlay in rebar.config)",
            )
        del self._kinds[name]
        # What has another name keeps its place on disk.
        if name not in self._hard_linked:
            del self._sizes[name]
        if name == "releases/start_erl.data":
            self._start_erl = None
        elif name == self._script:
            self._start_hooks = ()
        self._emulators.pop(name, None)
        self._hand("remove", name)

    def _enter(self, name, kind, size=0):
        self._entries += 1
        if self._entries > MAX_ENTRIES:
            raise _refusal(
                self._archive, f"has more than {MAX_ENTRIES} entries, which no release has", "build it again"
            )
        self._kinds[name] = kind
        self._sizes[name] = self._sizes.get(name, 0) + BLOCK + -(-size // BLOCK) * BLOCK

    def _hand(self, what, *arguments):
        if self._sink:
            getattr(self._sink, what)(*arguments)

    def _note(self, name, source):
        if name == "releases/start_erl.data":
            self._start_erl = source.peek(BLOCK)[:BLOCK].decode("ascii", "replace")
        elif re.fullmatch(r"erts-[^/]+/bin/beam\.smp", name):
            self._emulators[name] = source.peek(BLOCK)[:20]

    def _check_complete(self, version):
        def is_file(name):
            return self._kinds.get(name) in ("file", "program", "link")

        directory = f"releases/{version}/"
        boots = (name for name in self._kinds if name.startswith(directory) and name.endswith(".boot"))
        present = {
            f"{self._script} (executable)": self._kinds.get(self._script) in ("program", "link"),
            f"{directory}sys.config": is_file(f"{directory}sys.config") or is_file(f"{directory}sys.config.src"),
            f"{directory}vm.args": is_file(f"{directory}vm.args") or is_file(f"{directory}vm.args.src"),
            f"{directory}*.boot": any(boots),
            "lib/": self._kinds.get("lib") == "directory",
        }
        if missing := [what for what, there in present.items() if not there]:
            raise self._not_a_release(missing)

    def _check_libraries(self):
        """An Erlang runtime that is part of a release looks for its libraries there, not in those of the host."""
        there = {name.split("/")[1].partition("-")[0] for name in self._kinds if name.startswith("lib/")}
        if missing := [f"lib/{each}-*" for each in ("kernel", "stdlib") if each not in there]:
            raise _refusal(
                self._archive,
                f"brings an Erlang runtime without {' and '.join(missing)}, as relx packs it with system_libs",
                "build it without {system_libs, false}, or with {include_erts, false} for the Erlang of the host",
            )

    def _architecture(self, emulator):
        head = self._emulators.get(emulator)
        if head is None:
            raise self._not_a_release([emulator])
        if len(head) < 20 or head[:4] != b"\x7fELF":
            raise self._refused(emulator, "is no Linux program, so the release was built on another system")
        machine = int.from_bytes(head[18:20], "big" if head[5] == 2 else "little")
        return _ELF_MACHINES.get(machine, f"ELF machine {machine}")

    def _not_a_release(self, missing):
        top = sorted(name for name in self._kinds if name and "/" not in name)[:8]
        return _refusal(
            self._archive,
            f"is not a relx release: it lacks {', '.join(missing)} (its top level: {', '.join(top) or 'empty'})",
            "build it with `rebar3 as prod tar`, and check release_name",
        )

    def _refused(self, name, problem, action="build it again with `rebar3 as prod tar`"):
        return _refusal(self._archive, f"was refused: {name!r} {problem}", action)
