# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: to_vm_args
short_description: The text of an Erlang vm.args
version_added: 0.1.0
author: erlmcp.ops contributors (@erlmcp)
description:
  - Writes one flag a line, in the order of the dictionary, quoted where C(erlexec) needs it and in the form that the
    start script of a relx release finds.
  - Refuses C(-setcookie), which would show the cookie in the process list, C(-heart), C(-detached), C(-args_file)
    and C(-extra), and says why.
options:
  _input:
    description:
      - Flag to value. V(null) writes the bare flag, a list repeats the flag.
      - A dictionary under an application flag, like C(-kernel), writes one parameter a line as Erlang terms, with the
        rules of P(erlmcp.ops.to_erlang#filter). Under C(-env) it writes variables of the environment.
    type: dict
    required: true
  header:
    description: Text for comment lines at the top.
    type: str
"""

EXAMPLES = r"""
- name: Show the vm.args of a node
  ansible.builtin.debug:
    msg: "{{ flags | erlmcp.ops.to_vm_args(header='Managed by Ansible') }}"
  vars:
    flags:
      -name: erlmcp@node1.example.com
      +P: 1000000
      -start_epmd: false
      -kernel:
        inet_dist_listen_min: 9100
        inet_dist_use_interface: {$tuple: [10, 0, 0, 1]}
      -hidden: null
  # # Managed by Ansible
  # -name erlmcp@node1.example.com
  # +P 1000000
  # -start_epmd false
  # -kernel inet_dist_listen_min 9100
  # -kernel inet_dist_use_interface {10,0,0,1}
  # -hidden
"""

RETURN = r"""
_value:
  description: The text of the file.
  type: str
"""

from ansible.errors import AnsibleFilterError
from ansible_collections.erlmcp.ops.plugins.module_utils._config.vm_args import to_vm_args
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError


def _to_vm_args(flags, header=None):
    try:
        return to_vm_args(flags, header)
    except OpsError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Offers the filter."""

    def filters(self):
        return {"to_vm_args": _to_vm_args}
