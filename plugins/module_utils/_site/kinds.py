# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kinds of question, by the names of the modules whose plans answer them.

Each is imported when it is asked only: Python compiles a module's code anew in every call.
"""

from __future__ import annotations


def kind(name):
    """Return (spec, answer, differs) of a kind of question, or ``None``.

    ``answer(module, runner)`` is what the module of that name does. ``differs(result, params)`` makes of its result and
    its options a list of short texts, which is empty where a real run would change nothing.
    """
    load = _KINDS.get(name)
    return load and load()


def _account():
    from .host import ACCOUNT_SPEC, account

    return ACCOUNT_SPEC, account, _listed


def _packages():
    from .host import PACKAGES_SPEC, packages

    return PACKAGES_SPEC, packages, _listed


def _release():
    from .._release.actions import release
    from .._release.spec import RELEASE_SPEC

    return RELEASE_SPEC, release, _release_differs


def _config():
    from .._config.config import lay_down
    from .._config.spec import CONFIG_SPEC

    # What is to be told, the task tells that follows.
    return CONFIG_SPEC, lambda module, runner: lay_down(module, runner)[0], lambda result, _params: result["steps"]


def _fileset():
    from .._fileset.fileset import fileset
    from .._fileset.spec import FILESET_SPEC

    return FILESET_SPEC, fileset, _fileset_differs


def _certificate():
    from .._tls.certificate import certificate
    from .._tls.spec import CERTIFICATE_SPEC

    return CERTIFICATE_SPEC, certificate, _certificate_differs


def _firewall():
    from .._firewall.firewall import firewall
    from .._firewall.spec import FIREWALL_SPEC

    return FIREWALL_SPEC, firewall, _firewall_differs


def _audit_rules():
    from .._audit.audit import audit_rules
    from .._audit.spec import AUDIT_RULES_SPEC

    return AUDIT_RULES_SPEC, audit_rules, lambda result, _params: ["audit rules"] if result["changed"] else []


_KINDS = {
    "account": _account,
    "audit_rules": _audit_rules,
    "certificate": _certificate,
    "config": _config,
    "fileset": _fileset,
    "firewall": _firewall,
    "packages": _packages,
    "release": _release,
}
NAMES = sorted(_KINDS)


def _listed(result, _params):
    return result["differs"]


def _release_differs(result, _params):
    if result.get("needs_archive"):
        damaged = result["state"]["damaged"]
        return [f"files of release {', '.join(damaged)} are damaged" if damaged else "the archive is not installed"]
    return [f"release {result['version']} waits or is pruned"] if result["changed"] else []


def _fileset_differs(result, _params):
    return [
        *result["changed_paths"],
        *(f"{name} is not running" for name in result["started_units"]),
        *(f"{name} is running" for name in result["stopped_units"]),
        *(f"program {name} is missing" for name in result["missing_programs"]),
        # systemd has not read a unit that an earlier run has laid down.
        *(["units are to be read anew"] if result["changed"] and not result["changed_paths"] else []),
    ]


def _certificate_differs(result, _params):
    return [f"certificate: {', '.join(result['due']) or 'its files'}"] if result["changed"] else []


def _firewall_differs(result, params):
    if params["enabled"] and not result["installed"]:
        return [f"{result['backend']} is not installed"]
    return [f"rules of {result['backend']}"] if result["changed"] else []
