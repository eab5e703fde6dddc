# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Builds small archives shaped like those of relx."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from pathlib import Path


def elf(machine=62):
    """The beginning of a 64-bit little-endian program; 62 is x86_64."""
    return b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00" + machine.to_bytes(2, "little") + bytes(44)


def entry(name, content=b"", mode=0o644, **attributes):
    """One entry: its header and its content. ``attributes`` are those of TarInfo."""
    header = tarfile.TarInfo(name)
    header.mode = mode
    header.size = len(content)
    for attribute, value in attributes.items():
        setattr(header, attribute, value)
    return header, content


def link(name, target, kind=tarfile.SYMTYPE):
    return entry(name, type=kind, linkname=target)


def release_entries(version="1.0.0", erts="13.1.5", included=True, machine=62, note=""):
    """The entries of a release; ``note`` tells two archives of one version apart."""
    entries = [
        entry("bin/erlmcp", b"#!/bin/sh\n", 0o4755),
        entry("lib/stdlib-4.2/ebin/lists.beam", b"FOR1" + note.encode()),
        entry("lib/kernel-8.5.3/ebin/kernel.beam", b"FOR1"),
        entry("releases/start_erl.data", f"{erts} {version}\n".encode()),
        entry(f"releases/{version}/start.boot", b"boot"),
        entry(f"releases/{version}/sys.config", b"[].\n"),
        entry(f"releases/{version}/vm.args.src", b"-name erlmcp\n"),
    ]
    if included:
        entries.append(entry(f"erts-{erts}/bin/beam.smp", elf(machine), 0o755))
    return entries


def rebar3_entries():
    """What rebar3 3.19 makes of ``{overlay, [{copy, "config", "etc"}, {copy, "config/vm.args", "etc/"}]}``: no
    directories, no leading dot, and what the overlay copies twice or more often."""
    config = [entry("etc/sys.config", b"[].\n"), entry("etc/vm.args", b"-name erlmcp\n")]
    return [*config, *config, config[1], *release_entries(), entry("bin/erlmcp-1.0.0", b"#!/bin/sh\n", 0o755)]


def hooked_entries(hooks, beside=True, **options):
    """A release whose start script runs ``hooks``, as relx writes it; it looks ``beside`` itself or in the root."""
    where = "SCRIPT_DIR" if beside else "RELEASE_ROOT_DIR"
    script = f'''#!/bin/sh
PRE_START_HOOKS="{hooks}"
POST_START_HOOKS="hooks/never_run"
relx_run_hooks() {{
        [ -f "${where}/$HOOK_SCRIPT" ] && . "${where}/$HOOK_SCRIPT" "$@"
}}
relx_disable_hooks() {{
    PRE_START_HOOKS=""
}}
{"# and so on" * 1000}
'''
    return [*without(release_entries(**options), "bin/erlmcp"), entry("bin/erlmcp", script.encode(), 0o755)]


def without(entries, name):
    return [(header, content) for header, content in entries if header.name != name]


def pack(path, entries, **options):
    """Write the archive, from the same entries the same bytes, and return its SHA-256."""
    with gzip.GzipFile(path, "wb", mtime=0) as zipped, tarfile.open(fileobj=zipped, mode="w", **options) as tar:
        for header, content in entries:
            tar.addfile(header, io.BytesIO(content))
    return sha256(path)


def sha256(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
