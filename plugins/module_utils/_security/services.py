# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a port answers to a client: whether it speaks TLS, which versions of it, and to whom."""

from __future__ import annotations

import concurrent.futures
import contextlib
import socket
import ssl
import time

from .._tls.openssl import OpenSSL
from .._tls.plan import days_left

# A listener that speaks TLS answers at once. One that does not may wait for more for ever.
_PATIENCE_SECONDS = 2
_ALERT_SECONDS = 0.5
_VERSIONS = {
    "1.0": ssl.TLSVersion.TLSv1,
    "1.1": ssl.TLSVersion.TLSv1_1,
    "1.2": ssl.TLSVersion.TLSv1_2,
    "1.3": ssl.TLSVersion.TLSv1_3,
}
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def observe_services(services, listeners, certificate, runner):
    """Return what ``security_info`` documents as ``services``.

    :param services: its option of that name.
    :param listeners: what listens on the host.
    :param certificate: paths of certificate and key for a client, or ``None``.
    :param runner: a :class:`Runner`.
    """
    with concurrent.futures.ThreadPoolExecutor() as pool:
        enabled = filter(lambda service: service["enabled"], services)
        return list(pool.map(lambda service: _observe(service, listeners, certificate, runner), enabled))


def _observe(service, listeners, certificate, runner):
    addresses = [listener["address"] for listener in listeners if listener["port"] == service["port"]]
    seen = {"name": service["name"], "port": service["port"], "addresses": addresses}
    if not addresses or not service["ask"]:
        return {**seen, "tls": None}
    address = (_ANY.get(addresses[0], addresses[0]), service["port"])
    first = _Attempt(address, certificate)
    if not first.is_tls:
        return {**seen, "tls": False}
    versions = [name for name, version in _VERSIONS.items() if _Attempt(address, certificate, version).is_connected]
    return {
        **seen,
        "tls": True,
        "versions": versions,
        # Before 1.3 who has no certificate is turned down while hands are shaken, and not afterwards.
        "asks_for_certificate": not _Attempt(address, None, _VERSIONS[(versions or ["1.2"])[0]]).is_connected,
        "days_left": _days_left(first.certificate, runner),
    }


def _days_left(certificate, runner):
    if certificate is None:
        return None
    return days_left(OpenSSL(runner).read(ssl.DER_cert_to_PEM_cert(certificate)).not_after, time.time())


class _Attempt:
    """One connection.

    :param version: the only version of TLS to offer; ``None`` for all.
    """

    def __init__(self, address, certificate, version=None):
        self.is_anonymous = certificate is None
        self.is_connected = False
        self.is_tls = False
        self.certificate = None
        try:
            with socket.create_connection(address, timeout=_PATIENCE_SECONDS) as plain:
                self._shake_hands(plain, _context(certificate, version))
        except ssl.SSLError as error:
            # Only who speaks TLS sends an alert.
            self.is_tls = self.is_tls or "ALERT" in (error.reason or "")
        except OSError:
            return

    def _shake_hands(self, plain, context):
        with context.wrap_socket(plain) as secured:
            self.is_tls = True
            self.certificate = secured.getpeercert(binary_form=True)
            if secured.version() == "TLSv1.3" and self.is_anonymous:
                self._wait_for_alert(secured)
            self.is_connected = True

    @staticmethod
    def _wait_for_alert(secured):
        """The server looks for the client's certificate when the client takes the handshake for done."""
        secured.settimeout(_ALERT_SECONDS)
        with contextlib.suppress(socket.timeout):
            secured.recv(1)


def _context(certificate, version):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # What is served is asked for, not whether to trust it.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    # Debian's OpenSSL does not even try old versions otherwise.
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = version or ssl.TLSVersion.TLSv1
    context.maximum_version = version or ssl.TLSVersion.TLSv1_3
    if certificate:
        context.load_cert_chain(*certificate)
    return context
