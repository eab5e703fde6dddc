# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long the certificate of a host lasts, for the page of ``check_health``."""

from __future__ import annotations

import os
import time

from .._core.errors import OpsError
from .._core.files import read_if_there
from .openssl import OpenSSL
from .plan import days_left

LIFETIME_SPEC = {"tls_renew_days": {"type": "int", "default": 30}}


def lifetime(directory, renew_days, runner):
    """Return ``days_left`` of the certificate, ``None`` when there is none that can be read, and whether it is ``due``.

    :param directory: that has ``cert.pem``; without any there is nothing to tell, and ``None`` is returned.
    :param renew_days: how long before its end it is due.
    :param runner: a :class:`Runner`.
    """
    if not directory:
        return None
    content = read_if_there(os.path.join(directory, "cert.pem"))
    try:
        left = days_left(OpenSSL(runner).read((content or b"").decode()).not_after, int(time.time()))
    except (OpsError, UnicodeDecodeError):
        left = None
    return {"days_left": left, "due": left is None or left < renew_days}
