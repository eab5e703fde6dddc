# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The cookie of a node and the one in its file, replaced together while the node runs.

A node that runs demands the cookie it was told last, and reads the file only when it starts. The two cannot change in
one step, so the new cookie lies in a directory ``next`` until the node accepts it, and takes the place of the file
then. Whichever of the two the node accepts tells where a run was killed.

Where the cookie is encrypted on disk, ``next`` is in memory. A boot in between leaves the old cookie, or the new one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import shutil
import stat
from dataclasses import dataclass

from .._config.contract import cookie_problem
from .._core.errors import OpsError
from .._core.files import read_if_there, sync_directory, write_atomically
from .._core.sealed import Sealed
from .._erlang.node import Node, Unreachable
from .._erlang.terms import Atom, format_term
from .._node.unit import Unit

CLEAR = "remove the directory next, which a run that was killed left"
STAGE = "write the new cookie into the directory next"
TELL = "let the running node read it"
SWITCH = "replace the cookie file by the one in the directory next"

# Members whom the node would meet with another cookie than everybody else.
_STRAYS = "[Member || Member <- MEMBERS, auth:get_cookie(Member) =/= auth:get_cookie()]"

# What goes wrong with the cookie in hand must not be told: the error would hold it.
_TAKE = """
case file:read_file(PATH) of
    {ok, Text} ->
        try
            Cookie = binary_to_atom(Text, latin1),
            erlang:set_cookie(node(), Cookie),
            [erlang:set_cookie(Member, Cookie) || Member <- MEMBERS, auth:get_cookie(Member) =/= Cookie],
            taken
        catch _:_ -> refused
        end;
    {error, Reason} -> Reason
end
"""


@dataclass(frozen=True)
class Observed:
    """The cookies of a host.

    :param current: what is in the file that the node reads when it starts, as bytes; ``None`` without a file.
    :param waiting: what is in the file in ``next``, likewise.
    :param leftovers: whether there is a directory ``next``.
    :param running: whether the node runs.
    :param accepts: which of the two a running node accepts, ``current`` or ``waiting``.
    :param strays: members for whom the node has another cookie.
    """

    current: bytes | None = None
    waiting: bytes | None = None
    leftovers: bool = False
    running: bool = False
    accepts: str | None = None
    strays: tuple = ()

    @property
    def settled(self):
        """The cookie that the node has, on disk too when what was cut off is finished."""
        return self.waiting if self.accepts == "waiting" else self.current


def plan(observed, wanted=None):
    """Return the steps, in order, that give node and file the cookie ``wanted``.

    :param wanted: bytes; ``None`` only finishes or clears what a killed run left.
    """
    steps = []
    if observed.accepts == "waiting":
        steps.append(SWITCH)
    elif observed.leftovers:
        steps.append(CLEAR)
    if wanted is None:
        return steps
    if observed.settled != wanted:
        return [*steps, STAGE, *([TELL] if observed.running else []), SWITCH]
    return [*steps, *([TELL] if observed.strays else [])]


def cookie(module, runner):
    """The module ``cookie``."""
    options = module.params
    problem = cookie_problem(options["cookie"])
    if problem:
        raise OpsError(f"the cookie {problem}", kind="input")
    wanted = options["cookie"].encode("ascii")
    host = Host(options["node"], options["members"], runner)
    if options["state"] == "proven":
        host.prove(wanted)
        return {"changed": False, "had_cookie": True, "steps": []}
    with host.alone():
        observed = host.observe()
        steps = plan(observed, wanted if options["state"] == "present" else None)
        if not module.check_mode:
            host.apply(steps, wanted)
    return {
        "changed": bool(steps),
        "had_cookie": observed.settled == wanted,
        "steps": steps,
        "diff": {"before": "", "after": "".join(f"{host.path}: {step}\n" for step in steps)},
    }


