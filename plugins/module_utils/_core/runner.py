# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Commands, run as root or as the service account, with secrets kept off the command line."""

from __future__ import annotations

import contextlib
import os
import pwd
import subprocess
from dataclasses import dataclass

from .errors import OpsError

# su keeps the PATH of an account that has no sbin in it.
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


@dataclass(frozen=True)
class Completed:
    """What a command left: exit status (124 for a time-out), standard output and error as text."""

    rc: int
    out: str
    err: str

    @property
    def ok(self):
        return self.rc == 0


class Runner:
    """Runs commands; tests inject an object with the same ``run``."""

    def run(self, argv, stdin="", account=None, env=None, timeout=60, tied=False):
        """Run ``argv`` without a shell.

        :param argv: the command as a list of strings. Never put a secret in it: every user of the host can read it.
        :param stdin: text for its standard input.
        :param account: name of the account to run it as; ``None`` stays who we are.
        :param env: the whole environment besides PATH and LANG; nothing is inherited.
        :param timeout: seconds after which it is killed and ``rc`` is 124.
        :param tied: give it a standard input that holds nothing, and ends when this process does or after ``timeout``:
            a command that reads it, and then ends, outlives neither, whoever is its parent.
        :raises OpsError: when the command or the account does not exist.
        """
        environment = {"PATH": SEARCH_PATH, "LANG": "C.UTF-8"}
        environment.update(env or {})
        source = _endless_input() if tied else contextlib.nullcontext({"input": stdin})
        try:
            with source as given:
                done = subprocess.run(
                    argv,
                    **given,
                    capture_output=True,
                    check=False,
                    encoding="utf-8",
                    errors="replace",
                    env=environment,
                    cwd="/",
                    timeout=timeout,
                    **_identity(account),
                )
        except subprocess.TimeoutExpired as expired:
            return Completed(124, _text(expired.stdout), _text(expired.stderr) or f"no answer in {timeout} s")
        except FileNotFoundError as missing:
            raise OpsError(f"command not found: {argv[0]}", kind="command", argv=argv) from missing
        return Completed(done.returncode, done.stdout, done.stderr)


@contextlib.contextmanager
def _endless_input():
    # Whoever is started by somebody else meanwhile inherits neither end.
    reading, writing = os.pipe()
    try:
        yield {"stdin": reading}
    finally:
        os.close(reading)
        os.close(writing)


def _identity(account):
    if account is None:
        return {}
    try:
        entry = pwd.getpwnam(account)
    except KeyError as missing:
        raise OpsError(f"account {account!r} does not exist on this host", kind="account") from missing
    if entry.pw_uid == os.geteuid():
        return {}
    groups = os.getgrouplist(account, entry.pw_gid)
    # Like the unit: what the account writes is not for everybody.
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": groups, "umask": 0o027}


def _text(output):
    if isinstance(output, bytes):
        return output.decode("utf-8", "replace")
    return output or ""
