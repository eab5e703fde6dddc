# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import tarfile
import time
from pathlib import Path

import pytest
from ansible_collections.erlmcp.ops.molecule.shared.mutate import mutations
from ansible_collections.erlmcp.ops.plugins.module_utils._backup import archive, pipeline, tarentry
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.archive import Source, read_archive
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.tests.unit.plugins.module_utils._backup.backup_archives import (
    FILES,
    manifest,
    sources,
    write,
)

COMPRESSIONS = [name for name in ("zstd", "gzip") if shutil.which(name)]
needs_age = pytest.mark.skipif(not shutil.which("age"), reason="age is not installed")
needs_zstd = pytest.mark.skipif(not shutil.which("zstd"), reason="zstd is not installed")
pytestmark = needs_zstd


@pytest.fixture
def here(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "sources").mkdir()
    return tmp_path


@pytest.fixture
def key():
    made = subprocess.run(["age-keygen"], capture_output=True, text=True, check=True).stdout
    return made, next(line for line in made.splitlines() if "public key" in line).split()[-1]


def write_files(here, **options):
    return write(here / "store", sources(here / "sources", options.pop("files", None)), **options)


def collect(path, **options):
    found = {}
    told = read_archive(str(path), sink=lambda name, reader, record: found.update({name: drain(reader)}), **options)
    return told, found


def drain(reader):
    parts = []
    while part := reader.read(1000):
        parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_what_is_written_can_be_read(here, compression):
    path, beside = write_files(here, compression=compression)
    told, found = collect(path, beside=beside)
    assert found == FILES
    assert list(found) == list(FILES)
    assert told == beside["manifest"] == read_archive(str(path))
    assert [record["mode"] for record in told["files"]] == [0o640] * len(FILES)
    assert beside["archive"]["size"] == path.stat().st_size
    assert beside["archive"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_archive_of_nothing(here):
    path, beside = write_files(here, files={})
    assert read_archive(str(path), beside=beside)["files"] == []


def test_every_tar_reads_it(here):
    path, beside = write_files(here)
    tar = subprocess.run(["zstd", "-dc", path], capture_output=True, check=True).stdout
    (here / "tar").write_bytes(tar)
    with tarfile.open(here / "tar") as opened:
        assert opened.getnames() == ["header.json", *FILES, "manifest.json"]
        assert {name: opened.extractfile(name).read() for name in FILES} == FILES
        record = beside["manifest"]["files"][0]
        member = opened.getmember(record["name"])
        assert (member.mode, member.mtime) == (record["mode"], record["mtime"])
    subprocess.run(["tar", "-x", "-f", here / "tar", "-C", here / "sources"], check=True)
    assert all((here / "sources" / name).read_bytes() == content for name, content in FILES.items())


@pytest.mark.parametrize("size", [0, 8**11 - 1, 8**11, 2**50])
def test_sizes_that_octal_digits_cannot_say(size):
    block = tarentry.header("data/a", size, 0o640, tarentry.MAX_TIME)
    found = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    assert (found.name, found.size, found.mode, found.mtime) == ("data/a", size, 0o640, tarentry.MAX_TIME)


def test_headers_are_the_same_for_ever():
    found = hashlib.sha256(tarentry.header("data/" + "x" * 120, 8**11, 0o640, 1) + tarentry.header("a", 1, 0, 0))
    assert found.hexdigest() == "c190004720404cedbbf97c371d4263e4cee8107b9610f9b7b85088875153a797"


def test_content_instead_of_a_file(here):
    path, beside = write(here / "store", [Source("config/vm.args", content=b"-name x\n", mode=0o600)])
    assert collect(path, beside=beside)[1] == {"config/vm.args": b"-name x\n"}


def test_progress_is_told(here):
    ticks = []
    path, _beside = write_files(here, tick=lambda done, total: ticks.append((done, total)))
    total = sum(map(len, FILES.values()))
    assert ticks[-1] == (total, total)
    assert ticks == sorted(ticks)
    ticks.clear()
    read_archive(str(path), tick=lambda done, total: ticks.append((done, total)))
    assert ticks[-1] == (total, total)
    assert ticks == sorted(ticks)


# ---- Writing


def refused_write(here, members, match, **options):
    with pytest.raises(OpsError, match=match) as refused:
        write(here / "store", members, **options)
    assert os.listdir(here / "store") == []
    return refused.value


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(b"x" * 5_000_000),
        lambda path: os.truncate(path, 10),
        lambda path: os.utime(path, (1, 1)),
        lambda path: os.replace(shutil.copy2(path, f"{path}.new"), path),
    ],
    ids=["grown", "shrunk", "touched", "replaced"],
)
def test_a_file_that_changes_meanwhile(here, change):
    members = sources(here / "sources", {"data/first": b"first", "data/second": b"s" * 3_000_000})
    changed = []

    def tick(_done, _total):
        if not changed:
            changed.append(change(Path(members[1].path)))

    error = refused_write(here, members, "second|source1", tick=tick)
    assert error.kind == "changed"
    assert "add 'second' to erlmcp_backup_exclude, or set erlmcp_backup_method: stop" in str(error)


