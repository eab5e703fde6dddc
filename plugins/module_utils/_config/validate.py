# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Everything that is asked before a config set gets its name."""

from __future__ import annotations

import pwd
import re

from .._core.errors import OpsError
from .._core.scratch import scratch
from .._core.sets import write_files
from .._erlang.release import find_release
from .diff import mask
from .env_sh import environment
from .erts import Judge
from .vm_args import environment_problems, problems

_SHELL_ERROR = re.compile(r"^[^:]*: (?:line )?(\d+): (.*)$", re.MULTILINE)


def validate(files, node, runner, forms, may_lack_host=False):
    """Return whether the release's Erlang has accepted the set; refuse a set with problems.

    :param files: name to content as bytes.
    :param node: the ``node`` option of a module.
    :param forms: secrets to keep out of messages.
    :param may_lack_host: in check mode a host without release or account is no error, and the answer is ``False``.
    :raises OpsError: naming file and line of each problem, or the role that has to run first.
    """
    vm_args = files["vm.args"].decode("utf-8")
    env_sh = files["env.sh"].decode("utf-8")
    _refuse(
        [*problems(vm_args, node), *environment_problems(environment(env_sh)), *_shell_problems(env_sh, runner)], forms
    )
    missing, release, account = _prerequisites(node)
    if missing and may_lack_host:
        return False
    if missing:
        raise OpsError(f"the configuration cannot be checked: {missing}", kind="config")
    found = _judge(files, vm_args, node, Judge(node, release, runner), account)
    # Another release may accept it: who asks before that is laid down has to know.
    _refuse(found, forms, by_release=True)
    return True


def _prerequisites(node):
    try:
        account = pwd.getpwnam(node["user"])
    except KeyError:
        return f"the account {node['user']!r} does not exist; role erlmcp_node makes it", None, None
    release = find_release(node)
    if release is None:
        return f"no release is installed under {node['install_dir']}; role erlmcp_release does that", None, None
    return None, release, account


def _judge(files, vm_args, node, judge, account):
    with scratch("erlmcp-config") as directory:
        write_files(directory, files, account.pw_gid)
        return judge.problems(directory, vm_args)


def _shell_problems(text, runner):
    done = runner.run(["sh", "-n"], stdin=text)
    if done.ok:
        return []
    match = _SHELL_ERROR.search(done.err)
    return [f"env.sh line {match[1]}: {match[2]}" if match else f"env.sh: {done.err.strip()}"]


def _refuse(found, forms, **details):
    if found:
        masked = [mask(problem, forms) for problem in found]
        raise OpsError(f"the configuration is refused: {'; '.join(masked)}", kind="config", problems=masked, **details)
