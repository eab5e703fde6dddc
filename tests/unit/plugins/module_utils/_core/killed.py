# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A process that is killed between any two changes of the file system, like a module whose host loses power."""

from __future__ import annotations

import os
import signal

_CHANGES = ("open", "replace", "rename", "symlink", "unlink", "fsync")


def killed_everywhere(prepare, act):
    """Yield what ``prepare`` made, once for every point at which ``act`` of it was killed, until it is not any more.

    :param prepare: a function of a number to something that ``act`` takes.
    """
    number = 0
    while True:
        number += 1
        subject = prepare(number)
        child = os.fork()
        if child == 0:
            _act_until(number, act, subject)
        _pid, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            assert status == 0, "it failed instead of being killed"
            assert number > 1, "it changes nothing"
            return
        yield subject


def _act_until(number, act, subject):
    left = number

    def count(function):
        def counted(*arguments, **options):
            nonlocal left
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **options)

        return counted

    try:
        for name in _CHANGES:
            setattr(os, name, count(getattr(os, name)))
        act(subject)
        os._exit(0)
    finally:
        os._exit(1)
