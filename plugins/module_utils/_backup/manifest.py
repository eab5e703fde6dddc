# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an archive says of itself: its name, the header and the manifest inside, and the file beside it. Pure.

The file beside an archive holds the manifest too, and the size and the SHA-256 of the archive's bytes, so that an
encrypted archive can be checked where the key is not.
"""

from __future__ import annotations

import datetime
import os
import re
from dataclasses import dataclass

from .._core.errors import OpsError

FORMAT = 1
HEADER_NAME = "header.json"
MANIFEST_NAME = "manifest.json"
MNESIA_NAME = "mnesia.backup"
MAX_MEMBERS = 1_000_000

_TIME = "%Y%m%dT%H%M%SZ"
_HOST = r"[A-Za-z0-9._-]{1,200}"
_ID = rf"erlmcp-(?P<host>{_HOST})-(?P<time>[0-9]{{8}}T[0-9]{{6}}Z)"
_NAME = re.compile(rf"(?P<id>{_ID})\.tar\.(?P<compression>zst|gz)(?P<age>\.age)?")
_MAX_NAME = 4096
_MAX_PART = 255
# What a directory may hold is not nested that deep (MAX_DEPTH of the module trees), with the names before it.
_MAX_PARTS = 120
_MAX_SIZE = 2**62
_FIXED_NAMES = (MNESIA_NAME, "config/sys.config", "config/vm.args", "config/env.sh")
_PLACES = ("data", "tls", "logs")


@dataclass(frozen=True)
class ArchiveName:
    """The parts of an archive's file name.

    ``time`` is an aware UTC datetime, ``compression`` ``zst`` or ``gz``; ``id`` is the name without ``.tar`` and what
    follows.
    """

    host: str
    time: datetime.datetime
    compression: str
    encrypted: bool
    id: str


def archive_name(host, time, compression, encrypted):
    """Return the file name of an archive.

    :param host: whose it is.
    :param time: a ``datetime`` in UTC.
    :param compression: ``zst`` or ``gz``.
    :raises OpsError: for a host that cannot be part of a file name.
    """
    if not re.fullmatch(_HOST, host):
        raise OpsError(
            f"host: {host!r} cannot be part of a file name: use letters, digits, dot, dash and underscore",
            kind="input",
        )
    return f"erlmcp-{host}-{time.strftime(_TIME)}.tar.{compression}{'.age' if encrypted else ''}"


def parse_name(name):
    """Return the :class:`ArchiveName` of a file name, or ``None`` when it is not one of ours."""
    match = _NAME.fullmatch(name)
    if not match:
        return None
    try:
        time = datetime.datetime.strptime(match["time"], _TIME).replace(tzinfo=datetime.timezone.utc)
    except ValueError:
        return None
    return ArchiveName(match["host"], time, match["compression"], match["age"] is not None, match["id"])


def check_header(data):
    """Check the first member, which declares all others; return it.

    :raises OpsError: kind ``archive``, saying what is wrong with it.
    """
    _check_format(data, "header")
    _check(data, _HEADER, "its header")
    _check_names(data["files"])
    if data["bytes"] != sum(record["size"] for record in data["files"]):
        raise _refusal("has a header whose bytes are not the sum of its files")
    return data


def check_manifest(data):
    """Check a manifest, whatever it may be; return it.

    :raises OpsError: kind ``archive``, naming the key that is wrong.
    """
    _check_format(data, "manifest")
    _check(data, _MANIFEST, "its manifest")
    _check_names(data["files"])
    for table in data["tables"]:
        _check(table, _TABLES[table["kind"]], f"table {table['name'][:100]!r} of its manifest")
    _check_accounted(data)
    if parse_name(f"{data['id']}.tar.gz").host != data["host"]:
        raise _refusal(f"has a manifest of host {data['host']!r} in the archive {data['id']}")
    return data


def _check_accounted(manifest):
    """Every file that steers a restore is told of, and what is told of is there: else rows would stay out unnoticed."""
    names = {record["name"] for record in manifest["files"]}
    kinds = {table["kind"] for table in manifest["tables"]}
    if (manifest["mnesia"] is not None) != (MNESIA_NAME in names):
        there, told = ("it", "nothing") if MNESIA_NAME in names else ("no such file", "something")
        raise _refusal(f"has a manifest that tells {told} of {MNESIA_NAME}, and holds {there}")
    if "mnesia" in kinds and manifest["mnesia"] is None:
        raise _refusal(f"has a manifest with tables of Mnesia, and holds no {MNESIA_NAME}")
    lost = sorted(
        table["file"]
        for table in manifest["tables"]
        if table["kind"] == "dets" and f"data/{table['file']}" not in names
    )
    if lost:
        raise _refusal(f"has a manifest with the table {lost[0][:200]!r}, and holds no such file")
    tops = {"data" if name == MNESIA_NAME else name.partition("/")[0] for name in names}
    if strange := sorted(tops - set(manifest["members"])):
        raise _refusal(f"holds files below {strange[0]}, which its manifest does not name as a member")


def check_beside(data, name):
    """Check what the file beside the archive called ``name`` holds; return it.

    :raises OpsError: kind ``archive``, saying what is wrong with it.
    """
    parsed = parse_name(name) if isinstance(name, str) else None
    what = f"{name}.json" if parsed else "the file beside it"
    _check(data, _BESIDE, what)
    if data["archive"]["name"] != name:
        raise _refusal(f"belongs to another archive than {what}, which is of {data['archive']['name'][:300]!r}")
    check_manifest(data["manifest"])
    if parsed is None or parsed.id != data["manifest"]["id"]:
        raise _refusal(f"has the manifest of {data['manifest']['id']} in {what}")
    return data


def check_member_name(name):
    """Refuse the name of a member that could land outside of where it is unpacked, or that no archive of ours has.

    :raises OpsError: kind ``archive``, naming it.
    """
    if not _is_member_name(name):
        raise _refusal(f"holds a member called {str(name)[:200]!r}, which no backup has")


def _is_member_name(name):
    if not _is_path(name):
        return False
    top, _slash, below = name.partition("/")
    return name in _FIXED_NAMES or (top in _PLACES and below != "")


def _is_path(name):
    """Whether it is a relative path that stays inside."""
    if not isinstance(name, str) or "\0" in name:
        return False
    try:
        encoded = name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    parts = encoded.split(b"/")
    return (
        len(encoded) <= _MAX_NAME
        and len(parts) <= _MAX_PARTS
        and all(len(part) <= _MAX_PART for part in parts)
        and not {b"", b".", b".."}.intersection(parts)
    )


def _check_names(files):
    """No name twice, and none that is the directory of another."""
    if len(files) > MAX_MEMBERS:
        raise _refusal(f"declares {len(files)} members, which no backup has")
    names = {record["name"] for record in files}
    if len(names) != len(files):
        raise _refusal("declares a member twice")
    for name in names:
        directory = os.path.dirname(name)
        while directory:
            if directory in names:
                raise _refusal(f"declares {directory[:200]!r} as a file and as the directory of another")
            directory = os.path.dirname(directory)


def _check_format(data, what):
    if not isinstance(data, dict):
        raise _refusal(f"has a {what} that is no JSON object")
    if not _is_count(data.get("format")):
        raise _refusal(f"has a {what} without a format number")
    if data["format"] != FORMAT:
        raise _refusal(f"has format {data['format']}, and this version of erlmcp.ops reads format {FORMAT} only")


def _is_count(value):
    # True is an int too, and is no number of anything.
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_SIZE


def _is_text(value):
    return isinstance(value, str) and "\0" not in value


def _is_known(value):
    return value is None or _is_text(value)


def _matches(pattern):
    compiled = re.compile(pattern)
    return lambda value: isinstance(value, str) and compiled.fullmatch(value) is not None


def _one_of(*values):
    return lambda value: isinstance(value, str) and value in values


def _is_versions(value):
    return isinstance(value, dict) and all(_is_text(name) and _is_known(version) for name, version in value.items())


def _is_id(value):
    return isinstance(value, str) and parse_name(f"{value}.tar.gz") is not None


_is_sha256 = _matches("[0-9a-f]{64}")
_is_time = _matches(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?Z")


# What a key must be: a function that says so of the value, a dict of keys (others may stand beside them), or a list
# with what each item must be.
_HEADER = {
    "id": _is_id,
    "node": _is_text,
    "files": [{"name": _is_member_name, "size": _is_count}],
    "bytes": _is_count,
}
_MANIFEST = {
    "id": _is_id,
    "host": _matches(_HOST),
    "service": _is_text,
    "node": {"name": _is_text, "name_type": _is_text},
    "versions": {"release": _is_known, "otp": _is_known, "erts": _is_known, "applications": _is_versions},
    "method": _one_of("hot", "cold", "stop"),
    "members": [_one_of("config", "data", "logs", "tls")],
    "started": _is_time,
    "finished": _is_time,
    "mnesia": (None, {"dir": _is_path, "db_nodes": [_is_text]}),
    "tables": [{"kind": _one_of("mnesia", "dets"), "name": _is_text, "rows": _is_count, "type": _is_text}],
    "files": [
        {
            "name": _is_member_name,
            "size": _is_count,
            "sha256": _is_sha256,
            "mode": lambda value: _is_count(value) and value <= 0o777,
            "mtime": _is_count,
        }
    ],
}
_TABLES = {"mnesia": {"storage": _is_text, "nodes": [_is_text]}, "dets": {"file": _is_path}}
_BESIDE = {"archive": {"name": _is_text, "size": _is_count, "sha256": _is_sha256}, "manifest": {}}


def _check(value, shape, what, key=""):
    if isinstance(shape, tuple):
        absent, shape = shape
        if value is absent:
            return
    if callable(shape):
        if not shape(value):
            shown = repr(value[:100]) if isinstance(value, str) else type(value).__name__
            raise _refusal(f"has a {key} in {what} that cannot be ({shown})")
    elif isinstance(shape, list):
        if not isinstance(value, list):
            raise _refusal(f"has a {key} in {what} that is no list")
        for item in value:
            _check(item, shape[0], what, f"{key}[]")
    else:
        if not isinstance(value, dict):
            raise _refusal(f"has {f'a {key} in ' if key else ''}{what} that is no JSON object")
        for name, inner in shape.items():
            below = f"{key}.{name}" if key else name
            if name not in value:
                raise _refusal(f"has no {below} in {what}")
            _check(value[name], inner, what, below)


def _refusal(problem):
    return OpsError(problem, kind="archive")
