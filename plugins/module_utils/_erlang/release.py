# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where Erlang lies: inside the release, or where the host's ``erl`` is."""

from __future__ import annotations

import glob
import os
import shutil
from dataclasses import dataclass

from .._core.errors import OpsError
from .._core.runner import SEARCH_PATH
from .._core.slots import Slots

_DEBIAN = "/usr/lib/erlang"


@dataclass(frozen=True)
class Release:
    """Where the Erlang of a release lies.

    :param root: directory with ``lib``.
    :param boot: path of ``start_clean.boot`` without its extension.
    :param erts_bin: directory of ``erlexec``, inside the release or the system's.
    """

    root: str
    boot: str
    erts_bin: str

    @property
    def system_lib(self):
        """The libraries that come with ``erts_bin``, which a release without Erlang inside shares."""
        return os.path.join(os.path.dirname(os.path.dirname(self.erts_bin)), "lib")

    def code_paths(self):
        """Return the ``ebin`` directories of the release."""
        return sorted(glob.glob(os.path.join(self.root, "lib", "*", "ebin")))

    def command(self):
        """Return the command of an Erlang that loads modules when they are needed, without flags of its own."""
        return [
            *(os.path.join(self.erts_bin, "erlexec"), "-boot", self.boot, "-mode", "interactive"),
            *("-boot_var", "SYSTEM_LIB_DIR", self.system_lib, "+sbwt", "none", "-pa", *self.code_paths()),
        ]

    def environment(self):
        """Return the environment that ``erlexec`` needs, which the script ``erl`` would give it. It dumps no core."""
        return {
            "ROOTDIR": self.root,
            "BINDIR": self.erts_bin,
            "EMU": "beam",
            "PROGNAME": "erl",
            "ERL_CRASH_DUMP_SECONDS": "0",
        }


def system_root():
    """Return the root of the host's own Erlang, whether or not there is one."""
    erl = shutil.which("erl", path=SEARCH_PATH)
    return os.path.dirname(os.path.dirname(os.path.realpath(erl))) if erl else _DEBIAN


def find_release(node):
    """Return the :class:`Release` that the next restart runs, or ``None`` when none is installed.

    :param node: the ``node`` option of a module.
    :raises OpsError: for a release whose Erlang is missing.
    """
    slots = Slots(node["install_dir"], "releases")
    wanted = slots.state().wanted
    return None if wanted is None else read_release(slots.path(wanted))


def find_release_in_use(node):
    """Return the :class:`Release` that runs, else the one that waits, else the host's own Erlang.

    :param node: the ``node`` option of a module.
    :raises OpsError: when there is no Erlang at all.
    """
    slots = Slots(node["install_dir"], "releases")
    state = slots.state()
    name = state.current or state.next
    found = read_release(slots.path(name)) if name else system_release()
    if found is None:
        raise OpsError(
            f"no Erlang for {node['name']}: no release is installed under {node['install_dir']}", kind="release"
        )
    return found


def read_release(root):
    """Return the :class:`Release` unpacked at ``root``.

    :raises OpsError: for a directory that is no release, or whose Erlang is missing.
    """
    try:
        with open(os.path.join(root, "releases", "start_erl.data"), encoding="ascii") as stream:
            erts, version = stream.read().split()
    except (OSError, ValueError) as error:
        raise OpsError(f"{root} is no release: releases/start_erl.data is missing or bad", kind="release") from error
    boots = [os.path.join(root, "releases", version, "start_clean"), os.path.join(root, "bin", "start_clean")]
    boot = next((path for path in boots if os.path.exists(f"{path}.boot")), None)
    if boot is None:
        raise OpsError(
            f"{root} has no start_clean.boot, so its Erlang cannot start without the application: build the "
            "release with it",
            kind="release",
        )
    return Release(root, boot, _erts_bin(root, erts))


def system_release():
    """Return the host's own Erlang as a :class:`Release`, or ``None`` where there is none."""
    root = system_root()
    found = sorted(glob.glob(os.path.join(root, "erts-*", "bin", "erlexec")))
    boot = os.path.join(root, "bin", "start_clean")
    return Release(root, boot, os.path.dirname(found[-1])) if found and os.path.exists(f"{boot}.boot") else None


def _erts_bin(root, erts):
    bundled = os.path.join(root, f"erts-{erts}", "bin")
    if os.path.isdir(bundled):
        return bundled
    system = system_root()
    found = sorted(glob.glob(os.path.join(system, "erts-*", "bin")))
    exact = os.path.join(system, f"erts-{erts}", "bin")
    if not found:
        raise OpsError(
            f"{root} comes without Erlang and the host has none: install Erlang with ERTS {erts}, or use a release "
            "that includes it",
            kind="release",
        )
    return exact if exact in found else found[-1]
