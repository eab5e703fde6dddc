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
from itertools import chain, repeat

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

_LONGEST_SECONDS = 24 * 3600
_POLL_SECONDS = (0.3, 0.3, 0.5, 0.5, 1)


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
        shown, pauses = None, chain(_POLL_SECONDS, repeat(_POLL_SECONDS[-1]))
        while True:
            time.sleep(next(pauses))
            runs, text = self._look(job)
            if text and text != shown:
                Display().display(f"{task_vars['inventory_hostname']}: {text}")
                shown = text
            if runs:
                continue
            result = self._status(job, task_vars)
            if result.get("finished"):
                self._low_level_execute_command(f"rm -f {self._job_file(job)}")
                return {key: value for key, value in result.items() if not key.startswith("ansible_job")}
            if result.get("failed"):
                return result

    def _look(self, job):
        """Return whether the job still runs, and what it says of itself. A shell costs the host less than a module."""
        service = self._task.args.get("service", "erlmcp")
        progress = os.path.join(self._task.args.get("run_dir", "/run/erlmcp-ops"), f"{service}.progress")
        answer = self._low_level_execute_command(
            # What ansible-core writes there until the module has ended, 0 before its release 2.19.
            f"head -c 200 {self._job_file(job)} 2> /dev/null | grep -Eqs '\"finished\": *(false|0)[,}}]' && echo runs"
            f" || echo ended; cat {shlex.quote(progress)} 2> /dev/null || true"
        )
        state, _newline, text = answer.get("stdout", "").strip().partition("\n")
        return state == "runs", text.strip()

    def _status(self, job, task_vars):
        arguments = {"jid": job, "mode": "status", "_async_dir": self._async_dir()}
        return self._execute_module(
            module_name="ansible.legacy.async_status", module_args=arguments, task_vars=task_vars
        )

    def _job_file(self, job):
        # Unquoted, or the shell would not find the home directory.
        return f"{self._async_dir()}/{shlex.quote(job)}"

    def _async_dir(self):
        return self.get_shell_option("async_dir", default="~/.ansible_async")
