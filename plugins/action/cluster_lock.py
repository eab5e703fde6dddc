# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The half of module cluster_lock that runs on the control node: it knows which run this is, and which have ended."""

from __future__ import annotations

from dataclasses import asdict

from ansible.plugins.action import ActionBase
from ansible_collections.erlmcp.ops.plugins.module_utils._cluster.holder import Holder, has_ended, this_run
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError


class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        try:
            run = this_run()
        except OpsError as error:
            return {"failed": True, "msg": str(error), "failure": error.as_dict()}
        args = {**self._task.args, "holder": asdict(run)}
        answer = self._call(args, task_vars)
        lock = answer.get("failure", {}).get("details", {}).get("lock")
        if lock and _is_left_over(Holder(**lock["holder"]), run):
            return self._call({**args, "take_over": lock["token"]}, task_vars)
        return answer

    def _call(self, args, task_vars):
        return self._execute_module(module_name="erlmcp.ops.cluster_lock", module_args=args, task_vars=task_vars)


def _is_left_over(holder, run):
    """Whether ``holder`` was killed; known of runs of this very control node only."""
    return holder.control_node == run.control_node and has_ended(holder)
