# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import gzip
import tarfile
from pathlib import Path

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.module_utils._release import archive
from ansible_collections.erlmcp.ops.tests.unit.plugins.module_utils._release.release_archives import (
    elf,
    entry,
    hooked_entries,
    link,
    pack,
    rebar3_entries,
    release_entries,
    sha256,
    without,
)


def read(path, release_name="erlmcp"):
    with Path(path).open("rb") as stream:
        return archive.read_release(stream, str(path), sha256(path), release_name)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "erlmcp.tar.gz"


def test_a_release_tells_what_it_is(path):
    digest = pack(path, release_entries())
    found = read(path)
    assert (found.version, found.erts, found.erts_included) == ("1.0.0", "13.1.5", True)
    assert (found.architecture, found.sha256, found.archive) == ("x86_64", digest, str(path))


def test_a_release_without_erts(path):
    pack(path, release_entries(included=False))
    found = read(path)
    assert not found.erts_included
    assert found.architecture is None


@pytest.mark.parametrize(("machine", "architecture"), [(183, "aarch64"), (40, "arm"), (9999, "ELF machine 9999")])
def test_the_emulator_tells_the_architecture(path, machine, architecture):
    pack(path, release_entries(machine=machine))
    assert read(path).architecture == architecture


def test_names_may_start_with_a_dot(path):
    entries = release_entries()
    for header, _content in entries:
        header.name = f"./{header.name}"
    pack(path, [entry("./", type=tarfile.DIRTYPE), *entries])
    assert read(path).version == "1.0.0"


def test_size_counts_blocks_of_the_file_system(path):
    pack(path, release_entries())
    small = read(path).size
    pack(path, [*release_entries(), entry("lib/big", bytes(10_000))])
    assert read(path).size - small == 4 * archive.BLOCK


def test_what_rebar3_packs_twice_is_taken_once(path):
    entries = rebar3_entries()
    pack(path, entries)
    found = read(path)
    assert found.version == "1.0.0"
    once = {header.name: (header, content) for header, content in entries}
    pack(path, once.values())
    assert read(path).size == found.size


def test_without_system_libs_the_erlang_of_the_host_has_them(path):
    entries = release_entries(included=False)
    for library in ("kernel-8.5.3/ebin/kernel", "stdlib-4.2/ebin/lists"):
        entries = without(entries, f"lib/{library}.beam")
    pack(path, [*entries, entry("lib/erlmcp-1.0.0/ebin/erlmcp.app")])
    assert not read(path).erts_included


def test_the_last_one_of_a_name_counts(path):
    first = [
        entry("bin/erlmcp"),
        entry("releases/start_erl.data", b"12.0 0.9.0\n"),
        entry("erts-13.1.5/bin/beam.smp", elf(183), 0o755),
        link("releases/1.0.0/sys.config", "nowhere"),
    ]
    pack(path, release_entries())
    size = read(path).size
    pack(path, [*first, *release_entries()])
    found = read(path)
    assert (found.version, found.erts, found.architecture, found.size) == ("1.0.0", "13.1.5", "x86_64", size)


def test_the_space_of_a_replaced_file_with_another_name_counts(path):
    pack(path, release_entries())
    size = read(path).size
    big = [entry("lib/big", bytes(10_000)), link("lib/other", "lib/big", tarfile.LNKTYPE), entry("lib/big")]
    pack(path, [*release_entries(), *big])
    assert read(path).size - size == (4 + 1 + 1) * archive.BLOCK


