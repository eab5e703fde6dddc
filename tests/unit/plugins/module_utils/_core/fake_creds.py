# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A systemd-creds with a key of its own, since the machine that runs the tests may have none."""

from __future__ import annotations

import base64
import json

from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Completed, Runner


class FakeCreds(Runner):
    """A Runner; every other command is run. ``key`` is the host's, ``None`` on one that lacks the command."""

    key = "of this host"

    def run(self, argv, stdin="", **options):
        if argv[0] != "systemd-creds":
            return super().run(argv, stdin=stdin, **options)
        if self.key is None:
            raise OpsError("command not found: systemd-creds", kind="command")
        if argv[1] == "--version":
            return Completed(0, "systemd 252\n", "")
        verb, name = argv[1], next(each for each in argv if each.startswith("--name="))
        if verb == "encrypt":
            return Completed(0, base64.b64encode(json.dumps([self.key, name, stdin]).encode()).decode(), "")
        key, sealed_as, text = json.loads(base64.b64decode(stdin))
        if (key, sealed_as) != (self.key, name):
            return Completed(1, "", "Decryption failed (incorrect key?)\n")
        return Completed(0, text, "")
