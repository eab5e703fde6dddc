# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a certificate has to be replaced; no input, no output."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

_DAY = 86400
# Without one of these, nobody could connect.
UNUSABLE = frozenset(("missing", "key", "untrusted", "expired"))


@dataclass(frozen=True)
class Held:
    """What a host has.

    :param certificate: :class:`.openssl.Certificate`, ``None`` where there is none.
    :param fits_key: whether the private key beside it is its own.
    :param problem: why it does not verify with the wanted authorities, or ``None``.
    :param by_issuer: whether the authority issued it that issues certificates now; ``True`` where none does.
    """

    certificate: object = None
    fits_key: bool = False
    problem: str | None = None
    by_issuer: bool = True


def canonical(name):
    """Return a name as it is compared: an address by its value, a DNS name in small letters."""
    try:
        return str(ip_address(name))
    except ValueError:
        return name.lower()


def lacking(found, names):
    """Return the sorted names that a certificate lacks, however they are spelt.

    :param found: a :class:`.openssl.Certificate`.
    """
    held = {canonical(name) for name in found.names}
    return sorted(name for name in set(names) if canonical(name) not in held)


def reasons(held, names, now, renew_days):
    """Return why another certificate is due, out of ``missing``, ``key``, ``untrusted``, ``expired``, ``expires``,
    ``names`` and ``issuer``.

    :param names: the names that it has to have.
    :param now: seconds since the epoch.
    :param renew_days: how long before its end it is due.
    """
    found = held.certificate
    if found is None:
        return ["missing"]
    left = found.not_after - now
    judged = {
        "key": not held.fits_key,
        "expired": left <= 0,
        "untrusted": left > 0 and held.problem is not None,
        "expires": 0 < left <= renew_days * _DAY,
        "names": bool(lacking(found, names)),
        "issuer": not held.by_issuer,
    }
    return [reason for reason, is_so in judged.items() if is_so]


def is_renewed(due, renew):
    """Whether to ask for another certificate.

    :param due: :func:`reasons`.
    :param renew: ``unusable``, ``due`` or ``always``.
    """
    if renew == "always":
        return True
    return bool(due) if renew == "due" else bool(UNUSABLE & set(due))


def days_left(not_after, now):
    """Return the whole days until a moment; negative when it has passed."""
    return int((not_after - now) // _DAY)
