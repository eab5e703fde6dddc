# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Paths that a unit is given, and that its own sandbox keeps from it. Pure: no I/O."""

from __future__ import annotations

import os

_HIDES = {
    "ProtectHome": ("/home", "/root", "/run/user"),
    "PrivateTmp": ("/tmp", "/var/tmp"),
    "PrivateDevices": ("/dev",),
}
_ON = ("1", "yes", "y", "true", "t", "on")
# Where systemd makes a directory that the unit may write.
_MADE_BELOW = {
    "RuntimeDirectory": "/run",
    "StateDirectory": "/var/lib",
    "CacheDirectory": "/var/cache",
    "LogsDirectory": "/var/log",
}
# With ProtectSystem=strict these stay as they are, or become the unit's own.
_STAY_WRITABLE = ["/dev", "/proc", "/sys", "/tmp", "/var/tmp"]
_WRITTEN = ("erlmcp_data_dir", "erlmcp_log_dir", "erlmcp_node_log_file")
_RUN = ("erlmcp_install_dir",)


def sandbox_problems(paths, settings, unit):
    """Return what a unit could not use, each problem with variable, value and the next action.

    :param paths: variable name to path. What is no absolute path is left to who judges that.
    :param settings: directive of systemd to value: a text, a boolean, or a list for one that is repeated. Where one is
        not there, it is off.
    :param unit: the unit's name, to be told.
    """
    found = []
    for name, path in paths.items():
        if isinstance(path, str) and path.startswith("/"):
            problem = _hidden(path, settings, unit) or _not_usable(name, path, settings, unit)
            found += [f"{name} is {path!r}, {problem}"] if problem else []
    return found


def _hidden(path, settings, unit):
    for directive, places in _HIDES.items():
        if _is_on(settings.get(directive)) and _depth(path, places):
            # What lies in the others does not outlive a boot anyway.
            off = f", or set {directive}: false in erlmcp_node_unit_settings" if directive == "ProtectHome" else ""
            return f"which {directive} hides from {unit}: choose a place outside of {', '.join(places)}{off}"
    if _depth(path, _paths(settings.get("InaccessiblePaths"))):
        return f"which InaccessiblePaths hides from {unit}: choose another place, or change erlmcp_node_unit_settings"
    return None


def _not_usable(name, path, settings, unit):
    writable = _paths(settings.get("ReadWritePaths")) + _STAY_WRITABLE
    for directive, place in _MADE_BELOW.items():
        writable += [os.path.join(place, made) for made in _paths(settings.get(directive))]
    if name in _WRITTEN and settings.get("ProtectSystem") == "strict" and not _depth(path, writable):
        return (
            f"which {unit} cannot write: choose a place below erlmcp_log_dir, or add it to ReadWritePaths in "
            "erlmcp_node_unit_settings"
        )
    closed, opened = (_depth(path, _paths(settings.get(directive))) for directive in ("NoExecPaths", "ExecPaths"))
    if name in _RUN and closed > opened:
        return (
            f"where NoExecPaths lets {unit} execute nothing: choose one outside of erlmcp_data_dir and erlmcp_log_dir, "
            "or name it as ExecPaths in erlmcp_node_unit_settings"
        )
    return None


def _is_on(value):
    return value is True or str(value).strip().lower() in _ON


def _paths(value):
    """Return the paths that a directive lists, without what stands before one (``-`` for one that may be missing)."""
    texts = value if isinstance(value, (list, tuple)) else [value or ""]
    return [word.lstrip("-+") for text in texts for word in str(text).split()]


def _depth(path, places):
    """Return the length of the longest of the places that hold a path, 0 where none does."""
    inside = (place for place in places if f"{path}/".startswith(os.path.join(place, "")))
    return max(map(len, inside), default=0)
