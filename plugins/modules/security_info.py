#!/usr/bin/python
# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: security_info
short_description: Tell what matters for the security of a node's host
version_added: 0.1.0
description:
  - Reports facts and judges nothing. The filter P(erlmcp.ops.security_checks#filter) judges them.
  - Looks at files, the service account, processes, listeners, units, audit logging, updates and archives in one call.
  - A host where nothing is installed is no failure. What is missing is reported as missing.
  - Secrets are searched for, and never returned. Of a cookie found where it does not belong the place is returned.
  - To know what a listener speaks, it is connected to. It logs the handshakes that it refuses.
author:
  - erlmcp.ops contributors (@erlmcp)
extends_documentation_fragment:
  - erlmcp.ops.attributes.read_only
  - erlmcp.ops.node
options:
  trees:
    description:
      - Files and directories whose owners and modes are summed up, all the way down. Links are not followed.
      - What is below one of them and has a name of its own here is left out of the former.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name under which it is returned.
        type: str
        required: true
      path:
        description: A file or a directory.
        type: path
        required: true
  search:
    description: Directories in whose files the cookie is searched for, outside of the home of the account. Of each file
      the last 4 MiB are read, and the 200 newest files. Crash dumps are left to O(crash_dump_dirs).
    type: list
    elements: path
    default: []
  crash_dump_dirs:
    description: Directories in which crash dumps of Erlang are looked for, all the way down.
    type: list
    elements: path
    default: []
  services:
    description: Listeners that are asked whether they speak TLS.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name under which it is returned.
        type: str
        required: true
      port:
        description: TCP port.
        type: int
        required: true
      ask:
        description: V(false) only looks whether something listens.
        type: bool
        default: true
      enabled:
        description: V(false) is as if it were not in the list.
        type: bool
        default: true
  tls_dir:
    description: Directory of C(cert.pem) and C(key.pem), with which the listeners are asked. Empty when there is none.
    type: str
    default: ""
  units:
    description: Full names of systemd units to look at.
    type: list
    elements: str
    default: []
  audit_rules_path:
    description: The file with the audit rules.
    type: path
    default: /etc/audit/rules.d/50-erlmcp.rules
  backup_dir:
    description: Directory of the archives.
    type: path
    default: /var/backups/erlmcp
  backup_settings_path:
    description: File with the settings of the nightly backup.
    type: path
    default: /etc/erlmcp-ops/erlmcp.json
"""

EXAMPLES = r"""
- name: Look at files, listeners and updates
  erlmcp.ops.security_info:
    node:
      name: erlmcp@node1.example.com
      home_dir: /etc/erlmcp/home
    trees:
      - {name: config, path: /etc/erlmcp}
      - {name: logs, path: /var/log/erlmcp}
    services:
      - {name: mcp, port: 5005}
    units: [erlmcp.service]
  register: seen
"""

RETURN = r"""
account:
  description: Whether the account C(exists), its C(uid), C(shell) and C(groups), and whether C(sudo) lets it run
    anything.
  type: dict
  returned: success
  sample: {name: erlmcp, exists: true, uid: 999, shell: /usr/sbin/nologin, groups: [erlmcp], sudo: false}
trees:
  description:
    - Name of each of O(trees) to its C(path), whether it C(exists), C(owner), C(group), C(mode) and the number of
      C(entries).
    - C(world_readable), C(world_writable), C(service_writable), C(setuid) and C(access_lists) hold the C(count) of such
      entries, and the C(paths) of the first of them.
  type: dict
  returned: success
  sample:
    logs:
      path: /var/log/erlmcp
      exists: true
      owner: erlmcp
      group: erlmcp
      mode: "0750"
      entries: 2
      world_readable: {count: 1, paths: ["/var/log/erlmcp/erlmcp.log (0644 erlmcp:erlmcp)"]}
distribution:
  description: Whether the config set in use lets the nodes talk C(tls).
  type: dict
  returned: success
listeners:
  description: What listens on TCP, with C(address), C(port) and C(unit); and, for a node that answers, the OTP
    C(application) that has opened it. It is empty for all others.
  type: list
  elements: dict
  returned: success
services:
  description:
    - For each of O(services) the C(addresses) on which it listens, and whether it speaks C(tls). Null when it does not
      listen or was not asked.
    - With TLS also the C(versions) that it offers, whether it C(asks_for_certificate), and the C(days_left) of its own.
  type: list
  elements: dict
  returned: success
  sample:
    - name: mcp
      port: 5005
      addresses: [0.0.0.0]
      tls: true
      versions: ["1.2", "1.3"]
      asks_for_certificate: true
      days_left: 364
units:
  description:
    - Unit to its C(exposure), null for a unit that systemd does not know, and its main C(process), null when it
      does not run.
    - Of a process C(pid), C(uids), the C(capabilities) that are not empty, C(no_new_privileges) and C(seccomp).
  type: dict
  returned: success
audit:
  description:
    - C(written) are the keys in O(audit_rules_path) and how many rules have them, null without the file. C(loaded) are
      those in the kernel, and C(error) tells why they are not known.
    - C(daemon) is the state of auditd.
  type: dict
  returned: success
updates:
  description:
    - Number of C(pending) updates, and those of C(security) with C(package), C(installed) and C(offered) version.
    - C(lists_age_days) is how old apt's lists are, C(automatic) whether updates come by themselves.
    - C(reboot_required) is whether the host waits for a reboot, and C(reboot_for) are the packages that wait for it.
    - C(error) tells why nothing else is known.
  type: dict
  returned: success
replaced_code:
  description: Units that run code whose C(files) were replaced or removed since, and the C(pids).
  type: list
  elements: dict
  returned: success
backups:
  description: Whether the nightly backup is C(configured), for how many C(recipients) it encrypts, how many archives
    are C(encrypted), and the names of those that are C(plain).
  type: dict
  returned: success
crash_dumps:
  description: Crash dumps in O(crash_dump_dirs), the 200 newest, with C(path), C(owner), C(group), C(mode), C(bytes)
    and C(age_days).
  type: list
  elements: dict
  returned: success
secrets:
  description:
    - C(processes) that show a cookie, with C(pid), C(unit) and where it C(shows). C(files) outside of the account's
      home that hold it.
    - C(sealed) is whether systemd-creds encrypts the cookie, and C(encrypted_volume) whether it lies on a volume that
      the kernel encrypts.
  type: dict
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.erlmcp.ops.plugins.module_utils._core.module import run
from ansible_collections.erlmcp.ops.plugins.module_utils._core.node_spec import NODE_SPEC
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Runner
from ansible_collections.erlmcp.ops.plugins.module_utils._security.info import security_info


def main():
    module = AnsibleModule(
        argument_spec={
            **NODE_SPEC,
            "trees": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "path": {"type": "path", "required": True},
                },
            },
            "search": {"type": "list", "elements": "path", "default": []},
            "crash_dump_dirs": {"type": "list", "elements": "path", "default": []},
            "services": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "port": {"type": "int", "required": True},
                    "ask": {"type": "bool", "default": True},
                    "enabled": {"type": "bool", "default": True},
                },
            },
            "tls_dir": {"type": "str", "default": ""},
            "units": {"type": "list", "elements": "str", "default": []},
            "audit_rules_path": {"type": "path", "default": "/etc/audit/rules.d/50-erlmcp.rules"},
            "backup_dir": {"type": "path", "default": "/var/backups/erlmcp"},
            "backup_settings_path": {"type": "path", "default": "/etc/erlmcp-ops/erlmcp.json"},
        },
        supports_check_mode=True,
    )
    run(module, lambda module: security_info(module, Runner()))


if __name__ == "__main__":
    main()