def test_names_that_come_again_count_as_entries(path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_ENTRIES", 50)
    pack(path, [*release_entries(), *[entry("lib/again")] * 50])
    with pytest.raises(OpsError, match="more than 50 entries"):
        read(path)


@pytest.mark.parametrize(
    ("hooks", "beside", "there", "missing"),
    [
        ("", True, [], ()),
        ("hooks/builtin/wait hooks/mine|a|b", True, ["bin/hooks/builtin/wait", "bin/hooks/mine"], ()),
        ("hooks/builtin/wait hooks/mine|a|b", True, ["bin/hooks/builtin/wait", "hooks/mine"], ("bin/hooks/mine",)),
        ("hooks/first ./hooks/last", True, [], ("bin/hooks/first", "bin/hooks/last")),
        ("bin/hooks/mine", False, ["bin/hooks/mine"], ()),
        ("hooks/mine", False, ["bin/hooks/mine"], ("hooks/mine",)),
        ("hooks/mine", True, ["bin/hooks/mine/in_a_directory"], ("bin/hooks/mine",)),
    ],
)
def test_start_hooks_that_are_missing_are_known(path, hooks, beside, there, missing):
    pack(path, [*hooked_entries(hooks, beside), *[entry(name) for name in there]])
    assert read(path).missing_hooks == missing


def test_the_hooks_are_those_of_the_last_start_script(path):
    pack(path, [*hooked_entries("hooks/mine"), entry("bin/erlmcp", b"#!/bin/sh\n", 0o755)])
    assert read(path).missing_hooks == ()
    pack(path, [*hooked_entries("hooks/mine"), link("bin/erlmcp", "other")])
    assert read(path).missing_hooks == ()


HARMLESS = {
    "link beside": [link("bin/start", "erlmcp")],
    "link up and down": [link("lib/current", "../lib/stdlib-4.2")],
    "link to the root": [link("lib/root", "..")],
    "hard link": [link("bin/erlmcp-1.0.0", "bin/erlmcp", tarfile.LNKTYPE)],
    "long name": [entry("lib/" + "x" * 200)],
    "directories twice": [entry("lib", type=tarfile.DIRTYPE), entry("lib/", type=tarfile.DIRTYPE)],
}


@pytest.mark.parametrize("extra", HARMLESS.values(), ids=HARMLESS)
def test_harmless_entries_are_taken(path, extra):
    pack(path, [*release_entries(), *extra])
    assert read(path).version == "1.0.0"


HOSTILE = {
    "parent": ([entry("../evil")], "leads out"),
    "parent inside": ([entry("lib/../../evil")], "leads out"),
    "absolute": ([entry("/etc/cron.d/evil")], "leads out"),
    "endless name": ([entry("lib" + "/x" * 1000)], "too long"),
    "link absolute": (
        [link("lib/evil", "/etc")],
        "out of the release, as relx makes them with dev_mode: build it with",
    ),
    "link above": ([link("lib/evil", "../../etc")], "out of the release"),
    "link through a link": ([link("lib/a/up", "../.."), link("lib/a/evil", "up/..")], "out of the release"),
    "file under a link": ([link("evil", "lib"), entry("evil/lists.beam")], "lies under 'evil', which is a link"),
    "link over a directory": ([link("lib", "bin")], "is a directory in it and something else too: leave one"),
    "file over a directory": ([entry("lib")], "is a directory in it and something else too"),
    "hard link over a directory": ([link("lib", "bin/erlmcp", tarfile.LNKTYPE)], "is a directory in it"),
    "directory over a link": ([link("evil", "bin"), entry("evil", type=tarfile.DIRTYPE)], "lies under 'evil'"),
    "directory over a file": ([entry("bin/erlmcp/", type=tarfile.DIRTYPE)], "lies under 'bin/erlmcp'"),
    "file under a link that replaced a file": (
        [entry("evil"), link("evil", "lib"), entry("evil/lists.beam")],
        "lies under 'evil', which is a link",
    ),
    "hard link to itself": ([entry("evil"), link("evil", "evil", tarfile.LNKTYPE)], "no file before it"),
    "hard link to what a link replaced": (
        [entry("a"), link("a", "lib"), link("b", "a", tarfile.LNKTYPE)],
        "no file before it",
    ),
    "file under a file": ([entry("bin/erlmcp/x")], "lies under 'bin/erlmcp'"),
    "hard link outside": ([link("evil", "../../etc/shadow", tarfile.LNKTYPE)], "leads out"),
    "hard link absolute": ([link("evil", "/etc/shadow", tarfile.LNKTYPE)], "leads out"),
    "hard link to nothing": ([link("evil", "lib/nothing", tarfile.LNKTYPE)], "no file before it"),
    "hard link to a link": ([link("a", "lib"), link("b", "a", tarfile.LNKTYPE)], "no file before it"),
    "character device": ([entry("evil", type=tarfile.CHRTYPE)], "neither a file"),
    "block device": ([entry("evil", type=tarfile.BLKTYPE)], "neither a file"),
    "fifo": ([entry("evil", type=tarfile.FIFOTYPE)], "neither a file"),
    "sparse": ([entry("evil", pax_headers={"GNU.sparse.map": "0,1", "GNU.sparse.size": "9"})], "neither a file"),
    "endless header": ([entry("evil", pax_headers={"comment": "x" * 100_000})], "no release has"),
    "negative size": ([entry("evil", pax_headers={"size": "-1000000"})], "complete"),
}


@pytest.mark.parametrize(("extra", "message"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_entries_are_refused(path, extra, message):
    pack(path, [*release_entries(), *extra], format=tarfile.PAX_FORMAT)
    with pytest.raises(OpsError, match=message) as refused:
        read(path)
    assert str(path) in str(refused.value)
    assert refused.value.kind == "archive"


LACKING = {
    "start_erl.data": (without(release_entries(), "releases/start_erl.data"), "releases/start_erl.data"),
    "start script": (without(release_entries(), "bin/erlmcp"), r"bin/erlmcp \(executable\)"),
    "mode": (without(release_entries(), "bin/erlmcp") + [entry("bin/erlmcp")], r"bin/erlmcp \(executable\)"),
    "sys.config": (without(release_entries(), "releases/1.0.0/sys.config"), "1.0.0/sys.config"),
    "vm.args": (without(release_entries(), "releases/1.0.0/vm.args.src"), "1.0.0/vm.args"),
    "boot": (without(release_entries(), "releases/1.0.0/start.boot"), r"1.0.0/\*.boot"),
    "lib": (without(release_entries(), "lib/stdlib-4.2/ebin/lists.beam"), "lib/"),
    "emulator": (
        [*without(release_entries(), "erts-13.1.5/bin/beam.smp"), entry("erts-13.1.5/bin/erl")],
        "erts-13.1.5/bin/beam.smp",
    ),
    "system_libs": (without(release_entries(), "lib/kernel-8.5.3/ebin/kernel.beam"), r"without lib/kernel-\*, as relx"),
    "start_erl.data in the end": (
        [*release_entries(), link("releases/start_erl.data", "1.0.0/vm.args.src")],
        "releases/start_erl.data",
    ),
    "executable start script in the end": ([*release_entries(), entry("bin/erlmcp")], r"bin/erlmcp \(executable\)"),
    "emulator in the end": (
        [*release_entries(), link("erts-13.1.5/bin/beam.smp", "erlexec")],
        "erts-13.1.5/bin/beam.smp",
    ),
    "everything": ([entry("erlmcp-1.0.0/README")], r"top level: erlmcp-1.0.0"),
}


@pytest.mark.parametrize(("entries", "message"), LACKING.values(), ids=LACKING)
def test_what_is_no_release_is_told_what_it_lacks(path, entries, message):
    pack(path, entries)
    with pytest.raises(OpsError, match=message):
        read(path)


@pytest.mark.parametrize("data", [b"13.1.5", b"13.1.5 ../../etc", b"13.1.5 1.0.0 more", b"\xff \xff", b""])
def test_start_erl_data_must_make_sense(path, data):
    pack(path, without(release_entries(), "releases/start_erl.data") + [entry("releases/start_erl.data", data)])
    with pytest.raises(OpsError, match=r"start_erl.data|version"):
        read(path)


def test_an_emulator_of_another_system(path):
    mach_o = entry("erts-13.1.5/bin/beam.smp", b"\xcf\xfa\xed\xfe" + bytes(60), 0o755)
    pack(path, [*without(release_entries(), "erts-13.1.5/bin/beam.smp"), mach_o])
    with pytest.raises(OpsError, match="built on another system"):
        read(path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: b"PK\x03\x04" + content,
        lambda content: content[: len(content) // 2],
        lambda content: content[:-4],
        lambda content: content[:-8] + bytes(4) + content[-4:],
        lambda content: gzip.compress(gzip.decompress(content) + bytes(3 * archive.CHUNK))[:-8] + bytes(8),
        lambda content: gzip.compress(b"no tar" * 200),
        lambda content: gzip.compress(gzip.decompress(content)[:700]),
        lambda content: gzip.compress(gzip.decompress(content).replace(b"ustar", b"xstar")),
    ],
    ids=[
        "empty",
        "zip",
        "half",
        "tail",
        "checksum",
        "checksum behind padding",
        "no tar",
        "half a tar",
        "broken headers",
    ],
)
def test_damage_is_found(path, damage):
    pack(path, release_entries())
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(OpsError, match=r"is not a complete .tar.gz archive"):
        read(path)


def test_a_broken_header_is_not_the_end(path):
    pack(path, release_entries())
    tar = bytearray(gzip.decompress(path.read_bytes()))
    tar[1024 + 148] ^= 1
    path.write_bytes(gzip.compress(bytes(tar)))
    with pytest.raises(OpsError, match="damaged header"):
        read(path)


def test_global_headers_are_refused(path):
    pack(path, release_entries(), format=tarfile.PAX_FORMAT, pax_headers={"comment": "stays in memory"})
    with pytest.raises(OpsError, match="no release has"):
        read(path)


def test_an_archive_that_changes_meanwhile(path):
    pack(path, release_entries())
    with path.open("rb") as stream, pytest.raises(OpsError, match="changed while it was read"):
        archive.read_release(stream, str(path), "0" * 64, "erlmcp")


def test_bombs(path, monkeypatch):
    pack(path, [*release_entries(), entry("lib/zeros", bytes(200_000))])
    monkeypatch.setattr(archive, "MAX_BYTES", 100_000)
    with pytest.raises(OpsError, match="unpacks to more than 100000 bytes"):
        read(path)
    monkeypatch.setattr(archive, "MAX_BYTES", 1_000_000)
    monkeypatch.setattr(archive, "MAX_ENTRIES", 5)
    with pytest.raises(OpsError, match="more than 5 entries"):
        read(path)


def test_checksum():
    archive.check_sum("a.tar.gz", "0f" * 32, None)
    archive.check_sum("a.tar.gz", "0f" * 32, "sha256:" + "0F" * 32)
    with pytest.raises(OpsError, match="hashes to sha256:0f0f"):
        archive.check_sum("a.tar.gz", "0f" * 32, "sha256:" + "0e" * 32)
    with pytest.raises(OpsError, match="is not sha256:"):
        archive.check_sum("a.tar.gz", "0f" * 32, "0f" * 32)


@pytest.mark.parametrize("version", ["..", ".hidden", "a/b", "", "x" * 200, "1.0\n"])
def test_versions_that_are_no_directory_names(version):
    with pytest.raises(OpsError):
        archive.check_version(version)