@pytest.mark.parametrize(
    ("member", "gone", "changed"),
    [
        ("data/deep/er", "or add 'deep/er' to erlmcp_backup_exclude", "or set erlmcp_backup_method: stop"),
        ("tls/etc/key.pem", "or leave tls out of erlmcp_backup_members", "run again"),
        ("mnesia.backup", "run again when it comes and goes", "run again"),
    ],
)
def test_what_is_said_of_a_file_is_for_its_kind(here, member, gone, changed):
    (source,) = sources(here / "sources", {member: b"s" * 3_000_000})
    error = refused_write(here, [source], "changed while", tick=lambda done, total: os.utime(source.path, (1, 1)))
    assert str(error).endswith(changed)
    os.unlink(source.path)
    assert str(refused_write(here, [source], "cannot be read")).endswith(gone)


def test_a_file_that_changes_under_the_reader(here):
    members = sources(here / "sources", {"data/a": b"s" * 3_000_000})
    error = refused_write(here, members, "source0", tick=lambda done, total: os.truncate(members[0].path, 1_500_000))
    assert error.kind == "changed"


@pytest.mark.parametrize("rotate", [True, False])
def test_a_log_may_grow_and_be_rotated_away(here, rotate):
    members = sources(here / "sources", {"data/a": b"first", "logs/l": b"line\n", "logs/gone": b""}, may_grow=True)
    os.unlink(members[2].path)

    def tick(_done, _total):
        with open(members[1].path, "ab") as log:
            log.write(b"more\n")
        if rotate and os.path.exists(members[1].path):
            os.replace(members[1].path, f"{members[1].path}.1")

    path, beside = write(here / "store", members, tick=tick)
    assert collect(path, beside=beside)[1] == {"data/a": b"first", "logs/l": b"line\n"}


def test_a_log_that_is_truncated(here):
    members = sources(here / "sources", {"data/a": b"first", "logs/l": b"line\n"}, may_grow=True)
    refused_write(here, members, "source1 changed", tick=lambda done, total: os.truncate(members[1].path, 0))


def test_what_is_no_regular_file(here):
    os.symlink("/etc/passwd", here / "link")
    os.mkfifo(here / "fifo")
    for path in (here / "link", here / "fifo", here, here / "nothing", Path("/dev/null")):
        refused_write(here, [Source("data/a", str(path))], f"{path} ")
        if path.name != "nothing":
            refused_write(here, [Source("logs/a", str(path), may_grow=True)], f"{path} ")


def test_no_link_is_followed_below_what_is_trusted(here):
    (here / "trusted" / "real").mkdir(parents=True)
    (here / "trusted" / "real" / "file").write_bytes(b"content")
    os.symlink("real", here / "trusted" / "link")
    os.symlink("trusted", here / "root")
    root = str(here / "root")
    path, _beside = write(here / "store", [Source("data/a", f"{root}/real/file", root=root)])
    assert collect(path)[1] == {"data/a": b"content"}
    shutil.rmtree(here / "store")
    (here / "store").mkdir()
    refused_write(here, [Source("data/a", f"{root}/link/file", root=root)], "link/file cannot be read")


def test_names_that_no_reader_would_take(here):
    refused_write(here, [Source("data/../a", content=b"")], r"files\[\].name in its header")
    refused_write(here, [Source("data/a", content=b"")] * 2, "twice")


def test_a_manifest_that_no_reader_would_take(here):
    refused_write(
        here, [Source("data/a", content=b"")], "method in its manifest", finish=lambda f: manifest(f, method="x")
    )
    refused_write(here, [Source("data/a", content=b"")], "number of files", finish=lambda f: manifest([]))


def test_more_files_than_a_header_can_hold(here, monkeypatch):
    monkeypatch.setattr(archive, "MAX_HEADER", 100)
    refused_write(here, sources(here / "sources"), "8 files are more than an archive can hold")


