#!/usr/bin/python
# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: audit_rules
short_description: Bring a host's audit to one list of watches
version_added: 0.1.0
description:
  - Brings C(/etc/audit/rules.d/50-erlmcp.rules), which is loaded at boot, and the rules in the kernel to one list. A
    rule that somebody took out of the kernel comes back.
  - Its rules have keys that begin with C(erlmcp_). Every other rule is left alone, in files and in the kernel. Nothing
    is flushed, so rules that others loaded at run time stay.
  - Where the kernel takes no rules, as in a container, or has them locked until the next boot, the file is laid down
    all the same, with a warning that says what to do.
author:
  - erlmcp.ops contributors (@erlmcp)
extends_documentation_fragment:
  - erlmcp.ops.attributes
options:
  rules:
    description:
      - What is recorded. The first rule that matches an event gives it its key, so put what is inside before what is
        around it.
    type: list
    elements: dict
    default: []
    suboptions:
      key:
        description: What C(ausearch -k) finds it by, C(erlmcp_) and up to 24 letters, digits and C(. _ -). Several
          rules may share one.
        type: str
        required: true
      path:
        description: Absolute path, without blanks and wildcards. A link to a directory is watched as that directory.
        type: path
        required: true
      kind:
        description:
          - V(directory) watches a whole tree and must be there.
          - V(file) watches one name. It may be missing, its directory may not.
        type: str
        choices: [directory, file]
        default: directory
      permissions:
        description: What is recorded, out of C(r) (read), C(w) (write), C(x) (execute) and C(a) (change attributes).
        type: str
        default: wa
      filters:
        description:
          - Conditions that a process must meet, all of them, like V(uid!=erlmcp) or V(auid!=unset). The latter holds
            for everything that somebody who logged in does, also through sudo, and for no service.
          - Out of C(auid), C(uid), C(euid), C(gid) and C(egid). Names are those of the host.
        type: list
        elements: str
        default: []
      enabled:
        description: V(false) is as if the rule were not in the list.
        type: bool
        default: true
  enabled:
    description: V(false) takes all of the module's rules away. auditd stays.
    type: bool
    default: true
notes:
  - auditd must be installed, except in check mode.
  - A rule of somebody else that was loaded earlier and matches the same event gives it its own key.
"""

EXAMPLES = r"""
- name: Record who changes the config, and who besides the service reads the key
  erlmcp.ops.audit_rules:
    rules:
      - key: erlmcp_keys
        path: /etc/erlmcp/certs
        permissions: r
        filters: [uid!=erlmcp]
      - key: erlmcp_config
        path: /etc/erlmcp

- name: Take the rules away again
  erlmcp.ops.audit_rules:
    enabled: false
"""

RETURN = r"""
installed:
  description: Whether auditd is installed. It may not be in check mode, and when O(enabled=false).
  type: bool
  returned: success
loaded:
  description: Whether the kernel has, or in check mode would have, the rules afterwards.
  type: bool
  returned: success
recording:
  description: Whether auditing is switched on in the kernel and auditd takes down what it finds.
  type: bool
  returned: success
locked:
  description: Whether the kernel takes no other rules before the next boot.
  type: bool
  returned: success
added:
  description: Rules that were, or would be, loaded into the kernel.
  type: list
  elements: str
  returned: success
removed:
  description: Own rules that were, or would be, taken out of the kernel, as C(auditctl -l) lists them.
  type: list
  elements: str
  returned: success
rules:
  description: All that is laid down.
  type: list
  elements: str
  returned: success
  sample: ["-a always,exit -F dir=/etc/erlmcp -F perm=wa -F key=erlmcp_config"]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.erlmcp.ops.plugins.module_utils._audit.audit import audit_rules
from ansible_collections.erlmcp.ops.plugins.module_utils._audit.spec import AUDIT_RULES_SPEC
from ansible_collections.erlmcp.ops.plugins.module_utils._core.module import run
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Runner


def main():
    module = AnsibleModule(
        argument_spec=AUDIT_RULES_SPEC,
        supports_check_mode=True,
    )
    run(module, lambda module: audit_rules(module, Runner()))


if __name__ == "__main__":
    main()
