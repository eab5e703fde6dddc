# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A set of directories, files and links as data: observed, planned, and laid down in one round trip."""

from __future__ import annotations

import base64
import binascii
import contextlib
import errno
import grp
import hashlib
import os
import pwd
import shutil
import stat
from dataclasses import dataclass, replace

from .._core import trees
from .._core.errors import OpsError
from .._core.files import link_atomically, write_atomically
from .._core.runner import SEARCH_PATH
from .._core.sealed import Sealed
from .units import Units, check_units, defined_units, plan_units

_TYPES = {"directory": stat.S_IFDIR, "file": stat.S_IFREG, "link": stat.S_IFLNK}
_SHOWN = {"sealed": "encrypted file"}


@dataclass(frozen=True)
class Observed:
    """What is at a path.

    :param kind: directory, file, link, sealed (see :class:`Sealed`), other or ``None`` for nothing.
    :param behind: of a link whose entry must not change what is read there, that content.
    :param encrypted: of an entry that is to be sealed, what is encrypted on disk for its owner and mode, decrypted.
    """

    kind: str | None = None
    content: bytes | None = None
    target: str | None = None
    mode: int | None = None
    owner: str | None = None
    group: str | None = None
    behind: bytes | None = None
    encrypted: bytes | None = None


def check(entries):
    """Refuse a set that cannot be meant.

    :raises OpsError: naming the path.
    """
    seen = set()
    for entry in entries:
        path = entry["path"]
        if not os.path.isabs(path) or os.path.normpath(path) in ("/", "//"):
            raise OpsError(f"fileset: {path!r} is not an absolute path below /", kind="input", path=path)
        if path in seen:
            raise OpsError(f"fileset: {path} stands twice in the set", kind="input", path=path)
        seen.add(path)
        wanted = {"file": wanted_content(entry), "link": entry["target"]}
        if entry["state"] in wanted and wanted[entry["state"]] is None:
            needed = "content, content_base64 or secret" if entry["state"] == "file" else "target"
            raise OpsError(f"fileset: {path} needs {needed}", kind="input", path=path)
        if entry["runtime_path"] is not None and entry["secret"] is None:
            raise OpsError(f"fileset: {path} has a runtime_path, so it needs secret", kind="input", path=path)


def wanted_content(entry):
    """Return the wanted bytes of a file entry, or ``None``."""
    if entry["content_base64"] is not None:
        try:
            return base64.b64decode(entry["content_base64"], validate=True)
        except binascii.Error as error:
            raise OpsError(
                f"fileset: content_base64 of {entry['path']} is not base64: {error}", kind="input", path=entry["path"]
            ) from error
    text = entry["secret"] if entry["secret"] is not None else entry["content"]
    return None if text is None else text.encode("utf-8")


def observe(path):
    """Look at ``path`` without following a link there."""
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return Observed()
    kind = next((name for name, bits in _TYPES.items() if stat.S_IFMT(status.st_mode) == bits), "other")
    content = target = None
    if kind == "file":
        with os.fdopen(_open_file(path), "rb") as stream:
            content = stream.read()
    elif kind == "link":
        target = os.readlink(path)
    return Observed(
        kind,
        content,
        target,
        stat.S_IMODE(status.st_mode),
        _name(pwd.getpwuid, status.st_uid),
        _name(grp.getgrgid, status.st_gid),
    )


def _open_file(path):
    try:
        return os.open(path, trees.FILE)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise trees.tampered(path, "became a link while it was looked at") from error
        raise


def observe_entry(entry, runner):
    """Look at what an entry is about, and decrypt what it wants encrypted."""
    observed = observe(entry["path"])
    if entry["state"] != "file":
        return observed
    if entry["refuse_change"] and observed.kind == "link":
        observed = replace(observed, behind=observe(os.path.realpath(entry["path"])).content)
    if entry["runtime_path"] is None:
        return observed
    sealed = _sealed(entry, runner)
    decrypted, at_rest = sealed.decrypted(), observe(sealed.encrypted_path)
    if sealed.is_linked:
        in_memory = observe(sealed.runtime_path)
        if in_memory.kind == "file":
            observed = replace(in_memory, kind="sealed")
        else:
            observed = replace(observed, behind=decrypted)
    if (at_rest.mode, at_rest.owner, at_rest.group) != (int(entry["mode"], 8), entry["owner"], entry["group"]):
        decrypted = None
    return replace(observed, encrypted=decrypted)


def plan(entry, observed):
    """Say what differs between an entry and what is there.

    :return: set of ``kind``, ``content``, ``encrypted``, ``target``, ``mode``, ``owner``, ``group``; empty when nothing
        differs.
    :raises OpsError: when what is there must not be replaced.
    """
    path, state = entry["path"], entry["state"]
    if state == "absent":
        if observed.kind == "directory":
            raise OpsError(f"{path} is a directory; only files and links are removed", kind="conflict", path=path)
        if observed.kind and entry["refuse_change"]:
            raise OpsError(f"{path} is there. {entry['refuse_change']}", kind="conflict", path=path)
        return {"kind"} if observed.kind else set()
    content = wanted_content(entry) if state == "file" else None
    found = observed.content if observed.behind is None else observed.behind
    if state == "file" and entry["refuse_change"] and found not in (None, content):
        raise OpsError(f"{path} is there with other content. {entry['refuse_change']}", kind="conflict", path=path)
    kind = _wanted_kind(entry)
    if observed.kind not in (None, kind):
        if state == "directory" or observed.kind in ("directory", "other"):
            raise OpsError(
                f"{path} must be a {state}, and a {observed.kind} is there; move it away", kind="conflict", path=path
            )
        return {"kind"}
    if observed.kind is None:
        return {"kind"}
    if state == "link":
        return {"target"} if observed.target != entry["target"] else set()
    differs = {
        name
        for name, wanted, found in (
            ("mode", int(entry["mode"], 8), observed.mode),
            ("owner", entry["owner"], observed.owner),
            ("group", entry["group"], observed.group),
        )
        if wanted != found
    }
    if state == "file" and observed.content != content:
        differs.add("content")
    if kind == "sealed" and observed.encrypted != content:
        differs.add("encrypted")
    return differs


