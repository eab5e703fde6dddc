# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Damages backup archives in every way that somebody thought of, the same ones for the same seed.

Knows the format from its description, and not from the code that reads it. Standard library only: it runs on hosts.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

BLOCK = 512
# What becomes of the file beside the archive: a digest that no longer fits, one that does, or none.
BESIDE = ("beside file as it was", "beside file made to fit", "beside file gone")
ZEROS = 64 * 1024**2
HUGE = 1024**4

_PREFIXES = b"LKxg"
OUTER, INNER, ALONE = [], [], []


def mutations(good_archive_path, beside_path, out_dir, count, seed):
    """Yield ``count`` pairs (path of a damaged archive, description); each path is gone when the next one is asked for.

    Every one of them must be refused. The archive keeps its name, in a directory of its own below ``out_dir``, with
    or without ``<archive>.json`` beside it. What changes bytes and no meaning is left out where the file beside it
    does not tell.
    """
    dice = random.Random(seed)
    good = Good(Path(good_archive_path), Path(beside_path))
    kinds = [*OUTER, *([] if good.encrypted else INNER)]
    plan = [*((kind, beside) for kind in kinds for beside in BESIDE), *((kind, None) for kind in ALONE)]
    made = 0
    while True:
        dice.shuffle(plan)
        for kind, beside in plan:
            if made == count:
                return
            damaged = kind(dice, good)
            if damaged is None or not _tells(good, damaged, beside):
                continue
            made += 1
            directory = Path(out_dir) / str(made)
            directory.mkdir(parents=True)
            path = directory / good.path.name
            path.write_bytes(damaged.archive)
            text = _beside_text(good, damaged, beside)
            if text is not None:
                Path(f"{path}.json").write_bytes(text)
            yield path, ", ".join(filter(None, (f"{made}: {kind.__doc__.rstrip('.')}", damaged.detail, beside)))
            shutil.rmtree(directory, ignore_errors=True)


@dataclass
class Damaged:
    """Bytes of an archive; ``beside`` where the file beside it is what was damaged."""

    archive: bytes
    detail: str = ""
    manifest: object = None
    beside: bytes | None = None


@dataclass
class Entry:
    """One entry of a tar: everything in front of the content, and the content."""

    head: bytes
    content: bytes

    @property
    def bytes(self):
        return self.head + self.content + bytes(-len(self.content) % BLOCK)

    def changed(self, content=None, **fields):
        """A copy with another content, and fields of its header set; the checksum is right."""
        content = self.content if content is None else content
        fields.setdefault("size", len(content))
        prefix = b"" if "name" in fields else self.head[:-BLOCK]
        return Entry(prefix + _head(self.head[-BLOCK:], **fields), content)


_FIELDS = {
    "name": (0, 100),
    "mode": (100, 8),
    "size": (124, 12),
    "mtime": (136, 12),
    "type": (156, 1),
    "link": (157, 100),
}


def _head(block, **fields):
    block = bytearray(block)
    for field, value in fields.items():
        at, length = _FIELDS[field]
        if isinstance(value, int):
            octal = value < 8 ** (length - 1)
            value = b"%0*o\0" % (length - 1, value) if octal else b"\x80" + value.to_bytes(length - 1, "big")
        block[at : at + length] = value[:length].ljust(length, b"\0")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


class Good:
    """The archive that is not damaged."""

    def __init__(self, path, beside):
        self.path = path
        self.archive = path.read_bytes()
        self.beside = beside.read_bytes()
        self.encrypted = path.name.endswith(".age")
        self.gzip = path.name.endswith(".gz")
        if not self.encrypted:
            self.tar = self.unpack(self.archive)
            self.entries = _entries(self.tar)

    def unpack(self, archive):
        """The tar, or ``None`` when the program refuses it."""
        command = ["gzip", "-d", "-c"] if self.gzip else ["zstd", "-q", "-d", "-c"]
        done = subprocess.run(command, input=archive, capture_output=True, check=False)
        return None if done.returncode else done.stdout

    def pack(self, tar):
        if self.gzip:
            return gzip.compress(tar, 1, mtime=0)
        return subprocess.run(["zstd", "-q", "-1", "-c"], input=tar, capture_output=True, check=True).stdout


def _entries(tar):
    found, at = [], 0
    while tar[at : at + BLOCK].strip(b"\0"):
        start = at
        while tar[at + 156] in _PREFIXES:
            size = int(tar[at + 124 : at + 135], 8)
            at += BLOCK + size + -size % BLOCK
        size = tarfile.TarInfo.frombuf(tar[at : at + BLOCK], "utf-8", "surrogateescape").size
        head, at = tar[start : at + BLOCK], at + BLOCK
        found.append(Entry(head, tar[at : at + size]))
        at += size + -size % BLOCK
    return found


