#!/usr/bin/python
# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: balancer_info
short_description: Tell what a balancer's HAProxy runs, and how that differs from what it should
version_added: 0.1.0
description:
  - Asks the HAProxy that runs for the name of its configuration and for its servers, and compares them with the file
    that role C(erlmcp_load_balancer) has laid down and with O(servers).
  - A HAProxy that does not run, or does not answer within five seconds, is no failure.
author:
  - erlmcp.ops contributors (@erlmcp)
extends_documentation_fragment:
  - erlmcp.ops.attributes.read_only
options:
  servers:
    description: The servers that HAProxy should have.
    type: list
    elements: dict
    default: []
    suboptions:
      backend:
        description: Name of the proxy.
        type: str
        required: true
      name:
        description: Name of the server.
        type: str
        required: true
      host:
        description: Its address, or a name that the balancer resolves.
        type: str
        required: true
      port:
        description: Its port.
        type: int
        required: true
  socket:
    description: HAProxy's socket for operators.
    type: path
    default: /run/haproxy/erlmcp.sock
  status_port:
    description: Port of the loopback address that answers with the name of the configuration.
    type: int
    default: 8404
  config_file:
    description: The configuration on disk.
    type: path
    default: /etc/haproxy/haproxy.cfg
  dropin_file:
    description: The drop-in of the unit, which belongs to the configuration.
    type: path
    default: /etc/systemd/system/haproxy.service.d/erlmcp.conf
  tls_dir:
    description: Directory with the certificate C(cert.pem) that HAProxy serves with. Without it there is none.
    type: path
  tls_renew_days:
    description: How many days before its end a certificate is due.
    type: int
    default: 30
seealso:
  - name: HAProxy Management Guide, section 9.3
    description: What the columns of "show servers state" mean.
    link: https://docs.haproxy.org/2.6/management.html#9.3
"""

EXAMPLES = r"""
- name: Look at the balancer
  erlmcp.ops.balancer_info:
    servers:
      - {backend: erlmcp_mcp, name: node1.example.com, host: 192.0.2.11, port: 9000}
  register: balancer

- name: Require that it knows its nodes
  ansible.builtin.assert:
    that: balancer.running and not balancer.differs
"""

RETURN = r"""
running:
  description: Whether HAProxy runs.
  type: bool
  returned: always
unit:
  description: Its unit, C(active), C(result) and C(enabled).
  type: dict
  returned: always
version:
  description: The name of the configuration that runs. Null when HAProxy does not answer.
  type: str
  returned: always
laid_down:
  description: The name of the configuration on disk. Null without one, and for one that the role has not laid down.
  type: str
  returned: always
edited:
  description: Whether the configuration on disk was edited since it was laid down.
  type: bool
  returned: always
servers:
  description: The servers that HAProxy has, each with C(backend), C(name), C(address), C(port), whether it is C(up),
    C(drained) or in C(maintenance).
  type: list
  elements: dict
  returned: always
certificate:
  description: The certificate, C(days_left), null when it cannot be read, and whether it is C(due). Null without
    O(tls_dir).
  type: dict
  returned: always
sessions:
  description: How many connections HAProxy has, C(current), and how many it takes, C(limit). Null when it does not run.
  type: dict
  returned: always
differs:
  description: How these servers differ from O(servers). Empty when they do not.
  type: list
  elements: str
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.erlmcp.ops.plugins.module_utils._balancer.info import balancer_info
from ansible_collections.erlmcp.ops.plugins.module_utils._core.module import run
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Runner
from ansible_collections.erlmcp.ops.plugins.module_utils._tls.lifetime import LIFETIME_SPEC


def main():
    module = AnsibleModule(
        argument_spec={
            "servers": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "backend": {"type": "str", "required": True},
                    "name": {"type": "str", "required": True},
                    "host": {"type": "str", "required": True},
                    "port": {"type": "int", "required": True},
                },
            },
            "socket": {"type": "path", "default": "/run/haproxy/erlmcp.sock"},
            "status_port": {"type": "int", "default": 8404},
            "config_file": {"type": "path", "default": "/etc/haproxy/haproxy.cfg"},
            "dropin_file": {"type": "path", "default": "/etc/systemd/system/haproxy.service.d/erlmcp.conf"},
            "tls_dir": {"type": "path"},
            **LIFETIME_SPEC,
        },
        supports_check_mode=True,
    )
    run(module, lambda module: balancer_info(module, Runner()))


if __name__ == "__main__":
    main()
