# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  health:
    description:
      - What counts as healthy. The roles pass C(__erlmcp_health), composed from the variables of role C(erlmcp).
    type: dict
    default: {}
    suboptions:
      url:
        description: Health endpoint, as seen from the node's host. Without it HTTP is not asked.
        type: str
      application:
        description: Application that must have started, whatever the level. A node that does not answer over
          distribution cannot be asked that. Empty asks for none.
        type: str
        default: ""
      tls_dir:
        description: Directory with C(ca.pem), C(cert.pem) and C(key.pem), to be used where the URL begins with https.
        type: path
      status_key:
        description: Key of the JSON answer that holds the verdict. Empty accepts every answer with status 200.
        type: str
        default: status
      status_value:
        description: Value of that key on a healthy node.
        type: str
        default: healthy
      required_level:
        description: The level that must answer.
        type: str
        choices: [http, ping, process]
        default: http
      request_timeout_seconds:
        description: How long one HTTP request may take. A request that times out counts as unhealthy.
        type: int
        default: 5
      settle_seconds:
        description:
          - How long a node that was started has to stay healthy, as one process, before the start counts as good.
            Whoever only looks at a node does not wait for that.
          - A release was seen that answers for 8 s before its application crashes.
        type: int
        default: 10
"""
