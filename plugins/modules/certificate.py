#!/usr/bin/python
# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: certificate
short_description: Key, certificate and trusted authorities of a host
version_added: 0.1.0
description:
  - Keeps C(cert.pem), C(key.pem), C(ca.pem) and C(both.pem) (certificate and key in one file, as HAProxy wants it) in a
    directory that the service can read and only root can write. They are links into one set, so all of them change at
    once. The set before is kept.
  - Where a certificate is due, the host makes a key, which never leaves it, and returns a request. Called again with
    the O(certificate) that an authority made of it, the module checks and installs it. With O(private_key) it installs
    what was made elsewhere. What does not fit, does not verify, has ended or lacks a name is refused before anything
    changes.
  - A running node reads the new files at once and goes on serving; connections that stand are not touched. The module
    returns when O(ports) serve the new certificate.
  - Needs the command C(openssl), version 3, on the host.
author:
  - erlmcp.ops contributors (@erlmcp)
extends_documentation_fragment:
  - erlmcp.ops.attributes
options:
  dir:
    description: Directory of the files.
    type: path
    default: /etc/erlmcp/certs
  credentials_dir:
    description:
      - A directory in memory, below C(/run), that is there. When it is given, private keys are on disk only encrypted
        by C(systemd-creds), in C(key.pem.cred) and C(both.pem.cred), and C(key.pem) and C(both.pem) are links into it.
      - A unit of yours decrypts them again at boot. Keys that are there already are changed to what is wanted here.
    type: path
  group:
    description: Group that may read them.
    type: str
    default: root
  authorities:
    description:
      - Certificates of the authorities that are trusted, as PEM texts. Empty is for check mode on a control node that
        has no authority yet.
      - Where none of them is among those that the host trusts now, the module refuses, because peers and clients that
        have not been given the new ones would be cut off. Give both for the time of a change.
    type: list
    elements: str
    required: true
  issuer:
    description: Certificate of the authority that issues certificates now, as PEM text. One that another authority
      issued is due.
    type: str
  names:
    description: DNS names and addresses that the certificate must have.
    type: list
    elements: str
    required: true
  common_name:
    description: Common name for a request. The first of O(names) when it is not given.
    type: str
  certificate:
    description: The certificate to install as PEM text, with intermediate ones after it.
    type: str
  private_key:
    description: Its private key as PEM text. Without it, it is the key that the module made for the request.
    type: str
  renew:
    description:
      - When to ask for another certificate.
      - With V(unusable), where there is none, or nobody could connect with the one there is.
      - With V(due), also where RV(due) gives any other reason.
      - With V(always), in every case.
    type: str
    choices: [unusable, due, always]
    default: unusable
  renew_days:
    description: How many days before its end a certificate is due.
    type: int
    default: 30
  node:
    description: The node that serves with the certificate, with all suboptions that O(erlmcp.ops.node_info#module:node)
      has. It reads the new files at once.
    type: dict
  ports:
    description: Ports on the loopback interface that must serve the new certificate when O(node) runs with a config
      that names it. A node that is yet to be restarted for TLS is not asked.
    type: list
    elements: int
    default: []
"""

EXAMPLES = r"""
- name: Ask for what is due
  erlmcp.ops.certificate:
    authorities: ["{{ lookup('ansible.builtin.file', 'ca.pem') }}"]
    names: [node1.example.com]
    group: erlmcp
  register: asked

- name: Install what an authority made of it
  erlmcp.ops.certificate:
    authorities: ["{{ lookup('ansible.builtin.file', 'ca.pem') }}"]
    names: [node1.example.com]
    group: erlmcp
    certificate: "{{ signed.certificate }}"
  when: asked.request is truthy
"""

RETURN = r"""
due:
  description: >-
    Why another certificate is due. C(missing), C(key) (it does not belong to the certificate), C(untrusted),
    C(expired), C(expires) (within O(renew_days)), C(names) and C(issuer).
  type: list
  elements: str
  returned: success
request:
  description: The certificate signing request as PEM text; null when none is needed, and in check mode.
  type: str
  returned: success
set:
  description: Name of the set of files in use, which changes with any of them; null while it is not known.
  type: str
  returned: success
not_after:
  description: When the certificate ends, in UTC; null where there is none.
  type: str
  returned: success
  sample: "2027-12-24T23:00:00Z"
days_left:
  description: Whole days until then.
  type: int
  returned: success
serial:
  description: Serial number of the certificate in hexadecimal digits.
  type: str
  returned: success
fingerprint:
  description: SHA-256 of the certificate in hexadecimal digits.
  type: str
  returned: success
diff:
  description: What the certificates are, before and after; never the key.
  type: dict
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.erlmcp.ops.plugins.module_utils._core.module import run
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Runner
from ansible_collections.erlmcp.ops.plugins.module_utils._tls.certificate import certificate
from ansible_collections.erlmcp.ops.plugins.module_utils._tls.spec import CERTIFICATE_SPEC


def main():
    module = AnsibleModule(
        argument_spec=CERTIFICATE_SPEC,
        supports_check_mode=True,
    )
    run(module, lambda module: certificate(module, Runner()))


if __name__ == "__main__":
    main()
