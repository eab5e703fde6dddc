# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The half of module release that runs on the control node: it sends an archive only where it is needed and fits."""

from __future__ import annotations

import os

from ansible.plugins.action import ActionBase
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.module_utils._release.actions import hash_archive, read_archive
from ansible_collections.erlmcp.ops.plugins.module_utils._release.plan import (
    Machine,
    State,
    check_hooks,
    check_machine,
    plan_present,
)
from ansible_collections.erlmcp.ops.plugins.plugin_utils.archives import find_archive, is_here


class ActionModule(ActionBase):
    TRANSFERS_FILES = True

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        args = dict(self._task.args)
        if not is_here(args):
            return self._call(args, task_vars)
        try:
            return self._from_control_node(args, task_vars)
        except OpsError as error:
            return {"failed": True, "msg": str(error), "failure": error.as_dict()}

    def _from_control_node(self, args, task_vars):
        path = find_archive(self, args.pop("src"))
        sha256 = hash_archive(path, args.pop("checksum", None))
        answer = args.pop("asked", {})
        if not (answer.get("needs_archive") and answer["sha256"] == sha256):
            answer = self._call({**args, "archive_sha256": sha256}, task_vars)
        if not answer.get("needs_archive"):
            return answer
        params = answer["params"]
        release = read_archive(path, sha256, params["release_name"])
        state = State.from_dict(answer["state"])
        plan = plan_present(state, release, params["stage"], params["keep"], params["version"], params["service"])
        warnings = [
            *check_hooks(release, params["start_hooks"]),
            *check_machine(release, Machine(**answer["machine"]), params["install_dir"], self._task.check_mode),
        ]
        if self._task.check_mode:
            return {**plan.result(params["install_dir"]), "warnings": warnings}
        sent = {"src": self._send(path), "remote_src": True, "checksum": f"sha256:{sha256}"}
        return self._call({**args, **sent}, task_vars)

    def _send(self, path):
        if self._connection._shell.tmpdir is None:
            self._make_tmp_path()
        directory = self._connection._shell.tmpdir
        target = self._connection._shell.join_path(directory, os.path.basename(path))
        self._transfer_file(path, target)
        self._fixup_perms2((directory, target))
        return target

    def _call(self, args, task_vars):
        return self._execute_module(module_name="erlmcp.ops.release", module_args=args, task_vars=task_vars)
