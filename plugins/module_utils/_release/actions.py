# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the modules release and release_info do on the host."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from .._core.errors import OpsError
from .._core.runner import Runner
from .._node.unit import Unit
from .archive import check_sum, read_release, sha256_of
from .plan import check_hooks, check_machine, plan_absent, plan_present
from .store import Store
from .whole import damaged_files, told_of

# What the action plugin decides with.
_PARAMS = ("install_dir", "keep", "release_name", "service", "stage", "start_hooks", "version")


def release(module, runner=None):
    """Install, stage or remove one release version; see the module of this name."""
    params = module.params
    store = Store(params["install_dir"])
    state = store.observe()
    unpack = None
    if params["state"] == "absent":
        plan = plan_absent(state, params["version"])
    else:
        sha256 = _wanted_sha256(params)
        wanted = {"sha256": sha256} if sha256 else {"version": params["version"]}
        found = state.find_whole(**wanted)
        if found is None:
            state = replace(state, stopped=_is_stopped(state, params["service"], runner))
        if found is None and not params["src"]:
            return _needs_archive(params, state, store, runner)
        if found is None:
            read = partial(read_archive, params["src"], sha256, params["release_name"])
            found, unpack = read(), read
        plan = plan_present(state, found, params["stage"], params["keep"], params["version"], params["service"])
        warnings = check_hooks(found, params["start_hooks"])
        if plan.installs:
            machine = store.observe_machine(runner or Runner())
            warnings += check_machine(found, machine, params["install_dir"], module.check_mode)
            for warning in warnings:
                module.warn(warning)
    if not module.check_mode:
        store.apply(plan, unpack)
    return plan.result(params["install_dir"])


def release_info(module):
    """Return what is installed; see the module of this name."""
    state = Store(module.params["install_dir"]).observe()
    return {
        "changed": False,
        "versions": [asdict(found) for found in state.installed],
        **asdict(state.slots),
        "incomplete": state.summary()["incomplete"],
    }


def hash_archive(path, checksum):
    """Return the SHA-256 of the archive at ``path``, after comparing it with ``checksum``, if given."""
    with _opened(path) as stream:
        sha256 = sha256_of(stream)
    check_sum(path, sha256, checksum)
    return sha256


def read_archive(path, sha256, release_name, sink=None):
    """Call :func:`read_release` with the archive at ``path``."""
    with _opened(path) as stream:
        return read_release(stream, path, sha256, release_name, sink)


def _wanted_sha256(params):
    if params["src"]:
        return hash_archive(params["src"], params["checksum"])
    return params["archive_sha256"]


def _needs_archive(params, state, store, runner):
    """Answer the action plugin, which decides with this on the control node before it sends an archive."""
    if not params["archive_sha256"] and state.find(version=params["version"]):
        raise OpsError(
            f"release {params['version']} in {params['install_dir']} is damaged ("
            f"{told_of(damaged_files(store.slots.path(params['version'])))}): lay it down anew from its archive, with "
            "erlmcp_release_archive and the playbook site",
            kind="damaged",
        )
    if not params["archive_sha256"]:
        raise OpsError(
            f"release {params['version']} is not installed in {params['install_dir']}: give its archive as src",
            kind="archive",
        )
    return {
        "needs_archive": True,
        "sha256": params["archive_sha256"],
        "params": {name: params[name] for name in _PARAMS},
        "state": state.as_dict(),
        "machine": asdict(store.observe_machine(runner or Runner())),
    }


def _is_stopped(state, service, runner):
    """Whether the node is stopped; asked only where it decides whether ``current`` can be replaced."""
    current = state.find(version=state.slots.current)
    return current is not None and not current.proven and Unit(service, runner or Runner()).state().settled_down


def _opened(path):
    if not os.path.isfile(path):
        raise OpsError(f"src: there is no archive {path}: build it, or correct the path", kind="archive")
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise OpsError(f"src: {path} cannot be read: {error.strerror}", kind="archive") from error