class Draft:
    """A tar that is being changed: header, members and manifest can be made to agree, or not to."""

    def __init__(self, good):
        self._good = good
        first, *members, last = good.entries
        self.first, self.members, self.last = first, members, last
        self.header, self.manifest = json.loads(first.content), json.loads(last.content)

    def dump(self):
        """Write what header and manifest are now."""
        self.first = self.first.changed(json.dumps(self.header, separators=(",", ":")).encode())
        self.last = self.last.changed(json.dumps(self.manifest, separators=(",", ":")).encode())

    def done(self, detail="", entries=None, behind=bytes(2 * BLOCK)):
        entries = [self.first, *self.members, self.last] if entries is None else entries
        tar = b"".join(entry.bytes for entry in entries) + behind
        return Damaged(self._good.pack(tar), detail, self.told())

    def told(self):
        """The manifest as a reader gets it."""
        try:
            return json.loads(self.last.content)
        except (ValueError, RecursionError):
            return None

    def rename(self, index, name):
        """Give a member another name, everywhere."""
        for records in (self.header["files"], self.manifest["files"]):
            records[index]["name"] = name
        self.dump()
        encoded = name.encode("utf-8", "surrogateescape")
        if len(encoded) <= 100:
            self.members[index] = self.members[index].changed(name=encoded)
        else:
            info = tarfile.TarInfo(name)
            info.size = len(self.members[index].content)
            head = info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
            self.members[index] = Entry(head, self.members[index].content)

    def declare(self, index, content):
        """Give a member another content, everywhere."""
        self.members[index] = self.members[index].changed(content)
        self.manifest["files"][index].update(size=len(content), sha256=hashlib.sha256(content).hexdigest())
        self.header["files"][index]["size"] = len(content)
        self.header["bytes"] = sum(record["size"] for record in self.header["files"])


def _tells(good, damaged, beside):
    """Whether anybody could see that it was damaged."""
    if damaged.beside is not None:
        return True
    if damaged.archive == good.archive:
        return False
    if good.encrypted or beside == BESIDE[0]:
        return True
    return good.unpack(damaged.archive) != good.tar


def _beside_text(good, damaged, beside):
    if damaged.beside is not None:
        return damaged.beside
    if beside == BESIDE[0]:
        return good.beside
    if beside == BESIDE[2]:
        return None
    told = json.loads(good.beside)
    told["archive"].update(size=len(damaged.archive), sha256=hashlib.sha256(damaged.archive).hexdigest())
    if isinstance(damaged.manifest, dict):
        told["manifest"] = damaged.manifest
    return json.dumps(told).encode()


# ---- The file


def outer(kind):
    OUTER.append(kind)
    return kind


@outer
def flip(dice, good):
    """A bit flipped."""
    archive = bytearray(good.archive)
    at = dice.randrange(len(archive))
    archive[at] ^= 1 << dice.randrange(8)
    return Damaged(bytes(archive), f"at {at}")


@outer
def flip_some(dice, good):
    """Some bits flipped."""
    archive = bytearray(good.archive)
    for at in dice.sample(range(len(archive)), min(16, len(archive))):
        archive[at] ^= 1 << dice.randrange(8)
    return Damaged(bytes(archive))


@outer
def flip_near_the_ends(dice, good):
    """A bit flipped near the beginning or the end, where the compressor keeps its own facts."""
    archive = bytearray(good.archive)
    at = dice.randrange(-16, 16)
    archive[at] ^= 1 << dice.randrange(8)
    return Damaged(bytes(archive), f"at {at}")


@outer
def truncate(dice, good):
    """Truncated."""
    length = dice.randrange(1, len(good.archive))
    return Damaged(good.archive[:length], f"to {length} bytes")


@outer
def truncate_little(dice, good):
    """Truncated by a few bytes."""
    missing = dice.randrange(1, 9)
    return Damaged(good.archive[:-missing], f"by {missing} bytes")


@outer
def empty(_dice, _good):
    """Empty."""
    return Damaged(b"")


@outer
def zeroed(dice, good):
    """Zeros where a disk lost them."""
    at = dice.randrange(len(good.archive))
    return Damaged(good.archive[:at] + bytes(len(good.archive) - at), f"from {at} on")


