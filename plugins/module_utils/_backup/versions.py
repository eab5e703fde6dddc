# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which versions made an archive, and whether the installed ones can read it."""

from __future__ import annotations

import os
import re

from .._core.slots import Slots

_NUMBERS = re.compile(r"\d+")


def versions(spec, state=None):
    """Versions of the release that runs, or would be started.

    :param spec: the ``node`` option of a module.
    :param state: what :class:`Observer` says; its figures are better than what is on disk.
    :return: ``release``, ``erts``, ``otp`` (text, or ``None`` where nobody knows) and ``applications`` (name to
        version).
    """
    figures = (state or {}).get("figures") or {}
    release = (state or {}).get("release", {}).get("running") or Slots(spec["install_dir"], "releases").state().current
    return {
        "release": release,
        "erts": figures.get("erts") or _erts(spec["install_dir"]),
        "otp": figures.get("otp"),
        "applications": figures.get("applications", {}),
    }


def is_newer(version, other):
    """Whether ``version`` is newer than ``other``, by the numbers in front: ``1.10.0`` is newer than ``1.9.3``."""
    return _numbers(version) > _numbers(other)


def _numbers(version):
    return [int(number) for number in _NUMBERS.findall(version.partition("-")[0].partition("+")[0])]


def _erts(install_dir):
    try:
        with open(os.path.join(install_dir, "current", "releases", "start_erl.data"), encoding="ascii") as stream:
            return stream.read().split()[0]
    except (FileNotFoundError, IndexError):
        return None
