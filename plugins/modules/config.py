#!/usr/bin/python
# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: config
short_description: Stage one validated set of sys.config, vm.args and env.sh
version_added: 0.1.0
description:
  - Lays the three files down together as C(<config_dir>/sets/<id>), readable for the service and writable for root
    alone, and lets the set wait in the slot C(next). M(erlmcp.ops.node_restart) makes it current between stop and
    start, so a node that crashes meanwhile starts again with what it ran before.
  - Does nothing when the set that the next restart runs holds these contents already. A current set that was edited
    by hand is kept, and replaced by a new one at the next restart. When the wanted contents are current while others
    wait, what waits is forgotten.
  - Before a set gets its name, the Erlang of the release that the next restart runs reads it as the service account.
    It starts once without the application, without a node name, and without opening a port or a log file. A problem is
    reported with file and line.
  - C(sys.config), C(vm.args) and C(env.sh) in the configuration directory become links into the current set. Files
    that were made by hand are taken over as the first current set, and kept beside the links as
    C(<name>.before-erlmcp-ops-<time>).
  - A set that differs from the current one only in C(cluster_nodes), the names of the nodes to connect to, becomes
    current at once, without a restart. M(erlmcp.ops.cluster_peers) tells the running node.
  - A set is refused with which the node would not have its data any more, since it would look for them in another
    directory, or under another name.
author:
  - erlmcp.ops contributors (@erlmcp)
extends_documentation_fragment:
  - erlmcp.ops.attributes
  - erlmcp.ops.node
options:
  sys_config:
    description: Text of C(sys.config), for example from P(erlmcp.ops.to_sys_config#filter).
    type: str
  vm_args:
    description:
      - Text of C(vm.args), for example from P(erlmcp.ops.to_vm_args#filter). It gives the node's name as O(node.name)
        has it.
    type: str
  env_sh:
    description: Text of C(env.sh), for example from P(erlmcp.ops.to_env_sh#filter).
    type: str
  base:
    description:
      - With V(release), flags and settings of the release's own C(vm.args) and C(sys.config) that O(vm_args) and
        O(sys_config) do not have become part of the set. C(${VARIABLES}) are replaced from O(env_sh). What decides who
        the node is, with whom it talks and how it is started is left out, and so are C(-heart), C(+sbt) and C(+stbt).
      - With V(none) they take no effect. A warning and the diff say what is in them, when that has changed.
    type: str
    choices: [none, release]
    default: none
  release_files:
    description: In check mode, the files of a release that would have been laid down before, from
      P(erlmcp.ops.release_files#lookup). Else they are read on the host.
    type: dict
    suboptions:
      version:
        description: The version.
        type: str
      files:
        description: File name to content in base64.
        type: dict
  state:
    description:
      - With V(present), the set of O(sys_config), O(vm_args) and O(env_sh), which are required, runs from the next
        restart on.
      - With V(reverted), what waits in the slot C(next) is forgotten; where nothing waits, the set in the slot
        C(previous) does from now on.
    type: str
    choices: [present, reverted]
    default: present
  group:
    description: Group of the service account, which may read the files.
    type: str
    default: erlmcp
  keep:
    description: How many old sets to keep besides those of the slots.
    type: int
    default: 5
  readmit:
    description: Lay the set down although the node has left its cluster (M(erlmcp.ops.cluster_member)). It then joins
      as a new node.
    type: bool
    default: false
  left_out:
    description:
      - Hosts of the cluster that the run leaves out, as with C(--limit). While there are any, a node does not learn of
        new nodes. Their firewalls would stay closed to a new one, and a node that reaches only some of the others
        splits the cluster.
    type: list
    elements: str
    default: []
  own_addresses:
    description: Addresses of IPv4 or IPv6 that the host must have, for epmd to listen on. The host part of the node's
      name must lead to one of them, or to loopback. Else the set is refused. Without any, epmd listens everywhere or
      is not used, and that name must only resolve.
    type: list
    elements: str
    default: []
  secrets:
    description: Values in the files that must not appear in the diff or in messages.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Stage the configuration of the node
  erlmcp.ops.config:
    node: "{{ __erlmcp_node }}"
    sys_config: "{{ settings | erlmcp.ops.to_sys_config(header='Managed by Ansible') }}"
    vm_args: "{{ flags | erlmcp.ops.to_vm_args(header='Managed by Ansible') }}"
    env_sh: "{{ {} | erlmcp.ops.to_env_sh }}"
    secrets:
      - "{{ database_password }}"
  vars:
    settings:
      kernel:
        logger_level: {$atom: info}
      erlmcp:
        database_password: "{{ database_password }}"
    flags:
      -name: "{{ __erlmcp_node.name }}"
      +P: 1000000
"""

RETURN = r"""
set:
  description: The set that the next restart runs. In check mode the name is a guess, as it holds the time.
  type: str
  returned: success
  sample: 20261124T071500Z-1f2e3d4c
steps:
  description: What was done, or would be done in check mode. C(adopt), C(stage), C(replace), C(unstage) and
      C(link <name>), or C(revert).
  type: list
  elements: str
  returned: success
staged:
  description: Whether a set waits for the next restart.
  type: bool
  returned: success
current:
  description: The set in use; V(null) before the first restart through the collection.
  type: str
  returned: success
next:
  description: The set that waits; V(null) when none does.
  type: str
  returned: success
previous:
  description: The set that was current before.
  type: str
  returned: success
validated:
  description:
    - Whether the release's Erlang has accepted the set in this run. V(false) when neither a new set was needed nor
      another release waits, and in check mode on a host that has no release or no account yet.
  type: bool
  returned: success
diff:
  description: One element for each file that differs from what the next restart would have run, with secrets masked,
    and one for what the release brings in its own files and the node does not get, when that differs.
  type: list
  elements: dict
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.erlmcp.ops.plugins.module_utils._config.config import config
from ansible_collections.erlmcp.ops.plugins.module_utils._config.revert import revert
from ansible_collections.erlmcp.ops.plugins.module_utils._config.spec import CONFIG_SPEC
from ansible_collections.erlmcp.ops.plugins.module_utils._core.module import run
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Runner


def main():
    module = AnsibleModule(
        argument_spec=CONFIG_SPEC,
        required_if=[("state", "present", ["sys_config", "vm_args", "env_sh"])],
        supports_check_mode=True,
    )
    run(module, lambda module: (config if module.params["state"] == "present" else revert)(module, Runner()))


if __name__ == "__main__":
    main()
