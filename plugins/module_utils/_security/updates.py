# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Updates of the system: which are pending, whether they come by themselves, how old is what apt knows."""

from __future__ import annotations

import os
import re
import time

from .._core.errors import OpsError

_DAY = 86400
# "Inst NAME [INSTALLED] (OFFERED LABEL:VERSION/SUITE, … [ARCHITECTURE])"; a package that is new has no version yet.
_INSTALLED = re.compile(r"^Inst (\S+) (?:\[(\S+)\] )?\((\S+) ([^\[\)]*)", re.MULTILINE)
_SETTING = re.compile(r'^APT::Periodic::(Update-Package-Lists|Unattended-Upgrade) "([^"]*)";$', re.MULTILINE)
# Debian's label and its suites, Ubuntu's suites.
_SECURITY = re.compile(r"^[^:]*-Security:|-security$", re.IGNORECASE)
# What fetches them leaves a stamp, and apt replaces lists in the last. Its "partial" also changes when that fails.
_STAMPS = ("var/lib/apt/periodic/update-success-stamp", "var/lib/apt/periodic/update-stamp", "var/lib/apt/lists")


def pending(simulation):
    """Return the packages that ``apt-get -s dist-upgrade`` would upgrade, as dicts."""
    return [
        {
            "package": package,
            "installed": installed,
            "offered": offered,
            "security": any(_SECURITY.search(source.strip()) for source in sources.split(",")),
        }
        for package, installed, offered, sources in _INSTALLED.findall(simulation)
        if installed
    ]


def is_automatic(settings, is_installed):
    """Whether updates come by themselves, by what ``apt-config dump`` says."""
    switches = dict(_SETTING.findall(settings))
    names = ("Update-Package-Lists", "Unattended-Upgrade")
    return is_installed and all(switches.get(name, "0") != "0" for name in names)


def observe_updates(runner, root="/"):
    """Return what ``security_info`` documents as ``updates``."""
    try:
        simulated = runner.run(["apt-get", "-s", "-o", "Debug::NoLocking=1", "dist-upgrade"], timeout=120)
        settings = runner.run(["apt-config", "dump", "APT::Periodic"]).out
    except OpsError as error:
        return {"error": str(error)}
    if not simulated.ok:
        return {"error": f"apt-get -s dist-upgrade failed: {simulated.err.strip()[:300]}"}
    packages = pending(simulated.out)
    required = os.path.join(root, "run/reboot-required")
    return {
        "error": None,
        "pending": len(packages),
        "security": [package for package in packages if package["security"]],
        "lists_age_days": _lists_age_days(root),
        "automatic": is_automatic(settings, os.path.exists(os.path.join(root, "usr/bin/unattended-upgrade"))),
        "reboot_required": os.path.exists(required),
        "reboot_for": _lines(f"{required}.pkgs"),
    }


def _lists_age_days(root):
    times = [
        os.stat(path).st_mtime for path in (os.path.join(root, stamp) for stamp in _STAMPS) if os.path.exists(path)
    ]
    return int((time.time() - max(times)) // _DAY) if times else None


def _lines(path):
    try:
        with open(path, encoding="utf-8") as stream:
            return sorted(set(stream.read().split()))
    except FileNotFoundError:
        return []
