# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lock of a cluster: one run of Ansible at a time changes it, and everybody learns which.

Every host has a file that names the holder and when its hold ends. It is for runs of Ansible, which are many
connections, where :class:`.._core.lock.Lock` is for the processes of one host.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
from dataclasses import asdict

from .._core.errors import OpsError
from .._core.files import write_atomically
from .._core.lock import Lock
from .holder import Holder

RUN_DIR = "/run/erlmcp-ops"

# A change takes an instant.
_PATIENCE_SECONDS = 10


def plan_held(record, holder, request, now, host):
    """Say what the file must hold so that ``holder`` has the lock.

    :param record: what it holds now, or ``None``.
    :param holder: the :class:`Holder` that wants it.
    :param request: dict with ``what``, ``ttl_seconds``, ``take_over`` (token of a run that is known to have ended, or
        ``None``) and ``break_lock``.
    :param now: seconds since the epoch.
    :param host: name of the host, for those who are refused.
    :return: (record, reason to take it from another holder, or ``None``).
    :raises OpsError: when another run holds it.
    """
    expires = _utc(now + request["ttl_seconds"])
    if record and record["token"] == holder.token:
        return {**record, "expires": expires}, None
    reason = _reason_to_take(record, request, now) if record else None
    if record and not reason:
        raise OpsError(_refusal(record, host), kind="locked", lock=record)
    taken = {
        "holder": asdict(holder),
        "what": request["what"],
        "since": _utc(now),
        "expires": expires,
        "token": holder.token,
    }
    return taken, reason


def _reason_to_take(record, request, now):
    # Times in this format sort by time.
    if record["expires"] <= _utc(now):
        return "expired"
    if record["token"] == request["take_over"]:
        return "ended"
    return "broken" if request["break_lock"] else None


def _refusal(record, host):
    holder = Holder(**record["holder"])
    return (
        f"{holder} holds the lock of the cluster on host {host} for {record['what']} (process {holder.pid} on "
        f"{holder.host}), since {record['since']}, until {record['expires']} unless it renews it. Wait until that run "
        f"has ended. If it was killed, the next run on {holder.host} takes the lock over by itself; anywhere else, "
        "when you are sure that it is dead, add -e erlmcp_cluster_lock_break=true"
    )


def cluster_lock(module):
    """The module ``cluster_lock``."""
    options = module.params
    if options["ttl_seconds"] < 1:
        raise OpsError(f"ttl_seconds: {options['ttl_seconds']} is no time; give at least 1", kind="input")
    name = _name(options["service"])
    path = os.path.join(options["run_dir"], name)
    change = _hold if options["state"] == "held" else _release
    # Who only looks makes nothing.
    guard = (
        contextlib.nullcontext()
        if module.check_mode
        else Lock(options["run_dir"], name, "change", patience_seconds=_PATIENCE_SECONDS)
    )
    try:
        with guard:
            # The lock is bookkeeping, gone when the run ends: what it does is no change to the host.
            return {"changed": False, **change(path, options, module.check_mode)}
    except OSError as error:
        raise OpsError(
            f"the lock {path} on host {platform.node()} cannot be read or written: {error.strerror}", kind="locked"
        ) from error


def look_at_lock(run_dir, service):
    """Return what the lock's file holds, ``None`` where nobody holds the lock."""
    return _read(os.path.join(run_dir, _name(service)))


def _name(service):
    return f"{service}.cluster-lock"


def _hold(path, options, check_mode):
    found = _read(path)
    record, reason = plan_held(found, Holder(**options["holder"]), options, time.time(), platform.node())
    if not check_mode:
        write_atomically(path, json.dumps(record).encode(), mode=0o600)
    resumed = reason == "ended" and found["what"] == options["what"]
    taken_from = {**found, "reason": reason, "resumed": resumed} if reason else None
    return {"lock": record, "taken_from": taken_from}


def _release(path, options, check_mode):
    record = _read(path)
    ours = record is not None and record["token"] == Holder(**options["holder"]).token
    if ours and not check_mode:
        os.unlink(path)
    return {"released": ours}


def _read(path):
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as stream:
        content = stream.read()
    try:
        return json.loads(content)
    except ValueError as error:
        raise OpsError(
            f"{path} on host {platform.node()} is not a lock of ours: look what it is, and remove it", kind="locked"
        ) from error


def _utc(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
