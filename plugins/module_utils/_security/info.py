# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module ``security_info``: everything that the checks want to know of a host, in one look."""

from __future__ import annotations

import concurrent.futures
import os
import re

from .._core.errors import OpsError
from .._core.sealed import Sealed
from .._erlang.distribution import read_distribution
from .._erlang.listeners import listeners as listeners_of
from .._erlang.node import Node
from .._node.unit import Unit
from .audit import observe_audit
from .files import Account, Tree
from .processes import exposures, observe_listeners, observe_processes, observe_unit_process, replaced_by_unit
from .secrets import (
    cookie_path,
    is_on_encrypted_volume,
    observe_backups,
    observe_crash_dumps,
    read_cookie,
    search,
)
from .services import observe_services
from .updates import observe_updates

_OVERALL = re.compile(r"Overall exposure level for (\S+): ([0-9.]+)")


def security_info(module, runner):
    """Look at the host; return the facts as the module documents them."""
    if os.geteuid() != 0:
        raise OpsError("only root can look at everything: connect as root or set ansible_become: true", kind="account")
    options = module.params
    node = options["node"]
    unit = f"{node['service']}.service"
    # These wait for others most of the time.
    with concurrent.futures.ThreadPoolExecutor() as pool:
        updates = pool.submit(observe_updates, runner)
        units = pool.submit(_observe_units, options["units"], runner)
        audit = pool.submit(observe_audit, runner, options["audit_rules_path"])
        processes = observe_processes()
        owners = pool.submit(_owners, node, runner)
        listeners = observe_listeners(processes)
        distribution = read_distribution(node["config_dir"])
        services = pool.submit(
            observe_services, options["services"], listeners, _client_certificate(options["tls_dir"]), runner
        )
        cookie = read_cookie(node["home_dir"])
        account = Account(node["user"])
        paths = [tree["path"] for tree in options["trees"]]
        return {
            "changed": False,
            "account": account.observe(_sudo(node["user"], runner) if account.exists else ""),
            "trees": {tree["name"]: Tree(tree["path"], account, paths).observe() for tree in options["trees"]},
            "distribution": {"tls": distribution.is_tls},
            "listeners": [
                {**each, "application": owners.result().get(each["port"], "") if each["unit"] == unit else ""}
                for each in listeners
            ],
            "replaced_code": replaced_by_unit(processes),
            "secrets": {
                "processes": exposures(processes, cookie),
                "files": search(options["search"], cookie, node["home_dir"]),
                "sealed": Sealed.found_at(cookie_path(node["home_dir"]), runner) is not None,
                "encrypted_volume": is_on_encrypted_volume(node["home_dir"]),
            },
            "crash_dumps": observe_crash_dumps(options["crash_dump_dirs"]),
            "backups": observe_backups(options["backup_dir"], options["backup_settings_path"]),
            "services": services.result(),
            "units": units.result(),
            "audit": audit.result(),
            "updates": updates.result(),
        }


def _owners(spec, runner):
    """Return port to application of the listeners of a node; none of one that does not answer."""
    try:
        return {each["port"]: each["application"] for each in listeners_of(Node(spec, runner))}
    except OpsError:
        return {}


def _observe_units(names, runner):
    analysed = exposure_of(runner.run(["systemd-analyze", "security", "--no-pager", *names]).out)
    return {
        name: {
            "exposure": analysed.get(name),
            "process": observe_unit_process(Unit(name.partition(".service")[0], runner).state().pid),
        }
        for name in names
    }


def exposure_of(analysis):
    """Return unit to exposure, as ``systemd-analyze security`` sums it up."""
    return {unit.rstrip(":"): float(level) for unit, level in _OVERALL.findall(analysis)}


def _sudo(user, runner):
    try:
        return runner.run(["sudo", "-n", "-l", "-U", user]).out
    except OpsError:
        return ""


def _client_certificate(directory):
    paths = [os.path.join(directory, name) for name in ("cert.pem", "key.pem")] if directory else []
    return paths if paths and all(map(os.path.exists, paths)) else None
