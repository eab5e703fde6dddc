# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: release_files
short_description: The vm.args and sys.config in a release's archive
version_added: 0.1.0
author: erlmcp.ops contributors (@erlmcp)
description:
  - Reads an archive on the control node for M(erlmcp.ops.config). In check mode the release is not laid down, so the
    module does not find them on the host.
  - A cookie in them is left out.
options:
  _terms:
    description: Paths of archives.
    type: list
    elements: str
    required: true
  sha256:
    description: The SHA-256 of the archive, as M(erlmcp.ops.release) returns it.
    type: str
    required: true
  release_name:
    description: Name of the release.
    type: str
    default: erlmcp
"""

EXAMPLES = r"""
- name: See what the release would bring
  ansible.builtin.debug:
    msg: "{{ lookup('erlmcp.ops.release_files', 'erlmcp-1.0.0.tar.gz', sha256=release.sha256) }}"
"""

RETURN = r"""
_raw:
  description: The version of each release, and its files, name to content in base64.
  type: list
  elements: dict
"""

import base64
import re

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.plugin_utils.archives import own_contents

_COOKIE = re.compile(rb"(-setcookie\s+)[^\s#]+")


class LookupModule(LookupBase):
    def run(self, terms, variables=None, **kwargs):
        self.set_options(var_options=variables, direct=kwargs)
        return [self._files(self.find_file_in_search_path(variables, "files", term), term) for term in terms]

    def _files(self, path, term):
        try:
            version, found = own_contents(path or term, self.get_option("sha256"), self.get_option("release_name"))
        except OpsError as error:
            raise AnsibleLookupError(str(error)) from error
        files = {name: base64.b64encode(_COOKIE.sub(rb"\1hidden", found[name])).decode("ascii") for name in found}
        return {"version": version, "files": files}
