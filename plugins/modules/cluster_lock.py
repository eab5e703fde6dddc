#!/usr/bin/python
# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_lock
short_description: Keep other runs of Ansible from changing the same cluster
version_added: 0.1.0
description:
  - Every host has a file that names the run of Ansible that holds the lock, what it does, and when its hold ends. Give
    the task to all hosts of the cluster; a run works when it holds the lock on all of them.
  - One run of Ansible is one holder. Later plays of the run renew its hold.
  - A hold ends when it is released, when it expires, and with a reboot of the host. That of a run that was killed is
    taken over by the next run on the same control node, which sees that the process is gone.
  - A run that is refused on one host has to release what it got on the others. The entry points C(lock) and C(unlock)
    of role C(erlmcp_cluster) do that.
  - The lock is bookkeeping, so RV(ignore:changed) is always false.
  - The control node has to be Linux.
author:
  - erlmcp.ops contributors (@erlmcp)
extends_documentation_fragment:
  - erlmcp.ops.attributes
attributes:
  check_mode:
    description: Only looks. Fails when another run holds the lock.
  diff_mode:
    description: The lock is no change, so there is no diff.
    support: none
options:
  state:
    description:
      - V(held) takes the lock, or renews the hold of this run. It fails when another run holds it.
      - V(released) gives it back. The hold of another run stays.
    type: str
    choices: [held, released]
    default: held
  service:
    description: systemd unit of the nodes, without C(.service). Each service has a lock of its own.
    type: str
    default: erlmcp
  what:
    description:
      - What the run does, for those who are refused, like V(upgrade).
      - A run that finds the hold of one which was cut off goes on with it when both do the same; so name the target.
    type: str
    default: changes
  ttl_seconds:
    description: When the hold ends, unless it is renewed. Longer than the time between two renewals.
    type: int
    default: 3600
  break_lock:
    description: Take the lock from whoever holds it. Make sure first that the other run is dead.
    type: bool
    default: false
  run_dir:
    description: Directory of the file. It must not outlive a boot.
    type: path
    default: /run/erlmcp-ops
  holder:
    description: Which run this is. The half of the module that runs on the control node sets it.
    type: dict
    suboptions:
      user:
        description: Who started the run.
        type: str
        required: true
      host:
        description: Name of the control node.
        type: str
        required: true
      boot_id:
        description: Boot of the control node.
        type: str
        required: true
      pid_namespace:
        description: Namespace of O(holder.pid).
        type: str
        required: true
      pid:
        description: Process id of the run.
        type: int
        required: true
      started:
        description: When that process started, in clock ticks since the boot.
        type: int
        required: true
  take_over:
    description: Token of a holder that is known to have ended. The half of the module that runs on the control node
      sets it.
    type: str
"""

EXAMPLES = r"""
- name: Take the lock of the cluster, on all hosts or on none
  ansible.builtin.import_role:
    name: erlmcp.ops.erlmcp_cluster
    tasks_from: lock
  vars:
    __erlmcp_cluster_lock_what: upgrade

- name: Take the lock on one host
  erlmcp.ops.cluster_lock:
    what: upgrade
    ttl_seconds: 7200

- name: Give it back
  erlmcp.ops.cluster_lock:
    state: released
"""

RETURN = r"""
lock:
  description: What the file holds now, or would hold in check mode.
  type: dict
  returned: when O(state=held)
  sample:
    holder: {user: alice, host: ops1, boot_id: 0f0f, pid_namespace: "pid:[4026531836]", pid: 4711, started: 123456}
    what: upgrade
    since: "2025-01-01T10:00:00Z"
    expires: "2025-01-01T11:00:00Z"
    token: 0123456789abcdef
taken_from:
  description: The hold that this run took from another one, with C(reason) V(ended), V(expired) or V(broken); null
    when the lock was free or held by this run. C(resumed) says that the other one has ended and did the same.
  type: dict
  returned: when O(state=held)
released:
  description: Whether this run held the lock.
  type: bool
  returned: when O(state=released)
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.erlmcp.ops.plugins.module_utils._cluster.lock import cluster_lock
from ansible_collections.erlmcp.ops.plugins.module_utils._core.module import run


def main():
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["held", "released"], "default": "held"},
            "service": {"type": "str", "default": "erlmcp"},
            "what": {"type": "str", "default": "changes"},
            "ttl_seconds": {"type": "int", "default": 3600},
            "break_lock": {"type": "bool", "default": False},
            "run_dir": {"type": "path", "default": "/run/erlmcp-ops"},
            "holder": {
                "type": "dict",
                "options": {
                    "user": {"type": "str", "required": True},
                    "host": {"type": "str", "required": True},
                    "boot_id": {"type": "str", "required": True},
                    "pid_namespace": {"type": "str", "required": True},
                    "pid": {"type": "int", "required": True},
                    "started": {"type": "int", "required": True},
                },
            },
            "take_over": {"type": "str", "no_log": False},
        },
        supports_check_mode=True,
    )
    run(module, cluster_lock)


if __name__ == "__main__":
    main()
