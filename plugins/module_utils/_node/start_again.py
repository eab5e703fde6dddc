# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Could the node start again? Asked before one that serves is stopped, and by the playbook ``check_health``.

A node may serve for months with a full disk, or without a file of its release, and not come back when it is restarted.
Each row says what is in the way, and what mends it.
"""

from __future__ import annotations

import itertools
import os
import pwd
import re
import shlex
import socket
import stat

from .._checks.row import CRIT, OTHER_NODE, WARN, Row
from .._config.plan import FILES
from .._config.validate import validate
from .._core import trees
from .._core.errors import OpsError
from .._core.files import read_if_there
from .._release.whole import damaged_files, told_of
from .._security.files import described
from .._security.processes import listener_inodes, socket_owners
from .._security.text import printable

# For logs and tables until somebody has made room. A release that is laid down leaves as much.
MIN_FREE_BYTES = 64 * 1024**2
MIN_FREE_INODES = 100
# Enough to see what somebody has restored or moved there. A data directory may have millions.
_LOOKED_AT = 10_000
_SHOWN = 3
# Root's own: spools of backups, and what a file system has at its top.
_SPOOL, _FOUND = ".erlmcp-", "lost+found"
_MIB = 1024**2
_SITE = "Lay it down anew: ansible-playbook erlmcp.ops.site"
_NODE_NAME = re.compile(rb"^\s*-s?name\s+[\"']?([^\s\"']+)", re.MULTILINE)


def around(node, runner):
    """Return a :class:`Row` for each thing in the way that no role lays down: room, owners and ports.

    :param node: the ``node`` option of a module.
    :param runner: a :class:`Runner`.
    """
    directories = [directory for directory in node["owned_dirs"] if os.path.isdir(directory)]
    rows = [_room(directory) for directory in directories]
    rows += itertools.chain.from_iterable(_owners(directory, node["user"]) for directory in directories)
    rows += _ports(node, runner)
    return [row for row in rows if row]


def laid_down(observer):
    """Return a :class:`Row` for each thing in the way that the playbook ``site`` mends: release, config and cookie.

    :param observer: an :class:`.observe.Observer`.
    """
    release, config = _wanted(observer.releases), _wanted(observer.configs)
    # What an operator has made there stands in the directory itself.
    if config is None and os.path.exists(os.path.join(observer.configs.root, "sys.config")):
        config = observer.configs.root
    strange = config and _other_node(observer, config)
    if strange:
        # Whatever else is found there is not of this node.
        return [strange]
    # Without a unit nothing was laid down yet.
    if None in (release, config) and not observer.unit.state().is_laid_down:
        return []
    rows = [_release(release) if release else _gone("ERLMCP_RELEASE_DAMAGED", "no release is", observer.releases)]
    if config:
        rows += [_cookie(observer.spec), _config(observer)]
    else:
        rows.append(_gone("ERLMCP_CONFIG_BROKEN", "no config is", observer.configs))
    return [row for row in rows if row]


def _wanted(slots):
    """The directory with which the node would start, wherever the link leads, or ``None``."""
    path = os.path.realpath(os.path.join(slots.root, "next" if slots.state().next else "current"))
    return path if os.path.isdir(path) else None


def _other_node(observer, config):
    """Whether the host is that of another node: an address in the inventory that leads to a wrong machine.

    A node that gets another name is not: the config that waits for its turn has the new one.
    """
    found = _NODE_NAME.findall(read_if_there(os.path.join(config, "vm.args")) or b"")
    if not found or os.fsdecode(found[-1]) == observer.node.name:
        return None
    return Row(
        OTHER_NODE,
        CRIT,
        f"the node of this host ({socket.gethostname()}) is {printable(os.fsdecode(found[-1]))}, and the inventory "
        f"takes it for that of {observer.node.name}",
        "Change nothing there. Look which host that is, and at ansible_host and erlmcp_node_name in the inventory",
    )


def _gone(code, what, slots):
    return Row(
        code,
        CRIT,
        f"{what} in {slots.root}, though the unit is there: was it moved away or deleted?",
        f"Move it back, or, if it is lost, {_SITE[0].lower()}{_SITE[1:]}",
    )


def refuse_stop(observer, way_out, repaired=()):
    """Refuse to stop a node that could not start again.

    :param observer: an :class:`.observe.Observer`.
    :param way_out: a sentence that says how to stop it all the same.
    :param repaired: codes of what is put right before it starts.
    """
    rows = [*around(observer.spec, observer.node.runner), *laid_down(observer)]
    found = [row for row in rows if row.state == CRIT and row.code not in repaired]
    if found:
        raise OpsError(
            f"{observer.node.name} is left running, because it could not start again: "
            f"{'; '.join(map(str, found))}. {way_out}",
            kind="start",
            problems=[row.as_dict() for row in found],
        )


def _room(directory):
    found = os.statvfs(directory)
    free = found.f_bavail * found.f_frsize
    if found.f_flag & os.ST_RDONLY:
        return Row(
            "ERLMCP_DISK_READ_ONLY",
            CRIT,
            f"{directory} is on a file system that can only be read, as Linux leaves it after an error of the disk",
            "journalctl -k tells why; repair that file system and mount it anew",
        )
    if free < MIN_FREE_BYTES:
        what = f"{free // _MIB} MiB are free for {directory}, and a node wants {MIN_FREE_BYTES // _MIB} MiB"
    # A file system that makes inodes as it needs them says that it has none.
    elif found.f_files and found.f_favail < MIN_FREE_INODES:
        what = f"{found.f_favail} inodes are free for {directory}, and a node wants {MIN_FREE_INODES}"
    else:
        return None
    return Row(
        "ERLMCP_DISK_FULL",
        CRIT,
        what,
        "Delete what nobody needs (playbooks prune_backups and remove_release, or see what is large: "
        f"du -xh {shlex.quote(directory)} | sort -h | tail), or enlarge the file system",
    )


def _owners(directory, user):
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        return
    groups = os.getgrouplist(user, account.pw_gid)
    if not _may_use(os.stat(directory), account.pw_uid, groups):
        yield Row(
            "ERLMCP_NOT_WRITABLE",
            CRIT,
            f"{directory} cannot be written by {user}",
            "The playbook site gives it back",
        )
    useless, strange, schemas = [], [], []
    for name, status in itertools.islice(trees.walk(directory, _enters, directories=True), _LOOKED_AT):
        if _is_roots(name):
            continue
        if os.path.basename(name) == "schema.DAT":
            schemas.append(os.path.dirname(name))
        if not _may_use(status, account.pw_uid, groups):
            useless.append((name, status))
        elif status.st_uid != account.pw_uid:
            strange.append((name, status))
    needed = []
    for name, status in useless:
        if _is_needed(directory, name, schemas):
            needed.append((name, status))
        elif status.st_uid != account.pw_uid:
            # The node may never ask for it.
            strange.append((name, status))
    # It follows no link, and does nothing by a path that the account could exchange meanwhile.
    give_back = (
        f"find {shlex.quote(directory)} -mindepth 1 \\( -name '{_SPOOL}*' -o -name {_FOUND} \\) -prune "
        f"-o ! -user {user} -execdir chown -h {user}: {{}} +"
    )
    if needed:
        # As the account, which cannot lead itself elsewhere.
        modes = f"; runuser -u {user} -- chmod -R u+rwX {shlex.quote(directory)}"
        yield Row(
            "ERLMCP_NOT_WRITABLE",
            CRIT,
            f"{_listed(directory, needed)} cannot be written by {user}, so the node may not start again",
            f"Give it back: {give_back}{modes if _are_own(needed, account.pw_uid) else ''}",
        )
    if strange:
        yield Row(
            "ERLMCP_NOT_OWNED",
            WARN,
            f"{_listed(directory, strange)} is not owned by {user}",
            f"Give it back: {give_back}",
        )


def _may_use(status, uid, groups):
    """Whether an account may read and write, and enter a directory; of its own files it may have some only to read."""
    if stat.S_ISLNK(status.st_mode):
        return True
    own = status.st_uid == uid
    wanted = 7 if stat.S_ISDIR(status.st_mode) else 4 if own else 6
    shift = 6 if own else 3 if status.st_gid in groups else 0
    return status.st_mode >> shift & wanted == wanted


def _is_needed(directory, name, schemas):
    """Whether a node does not start without it: Mnesia's files and what they are in, DETS tables, and logs.

    :param schemas: relative paths of the directories that hold a Mnesia schema.
    """
    # Compiled anew in every call of a module, and rarely needed.
    from .._backup.offline import is_dets

    if any(name.startswith(os.path.join(schema, "")) or f"{schema}/".startswith(f"{name}/") for schema in schemas):
        return True
    return name.endswith(".log") or is_dets(os.path.join(directory, name))


def _are_own(entries, uid):
    return any(status.st_uid == uid for _name, status in entries)


def _listed(directory, entries):
    shown = [
        "{path} ({owner}:{group} {mode})".format(path=printable(os.path.join(directory, name)), **described(status))
        for name, status in entries[:_SHOWN]
    ]
    return ", ".join(shown) + (f" and {len(entries) - _SHOWN} more" if len(entries) > _SHOWN else "")


def _is_roots(name):
    last = os.path.basename(name)
    return last.startswith(_SPOOL) or last == _FOUND


def _enters(name):
    return not _is_roots(name) and name.count(os.sep) < trees.MAX_DEPTH - 1


def _ports(node, runner):
    """A port that the node has itself, on whatever address, nobody else has taken from it."""
    listeners = listener_inodes()
    wanted = {inode: port for inode, port in listeners.items() if port in node["ports"]}
    if not wanted:
        return []
    owners = socket_owners(wanted)
    unit = f"{node['service']}.service"
    own = {wanted[inode] for inode, owner in owners.items() if owner.unit == unit}
    taken = {wanted[inode]: owner for inode, owner in owners.items() if wanted[inode] not in own}
    return [
        Row(
            "ERLMCP_PORT_TAKEN",
            CRIT,
            f"port {port} of the node is taken by process {owner.pid} ({owner.name}, {owner.unit or 'no unit'})",
            f"End it ({f'systemctl stop {owner.unit}' if owner.unit else f'kill {owner.pid}'}), or give the node "
            "another port in the inventory",
        )
        for port, owner in sorted(taken.items())
    ]


def _release(directory):
    damaged = damaged_files(directory)
    if not damaged:
        return None
    return Row(
        "ERLMCP_RELEASE_DAMAGED",
        CRIT,
        f"release {os.path.basename(directory)} in {directory} is damaged: {told_of(damaged)}",
        _SITE,
    )


def _cookie(node):
    path = os.path.join(node["home_dir"], ".erlang.cookie")
    try:
        status, uid = os.stat(path), pwd.getpwnam(node["user"]).pw_uid
    except FileNotFoundError:
        what = "is missing"
    except KeyError:
        return None
    else:
        if not status.st_size:
            what = "is empty"
        elif status.st_uid != uid or stat.S_IMODE(status.st_mode) & 0o477 != 0o400:
            what = "is not {user}'s alone ({owner}:{group} {mode})".format(user=node["user"], **described(status))
        else:
            return None
    return Row("ERLMCP_COOKIE", CRIT, f"{path} {what}, and Erlang starts with no other", _SITE)


def _config(observer):
    """Try a set that nobody has tried: what waits was tried when it was laid down, and a node has started with it."""
    slots = observer.configs.state()
    if slots.next or slots.current is None or observer.runs_with_its_config():
        return None
    directory = observer.configs.path(slots.current)
    files = {name: read_if_there(os.path.join(directory, name)) for name in FILES}
    missing = [name for name, content in files.items() if content is None]
    try:
        if missing:
            raise OpsError(f"{' and '.join(missing)} is missing", kind="config")
        validate(files, observer.spec, observer.node.runner, [], may_lack_host=True)
    except OpsError as error:
        return Row("ERLMCP_CONFIG_BROKEN", CRIT, f"the config in {directory} was changed by hand: {error}", _SITE)
    return None
