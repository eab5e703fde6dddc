# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: program
short_description: The collection's code as one executable file for the hosts
version_added: 0.1.0
author: erlmcp.ops contributors (@erlmcp)
description:
  - Packs all that the modules share into one zip file that Python runs, the command C(erlmcp-ops). With it a timer, or
    an operator on the host, runs the very code that the modules run.
  - The same collection always gives the same bytes.
options:
  _terms:
    description: The Python of the host that runs it, one path. V(/usr/bin/python3) when none is given.
    type: list
    elements: path
    default: []
"""

EXAMPLES = r"""
- name: Ensure the host has the command
  erlmcp.ops.fileset:
    entries:
      - path: /usr/local/bin/erlmcp-ops
        content_base64: "{{ lookup('erlmcp.ops.program') }}"
        mode: "0755"
"""

RETURN = r"""
_raw:
  description: The file, in base64.
  type: list
  elements: str
"""

import base64
import io
import zipfile
from pathlib import Path

from ansible.plugins.lookup import LookupBase

# Isolated: what root's environment names is no part of it.
_SHEBANG = "#!{} -I\n"
_PYTHON = "/usr/bin/python3"
_MAIN = b"from erlmcp_ops._backup import command\n\ncommand.main()\n"
# Of a zip file; the times of a checkout are not those of another one.
_EPOCH = (1980, 1, 1, 0, 0, 0)


class LookupModule(LookupBase):
    def run(self, terms, variables=None, **kwargs):
        return [base64.b64encode(program(*terms)).decode("ascii")]


def program(python=_PYTHON):
    """Return the bytes of the executable file."""
    root = Path(__file__).parents[1] / "module_utils"
    members = {f"erlmcp_ops/{path.relative_to(root).as_posix()}": path.read_bytes() for path in root.rglob("*.py")}
    members.setdefault("erlmcp_ops/__init__.py", b"")
    members["__main__.py"] = _MAIN
    packed = io.BytesIO()
    packed.write(_SHEBANG.format(python).encode())
    with zipfile.ZipFile(packed, "w") as archive:
        for name in sorted(members):
            info = zipfile.ZipInfo(name, _EPOCH)
            info.external_attr = 0o644 << 16
            archive.writestr(info, members[name], zipfile.ZIP_DEFLATED)
    return packed.getvalue()