class Host:
    """One host: the node there, and its cookie files.

    :param spec: the ``node`` option of a module.
    :param members: node names of the whole cluster.
    :param runner: a :class:`Runner`.
    """

    def __init__(self, spec, members, runner):
        self.spec = spec
        self.runner = runner
        self.home = spec["home_dir"]
        self.path = _file_in(self.home)
        self.sealed = Sealed.found_at(self.path, runner)
        self.next = os.path.join(os.path.dirname(self.sealed.runtime_path) if self.sealed else self.home, "next")
        self.members = format_term([Atom(name) for name in members])
        self.names = members

    @contextlib.contextmanager
    def alone(self):
        """Wait for a module at work here: one that is started goes on for a moment when its run is killed.

        :raises OpsError: on a host where no node was laid down.
        """
        try:
            descriptor = os.open(self.home, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as missing:
            raise OpsError(
                f"{self.home} is missing: lay the node down with the playbook site first", kind="missing"
            ) from missing
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def observe(self):
        """Return what is :class:`Observed`; changes nothing.

        :raises OpsError: when that cannot be told, as of a node that is starting or accepts no cookie of this host.
        """
        current, waiting = read_if_there(self.path), read_if_there(_file_in(self.next))
        unit = Unit(self.spec["service"], self.runner)
        state = unit.state()
        if not state.running and not state.settled_down:
            # It may have read the old cookie already, and would run with it unseen.
            raise OpsError(
                f"{unit.name} is {state.active} ({state.sub}): try again when it runs, or is stopped", kind="unit"
            )
        accepts, strays = self._ask(waiting is not None) if state.running else (None, ())
        return Observed(current, waiting, os.path.lexists(self.next), state.running, accepts, tuple(strays))

    def apply(self, steps, wanted):
        """Carry out what was planned."""
        for step in steps:
            try:
                if step == CLEAR:
                    shutil.rmtree(self.next)
                elif step == STAGE:
                    self._stage(wanted)
                elif step == TELL:
                    self._tell(self.next if STAGE in steps else self.home)
                else:
                    self._switch()
            except OSError as error:
                raise OpsError(f"could not {step}: {error.strerror} ({error.filename})", kind="io") from error

    def prove(self, wanted):
        """Open a new connection to every member with the cookie in the file. Connections that stand stay.

        :raises OpsError: naming each member that does not accept it, or would not accept a member.
        """
        if read_if_there(self.path) != wanted:
            raise OpsError(f"{self.path} does not hold the cookie: run the playbook rotate_cookie", kind="cookie")
        problems = []
        for name in self.names:
            try:
                strays = self._strays(self.home, name)
            except Unreachable as error:
                problems.append(str(error))
            else:
                problems += [f"{name} has another cookie for {stray}" for stray in strays]
        if problems:
            raise OpsError(
                f"not every node has the new cookie, as seen from {self.spec['name']}: {'; '.join(problems)}. "
                "Repair what keeps it from answering, and run the playbook rotate_cookie again, which goes on",
                kind="cookie",
                problems=problems,
            )

    def _ask(self, is_waiting):
        try:
            return "current", self._strays(self.home)
        except Unreachable as error:
            if is_waiting:
                try:
                    return "waiting", self._strays(self.next)
                except Unreachable:
                    pass
            raise OpsError(
                f"{self.spec['name']} runs and accepts no cookie that this host has: {error}. Ensure that {self.path} "
                f"holds the cookie of its peers and restart the node: systemctl restart {self.spec['service']}",
                kind="cookie",
            ) from error

    def _strays(self, home, name=None):
        node = Node({**self.spec, "home_dir": home, "name": name or self.spec["name"]}, self.runner)
        return [str(stray) for stray in node.evaluate(_STRAYS.replace("MEMBERS", self.members))]

    def _stage(self, wanted):
        """Lay the new cookie beside the old one, for the account alone, as the old one is."""
        try:
            account = pwd.getpwnam(self.spec["user"])
        except KeyError as missing:
            raise OpsError(f"account {self.spec['user']!r} does not exist on this host", kind="account") from missing
        home = os.stat(self.home)
        os.makedirs(self.next, mode=0o700, exist_ok=True)
        os.chown(self.next, home.st_uid, home.st_gid)
        os.chmod(self.next, stat.S_IMODE(home.st_mode))
        write_atomically(_file_in(self.next), wanted, 0o400, account.pw_uid, home.st_gid)

    def _tell(self, home):
        take = _TAKE.replace("PATH", format_term(os.fsencode(_file_in(home)))).replace("MEMBERS", self.members)
        answer = Node(self.spec, self.runner).evaluate(take)
        if answer != "taken":
            raise OpsError(f"{self.spec['name']} cannot take the cookie in {_file_in(home)}: {answer}", kind="cookie")
        if self._strays(home):
            raise OpsError(f"{self.spec['name']} still has other cookies for members: run this again", kind="cookie")

    def _switch(self):
        if self.sealed:
            status = os.stat(_file_in(self.next))
            content = read_if_there(_file_in(self.next))
            self.sealed.write(content, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
        else:
            os.replace(_file_in(self.next), self.path)
            sync_directory(self.home)
        shutil.rmtree(self.next)


def _file_in(home):
    return os.path.join(home, ".erlang.cookie")
