# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What modules of ansible-core would change: the account and its group, and packages of Debian."""

from __future__ import annotations

import grp
import pwd

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
    try:
        gid = grp.getgrnam(wanted["group"]).gr_gid
    except KeyError:
        return {"differs": [f"group {wanted['group']} is missing"]}
    try:
        found = pwd.getpwnam(wanted["user"])
    except KeyError:
        return {"differs": [f"account {wanted['user']} is missing"]}
    compared = (
        ("group", gid, found.pw_gid),
        ("home", wanted["home"], found.pw_dir),
        ("shell", wanted["shell"], found.pw_shell),
    )
    return {"differs": [f"{what} of account {wanted['user']}" for what, one, other in compared if one != other]}


def packages(module, runner):
    """Say which packages ``ansible.builtin.apt`` would install."""
    names = module.params["names"]
    done = runner.run(["dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\n", *names])
    installed = {line.partition(" ")[0] for line in done.out.splitlines() if line.endswith(" installed")}
    return {"differs": [f"package {name} is missing" for name in names if name not in installed]}
