# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rows that a node would leave behind: they lie in a directory, and in Mnesia they are those of one node name.

A node that looks for them elsewhere starts with new, empty tables, is healthy, and nobody notices. Under another name
it finds them and loads none, since Mnesia takes the copies for those of another node.
"""

from __future__ import annotations

import os
import re
import shlex

from .._core import trees
from .._core.errors import OpsError
from .._core.files import read_if_there
from .._erlang.terms import TermError, parse
from .brought import contents
from .plan import FILES, made_by_hand
from .vm_args import NAME_FLAGS

_COMMANDS = "/usr/local/bin"
_CONFIG_DIR = re.compile(rb"^config_dir=(.+)$", re.MULTILINE)
_MNESIA = ("mnesia", "dir")
# Root's own, and what a file system has at its top.
_NO_DATA = (".erlmcp-", "lost+found")


def check_keeps_data(node, observed, wanted):
    """Do nothing, or refuse a set with which the node would not have its data any more.

    :param node: the ``node`` option of a module.
    :param observed: :class:`.plan.Observed`, what is in the configuration directory.
    :param wanted: file name to bytes.
    :raises OpsError: naming both places, or both names, and what to do.
    """
    current = observed.sets.get(observed.slots.current)
    files = current.files if current else made_by_hand(observed) or _of_another_directory(node)
    found = left_behind(files, wanted, node["service"])
    if found:
        raise OpsError(". ".join(found), kind="data")


def left_behind(current, wanted, service):
    """Return what a node would not have any more, and what to do, two texts; ``None`` where it has all.

    :param current: file name to bytes, or to ``None``, of the set in use; ``None`` where there is none.
    :param wanted: those of the set that it would have instead.
    :param service: name of the node's unit.
    """
    if current is None or current == wanted:
        return None
    try:
        before, after = contents(current), contents(wanted)
    except OpsError:
        # No node starts with what cannot be read, and who tries it says so.
        return None
    return _other_directory(before, after, service) or _other_name(before, after)


def _other_directory(before, after, service):
    places = _directories(after)
    # The outer one first: what is below it moves with it.
    for setting, old in sorted(_directories(before).items(), key=lambda place: place[1]):
        new = places.get(setting, old)
        if os.path.realpath(old) != os.path.realpath(new) and _has_files(old, new):
            name = "dir of section mnesia in erlmcp_node_config" if setting == _MNESIA else "erlmcp_data_dir"
            return (
                f"the node has its data in {old} and would start without it, in {new} ({name})",
                f"Set {name} back to {old}. Or move the data, on the host: systemctl stop {service} && "
                f"{_moving(old, new)}; then run this again. Where it changes for several hosts, do "
                "both host by host, with --limit",
            )
    return None


def _moving(old, new):
    """Return the command that moves what is in one directory to another one, which may be below it."""
    inside = _below(new, old)
    if not inside:
        return shlex.join(["mv", "-T", old, new])
    others = ["find", old, "-mindepth", "1", "-maxdepth", "1", "!", "-name", inside.split(os.sep)[0]]
    return f"{shlex.join(['mkdir', '-p', new])} && {shlex.join([*others, '-exec', 'mv', '-t', new, '{}', '+'])}"


def _below(path, directory):
    """Return the relative path of what is below a directory, ``None`` of what is not."""
    relative = os.path.relpath(os.path.realpath(path), os.path.realpath(directory))
    return None if relative.split(os.sep)[0] in (os.pardir, os.curdir) else relative


def _other_name(before, after):
    (old, new), directory = (_name(each) for each in (before, after)), _directories(before).get(_MNESIA)
    if old == new or None in (old, new) or not directory or not os.path.exists(os.path.join(directory, "schema.DAT")):
        return None
    return (
        f"the tables in {directory} are those of {old}, and under the name {new} the node would load none of them",
        "Set the name back (erlmcp_node_name, or what it is made of: erlmcp_node_host, erlmcp_node_name_type, "
        f"ansible_host, the host's name in the inventory). In a cluster {old} can leave (playbook leave_cluster) and "
        "come back under another name, with -e erlmcp_node_readmit=true",
    )


def _of_another_directory(node):
    """Return the files with which the control command starts the node, where its configuration is moved as well."""
    command = read_if_there(os.path.join(_COMMANDS, node["release_name"])) or b""
    named = _CONFIG_DIR.search(command)
    if not named:
        return None
    (directory,) = shlex.split(os.fsdecode(named[1]))
    return {name: read_if_there(os.path.join(directory, name)) for name in FILES}


def _directories(found):
    """Return setting to absolute path: that of Mnesia, and ``data_dir`` of whatever application has one."""
    paths = {each: _text(found.settings[each]) for each in found.settings if each[1] == "data_dir"}
    paths[_MNESIA] = _text(found.setting(_MNESIA) or "")
    return {each: os.path.normpath(path) for each, path in paths.items() if path and os.path.isabs(path)}


def _text(source):
    try:
        term = parse(source)
    except TermError:
        return None
    return term if isinstance(term, str) else None


def _name(found):
    return next((words[-1] for flag, words in found.flags.items() if flag[0] in NAME_FLAGS), None)


def _has_files(directory, but):
    """Whether there are files of the account, besides those where they are looked for from now on."""
    moved = _below(but, directory)
    files = trees.walk(
        os.path.realpath(directory), lambda name: name != moved and not os.path.basename(name).startswith(_NO_DATA)
    )
    return any(not os.path.basename(name).startswith(_NO_DATA) for name, _status in files)