@outer
def noise(dice, good):
    """Random bytes."""
    return Damaged(dice.getrandbits(8 * 4096).to_bytes(4096, "big"))


@outer
def garbage(dice, good):
    """Garbage behind the end."""
    return Damaged(good.archive + dice.choice([b"\n", b"garbage", b"\x28\xb5\x2f\xfd", b"\xff" * 4096]))


@outer
def twice(_dice, good):
    """The archive twice, one behind the other."""
    return Damaged(good.archive + good.archive)


@outer
def hole(dice, good):
    """A piece missing in the middle."""
    at = dice.randrange(len(good.archive) // 2)
    length = dice.randrange(1, len(good.archive) // 2)
    return Damaged(good.archive[:at] + good.archive[at + length :], f"{length} bytes at {at}")


# ---- The tar inside, as bytes


def inner(kind):
    INNER.append(kind)
    return kind


def _offset(good, index):
    return sum(len(entry.bytes) for entry in good.entries[:index])


@inner
def tar_truncated(dice, good):
    """Well compressed, and the tar truncated."""
    length = dice.randrange(len(good.tar) - 2 * BLOCK)
    return Damaged(good.pack(good.tar[:length]), f"to {length} bytes")


@inner
def manifest_truncated(dice, good):
    """Well compressed, and the tar truncated inside the manifest."""
    length = _offset(good, -1) + BLOCK + dice.randrange(len(good.entries[-1].content))
    return Damaged(good.pack(good.tar[:length]), f"at {length}")


@inner
def no_end(_dice, good):
    """A tar without its end."""
    return Draft(good).done(behind=b"")


@inner
def tar_garbage(dice, good):
    """Something behind the end of the tar."""
    return Draft(good).done(behind=bytes(2 * BLOCK) + dice.choice([b"garbage", b"\1" * BLOCK, good.tar]))


@inner
def tar_flip(dice, good):
    """A bit flipped in a member before it was compressed."""
    draft = Draft(good)
    index = _filled(dice, draft)
    if index is None:
        return None
    content = bytearray(draft.members[index].content)
    content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    draft.members[index] = Entry(draft.members[index].head, bytes(content))
    return draft.done()


@inner
def head_flip(dice, good):
    """A bit flipped in a tar header."""
    draft = Draft(good)
    entries = [draft.first, *draft.members, draft.last]
    index = dice.randrange(len(entries))
    head = bytearray(entries[index].head)
    # The checksum counts all of it, and only here does a flip change what it says.
    at = dice.choice([dice.randrange(8), dice.randrange(100, 107), dice.randrange(124, 147), 156])
    head[at - BLOCK] ^= 1 << dice.randrange(3)
    entries[index] = Entry(bytes(head), entries[index].content)
    return draft.done(f"in entry {index}", entries)


def _filled(dice, draft, least=1):
    """A random member that has something in it."""
    found = [index for index, entry in enumerate(draft.members) if len(entry.content) >= least]
    return dice.choice(found) if found else None


def _any(dice, draft):
    return dice.randrange(len(draft.members)) if draft.members else None


# ---- Members


@inner
def swapped(dice, good):
    """Two members in the other order."""
    draft = Draft(good)
    if len(draft.members) < 2:
        return None
    one, other = dice.sample(range(len(draft.members)), 2)
    draft.members[one], draft.members[other] = draft.members[other], draft.members[one]
    return draft.done()


@inner
def duplicated(dice, good):
    """A member twice."""
    draft = Draft(good)
    index = _any(dice, draft)
    if index is None:
        return None
    draft.members.insert(index, draft.members[index])
    return draft.done()


@inner
def declared_twice(dice, good):
    """A member twice, as declared."""
    draft = Draft(good)
    index = _any(dice, draft)
    if index is None:
        return None
    draft.members.insert(index, draft.members[index])
    for records in (draft.header["files"], draft.manifest["files"]):
        records.insert(index, dict(records[index]))
    draft.header["bytes"] += len(draft.members[index].content)
    draft.dump()
    return draft.done()


@inner
def missing(dice, good):
    """A member missing."""
    draft = Draft(good)
    index = _any(dice, draft)
    if index is None:
        return None
    del draft.members[index]
    return draft.done()


@inner
def renamed(dice, good):
    """A member under another name than declared."""
    draft = Draft(good)
    index = _any(dice, draft)
    if index is None:
        return None
    draft.members[index] = draft.members[index].changed(name=b"data/other.dat")
    return draft.done()


@inner
def added(dice, good):
    """A member that is not declared."""
    draft = Draft(good)
    entry = draft.first.changed(b"more", name=dice.choice([b"data/more", b"more", b"../more", b"/etc/cron.d/more"]))
    draft.members.insert(dice.randrange(len(draft.members) + 1), entry)
    return draft.done()


@inner
def behind_the_manifest(_dice, good):
    """A member behind the manifest."""
    draft = Draft(good)
    more = draft.first.changed(b"more", name=b"data/more")
    return draft.done(entries=[draft.first, *draft.members, draft.last, more])


@inner
def contents_exchanged(dice, good):
    """Two members with each other's content."""
    draft = Draft(good)
    one, other = (dice.sample(range(len(draft.members)), 2)) if len(draft.members) > 1 else (0, 0)
    if one == other or draft.members[one].content == draft.members[other].content:
        return None
    first, second = draft.members[one], draft.members[other]
    draft.members[one], draft.members[other] = first.changed(second.content), second.changed(first.content)
    return draft.done()


@inner
def without(dice, good):
    """Without its header, its manifest, or both."""
    draft = Draft(good)
    which = dice.choice(["header", "manifest", "both"])
    first = [] if which in ("header", "both") else [draft.first]
    last = [] if which in ("manifest", "both") else [draft.last]
    return draft.done(which, [*first, *draft.members, *last])


@inner
def out_of_place(dice, good):
    """Header or manifest at another place, or twice."""
    draft = Draft(good)
    if not draft.members:
        return None
    first, members, last = draft.first, draft.members, draft.last
    return draft.done(
        entries=dice.choice(
            [
                [last, *members, first],
                [first, last, *members],
                [*members, first, last],
                [first, first, *members, last],
                [first, *members, last, last],
            ]
        )
    )


HOSTILE = (
    "..",
    "../evil",
    "data/../../evil",
    "data/..",
    "/etc/cron.d/evil",
    "/data/evil",
    "",
    ".",
    "data",
    "data/",
    "data//evil",
    "data/./evil",
    "./data/evil",
    "data/e\0vil",
    "etc/passwd",
    "config/../../evil",
    "config/..",
    "manifest.json",
    "header.json",
    "data/" + "x" * 5000,
    "data" + "/x" * 40000,
)


@inner
def hostile_name(dice, good):
    """A hostile name, declared everywhere."""
    draft = Draft(good)
    index = _any(dice, draft)
    if index is None:
        return None
    name = dice.choice(HOSTILE)
    draft.rename(index, name)
    return draft.done(repr(name[:40]))


@inner
def file_and_directory(dice, good):
    """A file that is the directory of another."""
    draft = Draft(good)
    if len(draft.members) < 2:
        return None
    one, other = dice.sample(range(len(draft.members)), 2)
    draft.rename(one, "data/both")
    draft.rename(other, "data/both/file")
    return draft.done()


KINDS = {
    "hard link": b"1",
    "symbolic link": b"2",
    "character device": b"3",
    "block device": b"4",
    "directory": b"5",
    "FIFO": b"6",
    "contiguous file": b"7",
    "sparse file": b"S",
    "old long name": b"N",
    "volume label": b"V",
    "unknown type": b"?",
}


@inner
def other_kind(dice, good):
    """A member that is no regular file."""
    draft = Draft(good)
    index = _any(dice, draft)
    if index is None:
        return None
    kind = dice.choice(sorted(KINDS))
    content = b"" if KINDS[kind] in b"12345" and dice.random() < 0.5 else None
    if content is not None:
        draft.declare(index, content)
        draft.dump()
    link = dice.choice([b"/etc/shadow", b"../../../etc/shadow", b"header.json"])
    draft.members[index] = draft.members[index].changed(type=KINDS[kind], link=link)
    return draft.done(kind)


@inner
def link_first(dice, good):
    """A link in front of the file that would be written through it."""
    draft = Draft(good)
    index = _any(dice, draft)
    if index is None:
        return None
    link = draft.members[index].changed(b"", type=b"2", link=b"/root/evil")
    draft.members.insert(index, link)
    return draft.done()


@inner
def extended(dice, good):
    """An extended header that says something else of a member."""
    draft = Draft(good)
    index = _any(dice, draft)
    if index is None:
        return None
    member = draft.members[index]
    key, value = dice.choice([("path", "../evil"), ("size", str(len(member.content) + 1)), ("GNU.sparse.map", "0,1")])
    record = f" {key}={value}\n"
    length = len(record) + 1
    while length != len(f"{length}{record}"):
        length += 1
    pax = draft.first.changed(f"{length}{record}".encode(), name=b"pax", type=dice.choice([b"x", b"g"]))
    draft.members[index] = Entry(member.head[-BLOCK:], member.content)
    draft.members.insert(index, pax)
    return draft.done(key)


# ---- Header and manifest


@inner
def unknown_format(dice, good):
    """An unknown format."""
    draft = Draft(good)
    version = dice.choice([0, 2, 99, -1, "1", None, 1.5, True, [1]])
    where = dice.choice(["header", "manifest", "both"])
    if where != "manifest":
        draft.header["format"] = version
    if where != "header":
        draft.manifest["format"] = version
    draft.dump()
    return draft.done(f"{version!r} in {where}")


@inner
def disagreement(dice, good):
    """A manifest that disagrees about a member."""
    draft = Draft(good)
    index = _any(dice, draft)
    if index is None:
        return None
    record = draft.manifest["files"][index]
    key = dice.choice(["size", "sha256", "name", "mode"])
    if key == "sha256":
        digit = dice.randrange(64)
        record[key] = record[key][:digit] + ("0" if record[key][digit] != "0" else "1") + record[key][digit + 1 :]
    elif key == "name":
        record[key] = "data/another"
    else:
        record[key] += 1 if record[key] % 2 == 0 else -1
    draft.dump()
    return draft.done(key)


@inner
def other_order(dice, good):
    """A manifest or a header in another order."""
    draft = Draft(good)
    files = dice.choice([draft.manifest, draft.header])["files"]
    if len(files) < 2:
        return None
    one, other = dice.sample(range(len(files)), 2)
    files[one], files[other] = files[other], files[one]
    draft.dump()
    return draft.done()


@inner
def other_count(dice, good):
    """A manifest or a header with one file more or less."""
    draft = Draft(good)
    told = dice.choice([draft.manifest, draft.header])
    if not told["files"]:
        return None
    index = dice.randrange(len(told["files"]))
    if dice.random() < 0.5:
        del told["files"][index]
    else:
        told["files"].append({**told["files"][index], "name": "data/more"})
    if told is draft.header:
        told["bytes"] = sum(record["size"] for record in told["files"])
    draft.dump()
    return draft.done()


@inner
def other_node(dice, good):
    """A header of another node, or of another backup."""
    draft = Draft(good)
    key = dice.choice(["node", "id"])
    draft.header[key] = {"node": "other@example.org", "id": "erlmcp-other-20200101T000000Z"}[key]
    draft.dump()
    return draft.done(key)


@inner
def other_sum(dice, good):
    """A header with another sum of bytes."""
    draft = Draft(good)
    draft.header["bytes"] += dice.choice([-1, 1, 512, HUGE])
    draft.dump()
    return draft.done()


@inner
def other_size(dice, good):
    """A header with another size of a member."""
    draft = Draft(good)
    index = _any(dice, draft)
    if index is None:
        return None
    more = dice.choice([1, 511, 512, HUGE])
    draft.header["files"][index]["size"] += more
    draft.header["bytes"] += more
    draft.dump()
    return draft.done(f"{more} more")


def _paths(value, path=()):
    """Every place in a JSON value, but those inside of lists that are long."""
    if path:
        yield path
    if isinstance(value, dict):
        for key in sorted(value):
            yield from _paths(value[key], (*path, key))
    elif isinstance(value, list) and value:
        yield from _paths(value[0], (*path, 0))


def _place(value, path):
    for step in path[:-1]:
        value = value[step]
    return value


# What an operator reads, and no restore depends on.
_FREE = {("versions", "applications"), ("tables", 0, "type"), ("tables", 0, "storage"), ("tables", 0, "nodes")}


def _required(told):
    return [p for p in _paths(told) if p[-1] != 0 and not any(p[: len(free)] == free for free in _FREE)]


@inner
def wrong_type(dice, good):
    """A value of the wrong type."""
    draft = Draft(good)
    told, name = dice.choice([(draft.manifest, "manifest"), (draft.header, "header")])
    path = dice.choice(_required(told))
    holder = _place(told, path)
    value = holder[path[-1]]
    others = [other for other in (7, -1, 2.5, "text", [7], {"a": 7}, True) if not isinstance(other, type(value))]
    if value is None:
        others = [7, [7], True]
    holder[path[-1]] = dice.choice(others)
    draft.dump()
    return draft.done(f"{name} {path}: {holder[path[-1]]!r}")


@inner
def no_key(dice, good):
    """A key missing."""
    draft = Draft(good)
    told, name = dice.choice([(draft.manifest, "manifest"), (draft.header, "header")])
    path = dice.choice(_required(told))
    del _place(told, path)[path[-1]]
    draft.dump()
    return draft.done(f"{name} {path}")


NO_JSON = {
    "nothing": b"",
    "text": b"no json",
    "half": None,
    "a list": b"[]",
    "null": b"null",
    "a number": b"1",
    "not UTF-8": b'{"format": 1, "id": "\xff\xfe"}',
    "UTF-16": '{"format": 1}'.encode("utf-16"),
    "nested": b"[" * 200_000,
    "nested well": b"[" * 200_000 + b"]" * 200_000,
    "a huge number": b'{"format": ' + b"9" * 200_000 + b"}",
    "infinite": b'{"format": 1e999, "bytes": Infinity}',
    "no number": b'{"format": NaN}',
    "zeros": bytes(4096),
}


@inner
def no_json(dice, good):
    """Header or manifest that are no JSON of ours."""
    draft = Draft(good)
    name = dice.choice(sorted(NO_JSON))
    which = dice.choice(["first", "last"])
    entry = getattr(draft, which)
    content = entry.content[: len(entry.content) // 2] if NO_JSON[name] is None else NO_JSON[name]
    setattr(draft, which, entry.changed(content))
    return draft.done(f"{name} as {which}")


# ---- Bombs


@inner
def larger_than_declared(dice, good):
    """A member that is declared small, and is large."""
    draft = Draft(good)
    index = _any(dice, draft)
    if index is None:
        return None
    member = draft.members[index]
    if dice.random() < 0.5:
        draft.members[index] = member.changed(bytes(ZEROS))
        return draft.done("its tar header says so")
    draft.members[index] = Entry(member.head, bytes(ZEROS))
    return draft.done("its tar header does not")


@inner
def smaller_than_declared(dice, good):
    """A member that is declared huge, and is not."""
    draft = Draft(good)
    index = _any(dice, draft)
    if index is None:
        return None
    for record in (draft.header["files"][index], draft.manifest["files"][index]):
        record["size"] = HUGE
    draft.header["bytes"] = sum(record["size"] for record in draft.header["files"])
    draft.dump()
    draft.members[index] = draft.members[index].changed(size=HUGE)
    if dice.random() < 0.5:
        return draft.done("and goes on")
    draft.members[index] = Entry(draft.members[index].head, bytes(ZEROS))
    return draft.done("zeros, and its end", [draft.first, *draft.members[: index + 1]])


@inner
def zeros_behind(_dice, good):
    """Zeros without end behind the manifest."""
    return Draft(good).done(behind=bytes(ZEROS))


@inner
def huge_json(dice, good):
    """A header or a manifest that is huge."""
    draft = Draft(good)
    which = dice.choice(["first", "last"])
    entry = getattr(draft, which)
    if dice.random() < 0.5:
        setattr(draft, which, entry.changed(size=8**11 - 1))
        return draft.done(f"{which}, it says")
    setattr(draft, which, entry.changed(b" " * (ZEROS + 1) + entry.content))
    return draft.done(f"{which}, it is")


# ---- The file beside it


def alone(kind):
    ALONE.append(kind)
    return kind


@alone
def beside_edited(dice, good):
    """The file beside a good archive says something else."""
    told = json.loads(good.beside)
    key = dice.choice(["size", "sha256", "name", "manifest", "files", "no manifest", "no archive", "format"])
    if key == "size":
        told["archive"]["size"] += 1
    elif key == "sha256":
        told["archive"]["sha256"] = hashlib.sha256(b"other").hexdigest()
    elif key == "name":
        told["archive"]["name"] = "erlmcp-other-20200101T000000Z.tar.zst"
    elif key == "manifest":
        told["manifest"]["service"] += "x"
    elif key == "files":
        told["manifest"]["files"] = told["manifest"]["files"][1:] or [{}]
    elif key == "format":
        told["manifest"]["format"] = 2
    else:
        del told[key.split()[1]]
    if good.encrypted and key == "manifest":
        return None
    return Damaged(good.archive, key, beside=json.dumps(told).encode())


@alone
def beside_no_json(dice, good):
    """The file beside a good archive is no JSON of ours."""
    text = dice.choice([b"", b"no json", b"[]", b"null", b"{}", good.beside[: len(good.beside) // 2], b"\xff\xfe"])
    return Damaged(good.archive, repr(text[:10]), beside=text)