def fake_program(here, monkeypatch, name, text):
    (here / "bin").mkdir()
    (here / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
    (here / "bin" / name).chmod(0o755)
    monkeypatch.setattr(pipeline, "SEARCH_PATH", f"{here / 'bin'}:{os.environ['PATH']}")


@pytest.mark.parametrize("text", ["head -c 1000 >&2; exit 3", "cat > /dev/null; exit 3"], ids=["early", "late"])
def test_a_compressor_that_fails(here, monkeypatch, text):
    fake_program(here, monkeypatch, "zstd", f"echo zstd: out of memory >&2; {text}")
    members = sources(here / "sources", {"data/a": bytes(5_000_000)})
    assert refused_write(here, members, "zstd: zstd: out of memory").kind == "io"


def test_a_compressor_that_is_killed(here, monkeypatch):
    fake_program(here, monkeypatch, "zstd", "kill -9 $$")
    refused_write(here, sources(here / "sources", {"data/a": bytes(5_000_000)}), "zstd: ended by signal 9")


def test_a_program_that_is_not_installed(here, monkeypatch):
    monkeypatch.setattr(pipeline, "SEARCH_PATH", str(here))
    assert refused_write(here, [], "zstd is not installed").kind == "command"


def test_a_disk_that_is_full(here):
    members = sources(here / "sources", {"data/a": os.urandom(4_000_000)})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        error = refused_write(here, members, "was not written: .*File too large")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert error.kind == "io"


def test_a_file_in_the_way_stays(here):
    write_files(here)
    with pytest.raises(OpsError, match="cannot be made: File exists"):
        write_files(here)
    assert len(os.listdir(here / "store")) == 2


def test_an_interrupted_backup_leaves_neither_file_nor_process(here):
    def tick(_done, _total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_files(here, tick=tick)
    assert os.listdir(here / "store") == []
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


# ---- Reading


def refused_read(path, match, **options):
    with pytest.raises(OpsError, match=match) as refused:
        read_archive(str(path), **options)
    assert refused.value.kind == "archive"
    assert str(path) in str(refused.value)
    return refused.value


def test_what_is_no_archive(here):
    refused_read(here / "nothing", "cannot be read")
    refused_read(here, "no regular file")
    os.mkfifo(here / "fifo")
    refused_read(here / "fifo", "no regular file")
    (here / "empty").write_bytes(b"")
    refused_read(here / "empty", "is empty")
    (here / "text").write_bytes(b"no archive at all, but long enough")
    refused_read(here / "text", "neither zstd nor gzip nor age")


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_damage_is_named(here, compression):
    path, beside = write_files(here, compression=compression)
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    refused_read(path, "had .* when it was written", beside=beside)
    refused_read(path, rf"is damaged \({compression}: ")
    beside["archive"]["sha256"] = "0" * 64
    path.write_bytes(content)
    refused_read(path, "do not hash to", beside=beside)


def test_the_header_can_refuse_before_anything_is_handed_out(here):
    path, _beside = write_files(here)
    seen = []

    def on_header(header):
        assert header["bytes"] == sum(map(len, FILES.values()))
        raise OpsError("no space", kind="space")

    with pytest.raises(OpsError, match="no space") as refused:
        read_archive(str(path), on_header=on_header, sink=lambda *member: seen.append(member))
    assert refused.value.kind == "space"
    assert seen == []


def test_what_the_sink_raises_is_not_called_damage(here):
    path, _beside = write_files(here)

    def sink(_name, _reader, _record):
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        read_archive(str(path), sink=sink)


def test_a_sink_need_not_read(here):
    path, beside = write_files(here)
    seen = []
    read_archive(str(path), beside=beside, sink=lambda name, reader, record: seen.append(record))
    assert [{**record, "sha256": told["sha256"]} for record, told in zip(seen, beside["manifest"]["files"])] == beside[
        "manifest"
    ]["files"]


def repacked(path, change):
    """Change the tar inside."""
    tar = subprocess.run(["zstd", "-dc", path], capture_output=True, check=True).stdout
    path.write_bytes(subprocess.run(["zstd", "-c"], input=change(tar), capture_output=True, check=True).stdout)


def test_padding_is_nothing_but_zeros(here):
    path, _beside = write_files(here)
    repacked(path, lambda tar: tar.replace(b"behind a long name\0", b"behind a long namex"))
    refused_read(path, "has something behind 'data/long/")


def test_there_is_nothing_behind_the_end(here):
    path, _beside = write_files(here)
    repacked(path, lambda tar: tar + b"\0")
    refused_read(path, "has something behind its manifest")


def test_a_number_without_end_is_not_computed():
    with pytest.raises(ValueError, match="too large"):
        json.loads("1" * 30, parse_int=archive._integer)


def test_another_manifest_beside_it(here):
    path, beside = write_files(here)
    refused_read(
        path, "have different manifests", beside={**beside, "manifest": {**beside["manifest"], "service": "other"}}
    )


def test_a_part_is_checked_under_its_temporary_name(here):
    path, beside = write_files(here)
    part = path.rename(here / "store" / ".erlmcp-x.part")
    assert read_archive(str(part), beside=beside) == beside["manifest"]


# ---- Encryption


@needs_age
def test_an_encrypted_archive_is_read_with_its_key_only(here, key):
    identity, recipient = key
    path, beside = write_files(here, recipients=[recipient])
    assert path.read_bytes().startswith(b"age-encryption.org/v1")
    told, found = collect(path, beside=beside, identity=identity)
    assert (told, found) == (beside["manifest"], FILES)
    refused_read(path, "is encrypted: give the age identity", beside=beside)
    other = subprocess.run(["age-keygen"], capture_output=True, text=True, check=True).stdout
    refused_read(path, "cannot be decrypted .*: give the age identity", identity=other)
    refused_read(path, "cannot be decrypted|damaged", identity="no identity")


@needs_age
def test_the_key_is_not_shown(here, key, monkeypatch):
    identity, recipient = key
    path, _beside = write_files(here, recipients=[recipient])
    shown = []
    real = subprocess.Popen

    def popen(argv, **options):
        shown.append((argv, options["env"]))
        return real(argv, **options)

    monkeypatch.setattr(pipeline.subprocess, "Popen", popen)
    read_archive(str(path), identity=identity)
    assert shown
    assert "AGE-SECRET" not in str(shown)


@needs_age
def test_a_recipient_that_is_none(here):
    members = sources(here / "sources", {"data/a": os.urandom(4_000_000)})
    refused_write(here, members, "age: .*nonsense", recipients=["nonsense"])


@needs_age
@pytest.mark.parametrize("length", [10, 100, 300, -1])
def test_an_encrypted_archive_that_was_cut_off(here, key, length):
    identity, recipient = key
    path, _beside = write_files(here, recipients=[recipient])
    path.write_bytes(path.read_bytes()[:length])
    refused_read(path, "is damaged|neither", identity=identity)


# ---- Damage of every kind


def read_with_beside(path, sink, identity=None):
    try:
        beside = json.loads(Path(f"{path}.json").read_bytes())
    except FileNotFoundError:
        beside = None
    except ValueError:
        raise OpsError("no JSON", kind="archive") from None
    if beside is None and Path(f"{path}.json").exists():
        raise OpsError("null", kind="archive")
    read_archive(str(path), beside=beside, sink=sink, identity=identity)


def refusal(path, sink, identity):
    try:
        read_with_beside(path, sink, identity)
    except OpsError as error:
        return error
    return None


def taken(path, here, count, seed, identity=None):
    """Those of ``count`` damaged archives that were not refused, and how long the slowest took."""
    found, slowest = [], 0
    names = set()
    for damaged, description in mutations(path, f"{path}.json", here / "damaged", count, seed):
        started = time.monotonic()
        refused = refusal(damaged, lambda name, reader, record: names.add(name), identity)
        if refused is None:
            found.append(description)
        else:
            assert refused.kind == "archive", description
            assert str(refused).isprintable(), description
        slowest = max(slowest, time.monotonic() - started)
    # What is handed out is declared, and never leads out.
    assert not [name for name in names if ".." in name.split("/") or name.startswith("/") or "\0" in name]
    return found, slowest


@pytest.mark.parametrize(("compression", "count"), [("zstd", 300), ("gzip", 100)])
def test_whatever_is_damaged_is_refused(here, compression, count):
    path, _beside = write_files(here, compression=compression)
    found, slowest = taken(path, here, count, 20260131)
    assert found == []
    assert slowest < 10


@needs_age
def test_whatever_is_damaged_is_refused_when_encrypted(here, key):
    identity, recipient = key
    path, _beside = write_files(here, recipients=[recipient])
    assert taken(path, here, 60, 20260131, identity)[0] == []


def test_the_same_seed_gives_the_same_damage(here):
    path, _beside = write_files(here, files={"data/a": b"a" * 2000, "data/b": b"b" * 600})

    def digests(seed):
        return [
            (hashlib.sha256(damaged.read_bytes()).hexdigest(), description)
            for damaged, description in mutations(path, f"{path}.json", here / "damaged", 40, seed)
        ]

    assert digests(1) == digests(1) != digests(2)
