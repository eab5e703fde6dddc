# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The certificate that a port serves, seen by a client of the host's own certificate."""

from __future__ import annotations

import hashlib
import os
import socket
import ssl
import time

from .._core.errors import OpsError

_PATIENCE_SECONDS = 10


def host_context(directory):
    """Return an ``ssl.SSLContext`` for a client on a host of the cluster that connects to this same host.

    :param directory: where ``ca.pem``, ``cert.pem`` and ``key.pem`` are.
    :raises OSError: when they are not there or cannot be used.
    """
    context = ssl.create_default_context(cafile=os.path.join(directory, "ca.pem"))
    # The loopback address is in no certificate.
    context.check_hostname = False
    context.load_cert_chain(os.path.join(directory, "cert.pem"), os.path.join(directory, "key.pem"))
    return context


def prove_served(port, fingerprint, context):
    """Return when the port serves the certificate.

    :param port: on the loopback interface.
    :param fingerprint: SHA-256 in hexadecimal digits.
    :raises OpsError: when it does not within ten seconds.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            connection = socket.create_connection(("127.0.0.1", port), timeout=5)
            with connection, context.wrap_socket(connection) as secured:
                served = hashlib.sha256(secured.getpeercert(binary_form=True)).hexdigest()
            if served == fingerprint:
                return
            seen = f"it serves another one ({served[:16]})"
        except OSError as error:
            seen = str(error)
        if time.monotonic() > deadline:
            raise OpsError(
                f"port {port} does not serve the certificate that was laid down: {seen}. The one before is kept in the "
                "directory sets; a restart of the node, with the playbook roll, makes it read its files again",
                kind="certificate",
            )
        time.sleep(0.2)
