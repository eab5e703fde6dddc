# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Modules that may run for an hour: detached from the connection, and with their progress shown.

Detached, because a connection that breaks must not break a restore off between stop and start.
"""

from __future__ import annotations

import os
import shlex
import time

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

_LONGEST_SECONDS = 24 * 3600
_POLL_SECONDS = (0.5, 1, 2)


class WatchedAction(ActionBase):
    """Runs the module of the same name as a job of its own, and shows what it says of itself."""

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        if self._task.check_mode or self._task.async_val:
            return self._execute_module(task_vars=task_vars, wrap_async=bool(self._task.async_val))
        asked = self._task.async_val
        self._task.async_val = _LONGEST_SECONDS
        try:
            job = self._execute_module(task_vars=task_vars, wrap_async=True)
        finally:
            self._task.async_val = asked
        if "ansible_job_id" not in job:
            return job
        return self._wait(job["ansible_job_id"], task_vars)

    def _wait(self, job, task_vars):
        shown, polls = None, 0
        while True:
            time.sleep(_POLL_SECONDS[min(polls, len(_POLL_SECONDS) - 1)])
            polls += 1
            result = self._status(job, "status", task_vars)
            if result.get("finished"):
                self._status(job, "cleanup", task_vars)
                return {key: value for key, value in result.items() if not key.startswith("ansible_job")}
            if result.get("failed"):
                return result
            shown = self._show(shown, task_vars["inventory_hostname"])

    def _status(self, job, mode, task_vars):
        arguments = {
            "jid": job,
            "mode": mode,
            "_async_dir": self.get_shell_option("async_dir", default="~/.ansible_async"),
        }
        return self._execute_module(
            module_name="ansible.legacy.async_status", module_args=arguments, task_vars=task_vars
        )

    def _show(self, shown, host):
        service = self._task.args.get("service", "erlmcp")
        path = os.path.join(self._task.args.get("run_dir", "/run/erlmcp-ops"), f"{service}.progress")
        answer = self._low_level_execute_command(f"cat {shlex.quote(path)} 2>/dev/null || true")
        text = answer.get("stdout", "").strip()
        if text and text != shown:
            Display().display(f"{host}: {text}")
        return text
