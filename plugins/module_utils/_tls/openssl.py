# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keys, requests and certificates, made and read by the host's own ``openssl``."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass

from .._core.errors import OpsError

_NAMES = re.compile(r"X509v3 Subject Alternative Name:[^\n]*\n\s*(.*)")
_FIELD = re.compile(r"^(\w+|sha256 Fingerprint)=(.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Certificate:
    """What a certificate says of itself.

    :param names: its subject alternative names, DNS names and addresses.
    :param not_before: seconds since the epoch, like ``not_after``.
    :param fingerprint: SHA-256 in hexadecimal digits.
    :param public_key: PEM text.
    """

    serial: str
    names: frozenset
    not_before: int
    not_after: int
    fingerprint: str
    public_key: str


class OpenSSL:
    """The command; what is secret goes through its standard input and output."""

    def __init__(self, runner):
        self._runner = runner

    def new_key(self):
        """Return a new private key as PEM text: P-256, which every supported OTP and HAProxy has."""
        return self._text("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")

    def request(self, key_path, common_name, names):
        """Return a certificate signing request as PEM text.

        :param names: DNS names and addresses for the subject alternative name.
        """
        listed = ",".join(f"{'IP' if is_address(name) else 'DNS'}:{name}" for name in names)
        return self._text(
            *("req", "-new", "-key", key_path, "-subj", f"/CN={common_name}"),
            *("-addext", f"subjectAltName={listed}", "-addext", "extendedKeyUsage=serverAuth,clientAuth"),
        )

    def read(self, text):
        """Return the first certificate of a PEM text as :class:`Certificate`.

        :raises OpsError: when it is none.
        """
        shown = self._text(
            *("x509", "-noout", "-serial", "-dates", "-sha256", "-fingerprint", "-ext", "subjectAltName", "-pubkey"),
            stdin=text,
        )
        fields = dict(_FIELD.findall(shown))
        names = _NAMES.search(shown)
        return Certificate(
            serial=fields["serial"],
            names=frozenset(each.partition(":")[2] for each in names[1].split(", ")) if names else frozenset(),
            not_before=ssl.cert_time_to_seconds(fields["notBefore"]),
            not_after=ssl.cert_time_to_seconds(fields["notAfter"]),
            fingerprint=fields["sha256 Fingerprint"].replace(":", "").lower(),
            public_key=shown[shown.index("-----BEGIN PUBLIC KEY-----") :].strip(),
        )

    def public_key(self, private_key):
        """Return the public half of a private key, both PEM text."""
        return self._text("pkey", "-pubout", stdin=private_key).strip()

    def problem(self, certificate_path, authorities_path, purpose="any"):
        """Return why a certificate does not verify now, or ``None`` when it does.

        :param certificate_path: file with the certificate, and the intermediate ones after it.
        :param authorities_path: file with the certificates of the trusted authorities.
        :param purpose: ``sslserver`` or ``sslclient``.
        """
        done = self._runner.run(
            [
                *("openssl", "verify", "-purpose", purpose, "-CAfile", authorities_path, "-no-CApath", "-no-CAstore"),
                *("-untrusted", certificate_path, certificate_path),
            ]
        )
        if done.ok:
            return None
        errors = [line for line in (done.out + done.err).splitlines() if line.startswith("error ")]
        return errors[0] if errors else (done.err.strip() or "no reason given")

    def _text(self, *arguments, stdin=""):
        done = self._runner.run(["openssl", *arguments], stdin=stdin)
        if not done.ok:
            why = done.err.strip().splitlines() or ["no reason given"]
            raise OpsError(f"openssl {arguments[0]}: {why[0]}", kind="certificate")
        return done.out


def is_address(name):
    """Whether a name is an IP address."""
    return ":" in name or re.fullmatch(r"[0-9.]+", name) is not None