def diff(entry, observed, differs):
    """Return one before/after pair for Ansible's ``diff``; a secret's content is never in it."""
    label = entry["path"]
    if entry["state"] == "file" and entry["secret"] is None and (differs & {"kind", "content"}):
        shown = _text if entry["content_base64"] is None else _binary
        return {
            "before": shown(observed.content),
            "after": shown(wanted_content(entry)),
            "before_header": label,
            "after_header": label,
        }
    return {
        "before": f"{label}: {_describe(observed)}\n",
        "after": f"{label}: {_describe_wanted(entry)}{_changed_secret(entry, differs)}\n",
        "before_header": label,
        "after_header": label,
    }


def apply(entry, differs, runner):
    """Carry out what :func:`plan` found."""
    path, state = entry["path"], entry["state"]
    try:
        if state == "absent":
            with _place_of(path) as at:
                os.unlink(at)
        elif state == "link":
            with _place_of(path) as at:
                link_atomically(at, entry["target"])
        else:
            uid, gid = _ids(entry)
            mode = int(entry["mode"], 8)
            if state == "directory":
                with trees.opened(path, make_mode=0o755 if "kind" in differs else None) as directory:
                    os.fchown(directory, uid, gid)
                    os.fchmod(directory, mode)
            elif entry["runtime_path"] is not None:
                _sealed(entry, runner).write(wanted_content(entry), mode, uid, gid)
            else:
                with _place_of(path) as at:
                    write_atomically(at, wanted_content(entry), mode, uid, gid)
    except OSError as error:
        raise OpsError(f"{path}: {error.strerror}", kind="io", path=path) from error


@contextlib.contextmanager
def _place_of(path):
    """Yield a path of what is at ``path`` that nobody can lead elsewhere, by a link in the place of a directory."""
    directory, name = os.path.split(path)
    with trees.opened(directory) as place:
        yield trees.at(place, name)


def _wanted_kind(entry):
    return "sealed" if entry["state"] == "file" and entry["runtime_path"] is not None else entry["state"]


def _sealed(entry, runner):
    return Sealed(entry["path"], entry["runtime_path"], runner)


def _ids(entry):
    try:
        return pwd.getpwnam(entry["owner"]).pw_uid, grp.getgrnam(entry["group"]).gr_gid
    except KeyError as missing:
        raise OpsError(
            f"{entry['path']}: account {entry['owner']!r} or group {entry['group']!r} does not exist on this host",
            kind="account",
        ) from missing


def _name(lookup, number):
    try:
        return lookup(number)[0]
    except KeyError:
        return str(number)


def _text(content):
    return "" if content is None else content.decode("utf-8", "replace")


def _binary(content):
    if content is None:
        return ""
    return f"binary content, {len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}\n"


def _describe(observed):
    if observed.kind is None:
        return "absent"
    if observed.kind == "link":
        return f"link to {observed.target}"
    return f"{_SHOWN.get(observed.kind, observed.kind)} {observed.owner}:{observed.group} {observed.mode:04o}"


def _describe_wanted(entry):
    if entry["state"] == "absent":
        return "absent"
    if entry["state"] == "link":
        return f"link to {entry['target']}"
    kind = _wanted_kind(entry)
    return f"{_SHOWN.get(kind, kind)} {entry['owner']}:{entry['group']} {int(entry['mode'], 8):04o}"


def _changed_secret(entry, differs):
    if entry["secret"] is None:
        return ""
    if "content" in differs:
        return " (secret content changed)"
    return " (encrypted anew)" if "encrypted" in differs else ""


def fileset(module, runner):
    """The module ``fileset``."""
    entries = module.params["entries"]
    check(entries)
    started, stopped, started_with = (module.params[name] for name in ("started", "stopped", "started_with"))
    check_units(started, stopped, started_with)
    changes = []
    for entry in entries:
        observed = observe_entry(entry, runner)
        differs = plan(entry, observed)
        if differs:
            changes.append((entry, observed, differs))
    changed_paths = [entry["path"] for entry, _observed, _differs in changes]
    units = Units(runner)
    managed = [*started, *stopped, *started_with, *started_with.values()]
    unit_plan = plan_units(
        started, stopped, changed_paths, units.observe(managed, defined_units(entries)), started_with
    )
    if not module.check_mode:
        for entry, _observed, differs in changes:
            apply(entry, differs, runner)
        units.apply(unit_plan)
    return {
        "changed": bool(changes) or unit_plan.changes,
        "changed_paths": changed_paths,
        "started_units": [*unit_plan.start, *unit_plan.restart],
        "stopped_units": unit_plan.stop,
        "missing_programs": [
            name for name in module.params["programs"] if shutil.which(name, path=SEARCH_PATH) is None
        ],
        "diff": [*(diff(*change) for change in changes), *unit_plan.diff()],
    }
