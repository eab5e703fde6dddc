# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One config set: sys.config, vm.args and env.sh, validated together and staged together."""

from __future__ import annotations

import base64
import datetime
from dataclasses import replace

from .._core.errors import OpsError
from .._core.sets import group_id
from .._core.slots import Slots
from .admission import admit, check_admitted
from .brought import OwnFiles, brought, contents, decoded, lacking, merged, not_taken, own_files, staying_out, told
from .diff import diffs, lines_diff, mask, secret_forms
from .erts import release_waits
from .left_behind import check_keeps_data
from .live import check_same_protocol, check_whole
from .own_host import check_own_addresses, check_own_name
from .plan import plan
from .spec import TEXTS
from .store import Store
from .validate import validate


def config(module, runner):
    """The module ``config`` with ``state=present``."""
    result, warnings = lay_down(module, runner)
    for warning in warnings:
        module.warn(warning)
    return result


def lay_down(module, runner):
    """Stage the wanted set, unless it is what the next restart runs anyway; return the module's result and warnings."""
    params = module.params
    node = params["node"]
    forms = secret_forms(params["secrets"])
    # The texts are kept out of the log of the host. They are shown, as differences, without the secrets in them, which
    # Ansible masks as they are; in the files they may be escaped.
    module.no_log_values.difference_update(params[name] for name in TEXTS)
    module.no_log_values.update(forms)
    wanted = wanted_files(params)
    check_own_addresses(params["own_addresses"])
    check_admitted(node["config_dir"], params["readmit"])
    own = _waiting_files(params, node)
    if params["base"] == "release" and own:
        wanted = with_release(wanted, own)
    store = Store(node["config_dir"], group_id(params["group"], may_lack=module.check_mode))
    observed = store.observe()
    current = observed.sets.get(observed.slots.current)
    check_whole(node["name"], current and current.files["sys.config"], wanted["sys.config"], params["left_out"])
    check_same_protocol(node, current and current.files, wanted, runner)
    check_keeps_data(node, observed, wanted)
    check_own_name(node["name"], params["own_addresses"], wanted)
    todo = plan(wanted, observed)
    # A release that waits may bring another Erlang, which has to accept the old config too.
    validated = (todo.stage or todo.replace or release_waits(node)) and validate(
        wanted, node, runner, forms, may_lack_host=module.check_mode
    )
    changed = todo.stage or todo.replace or release_waits(node) or params["release_files"]
    unused, said = _unused(own, wanted, params["base"]) if changed else ([], [])
    before = _unused_before(node, todo.before, params["base"]) if unused or said else []
    if unused == before:
        said = []
    now = datetime.datetime.now(datetime.timezone.utc)
    slots = observed.slots
    if todo.adopt:
        slots = replace(slots, current=store.new_name(todo.adopted))
    if todo.stage:
        slots = replace(slots, next=store.new_name(wanted))
    if todo.replace:
        slots = replace(slots, current=store.new_name(wanted))
    if todo.unstage:
        slots = replace(slots, next=None)
    if not module.check_mode:
        _apply(store, todo, wanted, slots, params["keep"], now)
        admit(node["config_dir"])
    result = {
        "changed": bool(todo.steps),
        "steps": todo.steps,
        "set": slots.wanted,
        "staged": slots.next is not None,
        "current": slots.current,
        "next": slots.next,
        "previous": slots.previous,
        "validated": validated,
        "diff": [
            *diffs(todo.before, wanted, forms, node["config_dir"], hand_made=todo.adopt),
            *lines_diff(before, unused, "what the release brings and this node does not get", forms),
        ],
    }
    return result, [mask(warning, forms) for warning in said]


def _waiting_files(params, node):
    """Return the :class:`OwnFiles` of the release that the next restart runs, ``None`` where it is not known."""
    predicted = params["release_files"]
    if predicted:
        files = {name: decoded(base64.b64decode(content)) for name, content in predicted["files"].items()}
        return OwnFiles(predicted["version"], files)
    return _own_files(node, Slots(node["install_dir"], "releases").state().wanted)


def _own_files(node, version):
    return version and own_files(Slots(node["install_dir"], "releases").path(version))


def with_release(wanted, own):
    """Return a config set, name to bytes, merged over the :class:`OwnFiles` of a release."""
    ours = contents(wanted)
    return merged(wanted, own, ours, lacking(brought(own, wanted["env.sh"].decode("utf-8")), ours))


def _unused(own, files, base):
    """Return what of a release's own files does not take effect, a line each, and what is to be said of it."""
    if own is None:
        return [], []
    try:
        theirs, ours = brought(own, (files["env.sh"] or b"").decode("utf-8", "replace")), contents(files)
    except OpsError as error:
        return [str(error)], [str(error)]
    lines = staying_out(theirs, ours) if base == "release" else not_taken(theirs, ours)
    return [f"{file}: {what}" for file, what in lines], told(own.version, lines, base == "release")


def _unused_before(node, files, base):
    own = _own_files(node, Slots(node["install_dir"], "releases").state().current)
    known = files["sys.config"] is not None and files["vm.args"] is not None
    return _unused(own, files, base)[0] if known else []


def wanted_files(params):
    """Return name to bytes of the files that the module is given."""
    return {
        "sys.config": params["sys_config"].encode("utf-8"),
        "vm.args": params["vm_args"].encode("utf-8"),
        "env.sh": params["env_sh"].encode("utf-8"),
    }


def _apply(store, todo, wanted, slots, keep, now):
    store.prepare()
    if todo.adopt:
        store.add(slots.current, todo.adopted)
        store.adopt(slots.current)
    if todo.stage:
        store.add(slots.next, wanted)
        store.slots.stage(slots.next)
    if todo.replace:
        store.add(slots.current, wanted)
        store.adopt(slots.current)
    if todo.unstage:
        store.slots.unstage()
    for name in todo.links:
        store.link(name, f"{now:%Y%m%dT%H%M%SZ}")
    if todo.stage or todo.replace:
        store.prune(keep)
