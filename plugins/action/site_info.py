# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The half of module site_info that runs on the control node: it tells the host an archive by its hash."""

from __future__ import annotations

from ansible.plugins.action import ActionBase
from ansible_collections.erlmcp.ops.plugins.module_utils._config.brought import OwnFiles, decoded
from ansible_collections.erlmcp.ops.plugins.module_utils._config.config import wanted_files, with_release
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.module_utils._release.actions import hash_archive
from ansible_collections.erlmcp.ops.plugins.plugin_utils.archives import find_archive, is_here, own_contents


class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        asked = self._task.args.get("questions", [])
        try:
            questions = [self._hashed(question) for question in asked]
            answer = self._execute_module(
                module_name="erlmcp.ops.site_info",
                module_args={**self._task.args, "questions": questions},
                task_vars=task_vars,
            )
            self._check_merge(asked, answer.get("answers", {}).get("release", {}))
        except OpsError as error:
            return {"failed": True, "msg": str(error), "failure": error.as_dict()}
        return answer

    def _check_merge(self, asked, release):
        """Refuse a release whose own config cannot be merged before it is laid down: the host does not have it yet."""
        configs = [each["options"] for each in asked if each["module"] == "config"]
        merging = [options for options in configs if options.get("base") == "release"]
        sources = [each["options"] for each in asked if each["module"] == "release" and is_here(each["options"])]
        if not release.get("needs_archive") or not sources or not merging:
            return
        path = find_archive(self, sources[0]["src"])
        version, contents = own_contents(path, release["sha256"], release["params"]["release_name"])
        own = OwnFiles(version, {name: decoded(content) for name, content in contents.items()})
        with_release(wanted_files(merging[0]), own)

    def _hashed(self, question):
        if question.get("module") != "release" or not is_here(question["options"]):
            return question
        options = dict(question["options"])
        path = find_archive(self, options.pop("src"))
        sha256 = hash_archive(path, options.pop("checksum", None))
        return {**question, "options": {**options, "archive_sha256": sha256}}
