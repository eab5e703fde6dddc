# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A file whose content is on disk only encrypted: ``PATH.cred`` is what ``systemd-creds`` made of it, the content is in
memory, below ``/run``, and ``PATH`` is a link to it there, so whoever reads ``PATH`` need not know.

At boot a unit decrypts it again, and gives it owner and mode of ``PATH.cred``.
"""

from __future__ import annotations

import os

from .errors import OpsError
from .files import link_atomically, read_if_there, write_atomically


class Sealed:
    """One such file.

    :param path: where it is looked for.
    :param runtime_path: where the content is, in memory.
    :param runner: a :class:`Runner`.
    """

    def __init__(self, path, runtime_path, runner):
        self.path = path
        self.runtime_path = runtime_path
        self.encrypted_path = f"{path}.cred"
        self._runner = runner

    @classmethod
    def found_at(cls, path, runner):
        """Return the sealed file at ``path``, or ``None`` where there is an ordinary one, or none."""
        if not os.path.islink(path) or not os.path.lexists(f"{path}.cred"):
            return None
        return cls(path, os.readlink(path), runner)

    @property
    def is_linked(self):
        """Whether the link is there, and leads to the place in memory."""
        return os.path.islink(self.path) and os.readlink(self.path) == self.runtime_path

    def decrypted(self):
        """Return what is on disk, as bytes; ``None`` where there is nothing, or this host's key does not open it.

        :raises OpsError: where systemd cannot do this.
        """
        encrypted = read_if_there(self.encrypted_path)
        if encrypted is None:
            self._creds("--version")
            return None
        done = self._creds("decrypt", self._name, "-", "-", stdin=encrypted.decode("ascii", "replace"))
        return done.out.encode() if done.ok else None

    def write(self, content, mode, uid, gid):
        """Lay down all three. Killed in between, the link, or what is in memory, is still the old one."""
        # A key in the TPM is used where there is one. It is not bound to what the firmware measures, or an update of
        # that would keep the node from starting.
        options = ["--with-key=auto", "--tpm2-pcrs=", self._name, "-", "-"]
        done = self._creds("encrypt", *options, stdin=content.decode())
        if not done.ok:
            raise OpsError(f"{self.path} cannot be encrypted: {done.err.strip()}", kind="credential", path=self.path)
        write_atomically(self.encrypted_path, done.out.encode(), mode, uid, gid)
        write_atomically(self.runtime_path, content, mode, uid, gid)
        if not self.is_linked:
            link_atomically(self.path, self.runtime_path)

    @property
    def _name(self):
        return f"--name={os.path.basename(self.path)}"

    def _creds(self, *arguments, stdin=""):
        try:
            return self._runner.run(["systemd-creds", *arguments], stdin=stdin)
        except OpsError as missing:
            raise OpsError(
                "systemd-creds is missing: to encrypt cookie and keys takes systemd 250 or newer. Upgrade this host, "
                "or set erlmcp_credentials_enabled to false",
                kind="credential",
            ) from missing
