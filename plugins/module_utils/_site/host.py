# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What modules of ansible-core would change: the account and its group, and packages of Debian."""

from __future__ import annotations

import grp
import os
import pwd

from .._core.errors import OpsError
from .._core.files import read_if_there

ACCOUNT_SPEC = {
    "user": {"type": "str", "required": True},
    "group": {"type": "str", "required": True},
    "home": {"type": "path", "required": True},
    "shell": {"type": "path", "required": True},
}
PACKAGES_SPEC = {"names": {"type": "list", "elements": "str", "required": True}}


def account(module, _runner):
    """Say what ``ansible.builtin.group`` and ``ansible.builtin.user`` would change."""
    wanted = module.params
    found = _found(pwd.getpwnam, wanted["user"])
    if found and wanted["home"] != found.pw_dir:
        _refuse_busy(found)
    group = _found(grp.getgrnam, wanted["group"])
    for what, name, there in (("group", wanted["group"], group), ("account", wanted["user"], found)):
        if there is None:
            return {"differs": [f"{what} {name} is missing"]}
    compared = (
        ("group", group.gr_gid, found.pw_gid),
        ("home", wanted["home"], found.pw_dir),
        ("shell", wanted["shell"], found.pw_shell),
    )
    return {"differs": [f"{what} of account {wanted['user']}" for what, one, other in compared if one != other]}


def _found(look_up, name):
    try:
        return look_up(name)
    except KeyError:
        return None


def _refuse_busy(account):
    """Say before anything is changed what ``usermod`` would say after half of it."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            owner = os.stat(f"/proc/{pid}").st_uid
        except FileNotFoundError:
            continue
        if owner == account.pw_uid:
            name = (read_if_there(f"/proc/{pid}/comm") or b"?").decode("utf-8", "replace").strip()
            raise OpsError(
                f"account {account.pw_name} has {account.pw_dir} for its home, and gets no other while a process runs "
                f"under it: {pid} ({name}). Set erlmcp_home_dir to {account.pw_dir}, or erlmcp_user to another "
                f"account; or end the process (systemctl status {pid} names its unit), and run again",
                kind="account",
            )


def packages(module, runner):
    """Say which packages ``ansible.builtin.apt`` would install."""
    names = module.params["names"]
    done = runner.run(["dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\n", *names])
    installed = {line.partition(" ")[0] for line in done.out.splitlines() if line.endswith(" installed")}
    return {"differs": [f"package {name} is missing" for name in names if name not in installed]}
