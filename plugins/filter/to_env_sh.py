# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: to_env_sh
short_description: A dictionary as export lines for a shell
version_added: 0.1.0
author: erlmcp.ops contributors (@erlmcp)
description:
  - Writes C(export NAME='value') lines in the order of the dictionary, with values that no shell expands.
  - Refuses names that would carry the cookie of the cluster; it belongs into the cookie file of the account.
options:
  _input:
    description: Name to value. V(null) leaves the name out.
    type: dict
    required: true
  header:
    description: Text for comment lines at the top.
    type: str
"""

EXAMPLES = r"""
- name: Show the env.sh of a node
  ansible.builtin.debug:
    msg: "{{ {'ERLMCP_DATA_DIR': '/var/lib/erlmcp'} | erlmcp.ops.to_env_sh }}"
  # export ERLMCP_DATA_DIR='/var/lib/erlmcp'
"""

RETURN = r"""
_value:
  description: The text of the file.
  type: str
"""

from ansible.errors import AnsibleFilterError
from ansible_collections.erlmcp.ops.plugins.module_utils._config.env_sh import to_env_sh
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError


def _to_env_sh(variables, header=None):
    try:
        return to_env_sh(variables, header)
    except OpsError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Offers the filter."""

    def filters(self):
        return {"to_env_sh": _to_env_sh}
