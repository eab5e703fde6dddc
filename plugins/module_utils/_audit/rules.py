# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Watches as data: what is asked for, what the kernel lists, and the plan that gets it there. Pure: no I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .._core.errors import OpsError

# What marks a rule as ours; every other rule is somebody else's and is left alone.
OWNER = "erlmcp_"

# The kernel's limits: PATH_MAX with the final zero, NAME_MAX.
_LONGEST_PATH = 4095
_LONGEST_NAME = 255
_PERMISSIONS = "rwxa"
_KEY = re.compile(rf"{OWNER}[A-Za-z0-9_.-]{{1,24}}")
# auditctl splits at blanks, has no quotes, and takes no wildcards.
_PATH = re.compile(r"(/[^/\s*?\"'\\\x00-\x1f\x7f]+)+")
_FILTER = re.compile(r"(auid|uid|euid|gid|egid)([<>]=?|!?=)([a-z_][a-z0-9_-]*|[0-9]+)")
_FIELD = re.compile(r"(\w+)([<>]=?|!?=)(.*)")
# How the kernel and auditctl write that a process belongs to no login.
_UNSET = ("unset", "-1", "4294967295")
_WATCHED = ("path", "dir")


@dataclass(frozen=True)
class Watch:
    """One rule for the file or the tree at a path.

    :param kind: ``file`` or ``directory``.
    :param permissions: out of ``r``, ``w``, ``x`` and ``a``.
    :param filters: conditions like ``uid!=erlmcp``, all of which hold for what is recorded.
    """

    key: str
    path: str
    kind: str
    permissions: str
    filters: tuple = ()

    @property
    def arguments(self):
        """What stands behind ``auditctl -a``. The kernel tries fields in this order, and filters are the cheapest."""
        field = "dir" if self.kind == "directory" else "path"
        fields = [*self.filters, f"{field}={self.path}", f"perm={self.permissions}", f"key={self.key}"]
        return ["always,exit", *(word for each in fields for word in ("-F", each))]

    def __str__(self):
        return " ".join(["-a", *self.arguments])


@dataclass(frozen=True)
class Loaded:
    """A rule of the kernel: ``line`` as auditctl lists it; ``identity`` is ``None`` for what no :class:`Watch` is."""

    line: str
    own: bool
    identity: tuple | None

    @property
    def removal(self):
        """The arguments with which auditctl takes it away."""
        flag, *rest = self.line.split()
        return [{"-a": "-d", "-w": "-W"}[flag], *rest]


@dataclass(frozen=True)
class Plan:
    """What has to change in the kernel, removals first."""

    removed: tuple = ()
    added: tuple = ()

    @property
    def changes(self):
        return bool(self.removed or self.added)


def wanted_watches(rules):
    """Return a tuple of :class:`Watch` of the module's option ``rules``.

    :raises OpsError: naming the rule that cannot be loaded.
    """
    watches = tuple(_watch(rule) for rule in rules if rule["enabled"])
    for number, watch in enumerate(watches):
        if watch in watches[:number]:
            raise _refusal(watch.key, watch.path, "stands twice in the list: leave one out")
    return watches


def _watch(rule):
    key, path, permissions = rule["key"], rule["path"], rule["permissions"]
    if not _KEY.fullmatch(key):
        raise _refusal(
            key, path, f"needs a key of {OWNER} and up to 24 letters, digits and . _ -: the key tells whose it is"
        )
    if not _PATH.fullmatch(path) or {".", ".."} & set(path.split("/")):
        raise _refusal(
            key, path, "needs an absolute path below / without blanks, quotes and wildcards, which auditd cannot read"
        )
    if len(path.encode()) > _LONGEST_PATH or any(len(name.encode()) > _LONGEST_NAME for name in path.split("/")):
        raise _refusal(key, f"{path[:60]}…", "has a path that is too long for the kernel: watch a directory above it")
    if not permissions or set(permissions) - set(_PERMISSIONS) or len(set(permissions)) != len(permissions):
        raise _refusal(key, path, f"has permissions {permissions!r}: give some of r, w, x and a")
    for each in rule["filters"]:
        if not _FILTER.fullmatch(each):
            raise _refusal(
                key,
                path,
                f"has the filter {each!r}: write it like uid!=erlmcp or auid!=unset, with auid, uid, euid, gid or egid",
            )
    return Watch(key, path, rule["kind"], permissions, tuple(rule["filters"]))


def _refusal(key, path, problem):
    return OpsError(f"the rule {key} for {path} {problem}", kind="input", key=key, path=path)


def accounts(watches):
    """Return the names of accounts and of groups that the filters name, as two sorted lists."""
    named = {
        (field.endswith("gid"), value)
        for watch in watches
        for field, _operator, value in (_FILTER.fullmatch(each).groups() for each in watch.filters)
        if not value.isdigit() and value not in _UNSET
    }
    return sorted(name for is_group, name in named if not is_group), sorted(
        name for is_group, name in named if is_group
    )


def identity(watch, numbers):
    """Return what tells two rules apart for the kernel.

    :param numbers: dict from (whether it is a group, name) to its number. A name without one is no rule of the kernel.
    """
    filters = [_FILTER.fullmatch(each).groups() for each in watch.filters]
    return (
        watch.key,
        watch.path,
        frozenset(watch.permissions),
        frozenset((field, operator, _number(value, field, numbers)) for field, operator, value in filters),
    )


def _number(value, field, numbers):
    if value in _UNSET:
        return _UNSET[0]
    return str(numbers.get((field.endswith("gid"), value), value))


def parse_listing(text):
    """Return a tuple of :class:`Loaded` of what ``auditctl -l`` prints, in the order in which the kernel tries them."""
    return tuple(_loaded(line) for line in text.splitlines() if line.startswith(("-a ", "-w ")))


def _loaded(line):
    words = line.split()
    pairs = list(zip(words[::2], words[1::2]))
    short = {"-w": "path", "-p": "perm", "-k": "key"}
    fields = [(short[flag], "=", value) for flag, value in pairs if flag in short]
    fields += [_FIELD.fullmatch(value).groups() for flag, value in pairs if flag == "-F" and _FIELD.fullmatch(value)]
    only = {name: value for name, operator, value in fields if operator == "="}
    path = only.get("path", only.get("dir"))
    filters = [field for field in fields if field[0] not in ("key", "perm", *_WATCHED)]
    plain = all(
        flag in (*short, "-F") or (flag, value) in (("-a", "always,exit"), ("-S", "all")) for flag, value in pairs
    )
    return Loaded(
        line,
        own=any(name == "key" and value.startswith(OWNER) for name, _operator, value in fields),
        identity=(
            only.get("key"),
            path.rstrip("/"),
            frozenset(only.get("perm", _PERMISSIONS)),
            frozenset((name, operator, _UNSET[0] if value in _UNSET else value) for name, operator, value in filters),
        )
        if plain and path
        else None,
    )


def plan(identities, loaded):
    """Say what has to change so that the kernel has ours, and in their order: the first one that matches gives the key.

    :param identities: of the wanted rules, a list.
    :param loaded: tuple of :class:`Loaded`.
    :return: a :class:`Plan`, whose ``added`` are positions in ``identities``.
    """
    own = [rule for rule in loaded if rule.own]
    kept = 0
    while kept < min(len(own), len(identities)) and own[kept].identity == identities[kept]:
        kept += 1
    return Plan(tuple(own[kept:]), tuple(range(kept, len(identities))))


def rules_file(watches, heading):
    """Return the text of the file in ``rules.d``; none without watches."""
    if not watches:
        return None
    return "".join(f"{line}\n" for line in (*heading, *map(str, watches)))
