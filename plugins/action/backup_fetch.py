# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The half of module backup_fetch that runs on the control node: it asks for pieces and puts them together."""

from __future__ import annotations

import base64
import contextlib
import os

from ansible.plugins.action import ActionBase
from ansible.utils.path import unfrackpath
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.plugin_utils.incoming import Incoming, check_room

# The fastest of 1, 4, 16 and 32 MB, for 200 MB over ssh to a test host. Each is one call of the module.
_PIECE_BYTES = 16 * 1024**2


class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        try:
            return self._fetch(task_vars)
        except _Refused as refused:
            return refused.answer
        except OpsError as error:
            return {"failed": True, "msg": str(error), "failure": error.as_dict()}

    def _fetch(self, task_vars):
        files = self._ask(None, task_vars)["files"]
        directory = unfrackpath(self._task.args["dest_dir"], follow=False)
        coming = [Incoming(directory, os.path.basename(each["path"]), each["size"], each["sha256"]) for each in files]
        missing = [(file, told) for file, told in zip(coming, files) if not file.is_there()]
        result = {
            "changed": bool(missing),
            "path": coming[0].path,
            "size": coming[0].size,
            "sha256": files[0]["sha256"],
            "fetched_bytes": sum(file.missing_bytes() for file, _told in missing),
        }
        if not missing:
            return result
        check_room(directory, result["fetched_bytes"])
        if not self._task.check_mode:
            for file, told in missing:
                file.receive(self._reader(told, task_vars), _PIECE_BYTES)
        name = os.path.basename(coming[0].path)
        return {**result, "diff": {"before": "", "after": f"{name} is in {directory}\n"}}

    def _reader(self, told, task_vars):
        def read_piece(offset, size):
            piece = {"path": told["path"], "version": told["version"], "offset": offset, "size": size}
            with self._unseen():
                answer = self._ask(piece, task_vars)
            return base64.b64decode(answer["content"], validate=True)

        return read_piece

    def _ask(self, piece, task_vars):
        answer = self._execute_module(
            module_name="erlmcp.ops.backup_fetch", module_args={**self._task.args, "piece": piece}, task_vars=task_vars
        )
        if answer.get("failed"):
            # What a connection that broke has let through of a piece.
            shown = {key: value for key, value in answer.items() if not (piece and key == "module_stdout")}
            raise _Refused(shown)
        return answer

    @contextlib.contextmanager
    def _unseen(self):
        """Keep pieces out of what -vvv prints of a connection: archives need not be encrypted."""
        context = self._connection._play_context
        asked = context.no_log
        context.no_log = True
        try:
            yield
        finally:
            context.no_log = asked


class _Refused(Exception):
    """What the host answered in place of what it was asked for."""

    def __init__(self, answer):
        super().__init__(answer)
        self.answer = answer
