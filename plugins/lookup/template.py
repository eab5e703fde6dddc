# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: template
short_description: A template's text, rendered with the variables of the host
version_added: 0.1.0
author: erlmcp.ops contributors (@erlmcp)
description:
  - Renders files in C(templates/), as P(ansible.builtin.template#lookup) does, for modules that take text.
  - Templates of this collection's roles are found wherever it is called, so one role can ask for what another one would
    lay down.
  - The lookup of ansible-core copies all variables of the host, deeply, for every file. That was a sixth of the
    control node's user time in a second run of C(site) for three hosts (C(time ansible-playbook), 16.7 and 14.1 s).
options:
  _terms:
    description: The files. C(ROLE/FILE) is that of a role of this collection.
    type: list
    elements: str
    required: true
  template_vars:
    description: More variables, which go before those of the host.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Ensure the unit is laid down
  erlmcp.ops.fileset:
    entries:
      - path: /etc/systemd/system/erlmcp.service
        content: "{{ lookup('erlmcp.ops.template', 'erlmcp_node/erlmcp.service.j2') }}"
"""

RETURN = r"""
_raw:
  description: The text of each file.
  type: list
  elements: str
"""

from collections import ChainMap
from pathlib import Path

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible.template import trust_as_template

_ROLES = Path(__file__).parents[2] / "roles"


class LookupModule(LookupBase):
    def run(self, terms, variables=None, **kwargs):
        self.set_options(var_options=variables, direct=kwargs)
        visible = ChainMap(self.get_option("template_vars"), self._templar.available_variables)
        return [self._rendered(self._find(term, variables), visible) for term in terms]

    def _find(self, term, variables):
        role, _slash, name = term.partition("/")
        path = _ROLES / role / "templates" / name
        if name and path.is_file():
            return str(path)
        path = self.find_file_in_search_path(variables, "templates", term)
        if not path:
            raise AnsibleLookupError(f"no template {term}")
        return path

    def _rendered(self, path, visible):
        # What a template imports lies beside it.
        templar = self._templar.copy_with_new_env(searchpath=[str(Path(path).parent)], available_variables=visible)
        text = trust_as_template(self._loader.get_text_file_contents(path))
        return templar.template(text, escape_backslashes=False)
