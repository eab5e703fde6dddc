# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The half of module site_info that runs on the control node: it tells the host an archive by its hash."""

from __future__ import annotations

from ansible.plugins.action import ActionBase
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.module_utils._release.actions import hash_archive
from ansible_collections.erlmcp.ops.plugins.plugin_utils.archives import find_archive, is_here


class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        try:
            questions = [self._hashed(question) for question in self._task.args.get("questions", [])]
        except OpsError as error:
            return {"failed": True, "msg": str(error), "failure": error.as_dict()}
        return self._execute_module(
            module_name="erlmcp.ops.site_info",
            module_args={**self._task.args, "questions": questions},
            task_vars=task_vars,
        )

    def _hashed(self, question):
        if question.get("module") != "release" or not is_here(question["options"]):
            return question
        options = dict(question["options"])
        path = find_archive(self, options.pop("src"))
        sha256 = hash_archive(path, options.pop("checksum", None))
        return {**question, "options": {**options, "archive_sha256": sha256}}
