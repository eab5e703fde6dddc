#!/usr/bin/python
# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: firewall
short_description: Bring a host's firewall to one list of rules
version_added: 0.1.0
description:
  - Adds what is missing, switches the firewall on with incoming connections denied and outgoing ones allowed, and then
    takes away its own rules that are no longer wanted, all in one call.
  - Its rules carry a comment of C(erlmcp:) and the name, or stand in a table or policy of their own. Every other rule
    is left alone. Where one of them lets in exactly the same already, it is used as it is; where one of them would undo
    a wanted rule, the module refuses.
  - Never cuts off ssh. Each port on which sshd is configured to listen or listens, and the one to which this run is
    connected, must be covered by a rule, the latter one for the address of this run's client. A port that no rule
    covers is opened to everybody under the name C(ssh), with a warning.
  - Open connections to a port that a rule lets them in on survive the switching on. Idle ones to other ports do not.
author:
  - erlmcp.ops contributors (@erlmcp)
extends_documentation_fragment:
  - erlmcp.ops.attributes
options:
  rules:
    description: What is let in. Everything else is not.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Unique name out of letters, digits, spaces and C(. _ -).
        type: str
        required: true
      port:
        description: A port, or a range like V(9100:9105).
        type: str
        required: true
      protocol:
        description: Transport protocol.
        type: str
        choices: [tcp, udp]
        default: tcp
      sources:
        description:
          - Who is let in. Each is V(any), an address or a network of IPv4 or IPv6, or a host name.
          - A host name is resolved on the host when the module runs. Run it again when the addresses have changed.
          - An empty list lets in nobody.
        type: list
        elements: str
        default: [any]
      enabled:
        description: V(false) is as if the rule were not in the list.
        type: bool
        default: true
  enabled:
    description:
      - V(true) makes the rules, denies other incoming connections and switches the firewall on.
      - V(false) takes the module's rules away and leaves the firewall on or off, as it is. When it is on, ssh is
        still not cut off. With nftables there is nothing but the module's own table, which goes as a whole.
    type: bool
    default: true
  backend:
    description:
      - The firewall to manage. It must be installed, except in check mode.
      - V(auto) is the one in use, else one that is installed, else ufw. Where there are several, ufw comes before
        firewalld and firewalld before nftables.
      - The others must not filter at the same time. When another one is in use, its place is taken as soon as this one
        is complete. It is switched off and the module's rules are taken out of it. It is refused when the other one
        holds what others have set up.
    type: str
    choices: [auto, ufw, firewalld, nftables]
    default: auto
notes:
  - With nftables, the module keeps the table C(inet erlmcp_ops) in C(/etc/nftables.d/erlmcp_ops.nft). It denies what is
    not let in, besides ping, neighbour discovery and DHCP. The unit C(erlmcp-firewall) loads it at boot, and
    C(nftables.service) after its own configuration.
  - In nftables, what any table drops is dropped, and what another table accepts the module's table may still drop. So
    add to O(rules) what must get in. The module refuses a rule that a chain of somebody else surely makes void, such
    as one with a policy to drop that accepts other ports only. It does not see through jumps, sets and maps.
  - With firewalld, the rules stand in the policy C(erlmcp_ops), which is tried after the rules of each zone. What the
    zones let in, like ssh in the default zone, stays let in. A default zone that lets in everything is replaced by
    C(public). The first run reloads firewalld, which then forgets what others have set up at run time only. Later runs
    do not. firewalld before 2.0 also empties iptables when it starts and stops, so name another backend where others
    keep rules there.
"""

EXAMPLES = r"""
- name: Let in clients from everywhere, and the cluster's own traffic from its members only
  erlmcp.ops.firewall:
    rules:
      - name: ssh
        port: 22
        sources: [192.0.2.0/24]
      - name: mcp
        port: 5005
      - name: distribution
        port: "9100:9105"
        sources: [node1.example.com, node2.example.com, 2001:db8::3]

- name: Take the rules away again
  erlmcp.ops.firewall:
    enabled: false
"""

RETURN = r"""
backend:
  description: The firewall that is managed.
  type: str
  returned: success
pending:
  description: Whether something was not as asked for. Unlike C(changed), it is not hidden by a task's C(changed_when).
  type: bool
  returned: success
installed:
  description: Whether that firewall is installed. It may not be in check mode, and when O(enabled=false).
  type: bool
  returned: success
enabled:
  description: Whether the firewall is on afterwards.
  type: bool
  returned: success
added:
  description: Rules that were, or in check mode would be, added, in their order. One for each source.
  type: list
  elements: dict
  returned: success
  sample: [{"name": "mcp", "port": "5005", "protocol": "tcp", "source": "0.0.0.0/0"}]
removed:
  description: Own rules that were, or would be, taken away, also out of other firewalls, in the same form.
  type: list
  elements: dict
  returned: success
kept:
  description: Rules that were there already, in the same form.
  type: list
  elements: dict
  returned: success
ssh_ports:
  description: Ports through which the host is, or from the next restart of sshd on will be, reached over ssh.
  type: list
  elements: int
  returned: success
ssh_opened:
  description: Those of RV(ssh_ports) that O(rules) did not cover, so that they are open to everybody.
  type: list
  elements: int
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.erlmcp.ops.plugins.module_utils._core.module import run
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Runner
from ansible_collections.erlmcp.ops.plugins.module_utils._firewall.firewall import firewall
from ansible_collections.erlmcp.ops.plugins.module_utils._firewall.spec import FIREWALL_SPEC


def main():
    module = AnsibleModule(
        argument_spec=FIREWALL_SPEC,
        supports_check_mode=True,
    )
    run(module, lambda module: firewall(module, Runner()))


if __name__ == "__main__":
    main()
