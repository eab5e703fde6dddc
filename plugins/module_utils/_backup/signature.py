# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who has made an archive: a signature of ``ssh-keygen -Y`` over its name, size and SHA-256, in the file beside it.

A digest tells of damage. Whoever can write the store can write another digest, but no signature.
"""

from __future__ import annotations

import os
import tempfile

from .._core.errors import OpsError

# So that what was signed for something else is no signature of an archive.
_NAMESPACE = "erlmcp-backup"
_SIGNER = "erlmcp-backup"


def check_key(key_file, signers, runner):
    """Refuse a key with which no archive can be signed so that it is trusted, before one is made.

    :param key_file: path of the private key, in the form of OpenSSH.
    :param signers: public keys that are trusted, each a line of OpenSSH.
    :raises OpsError: saying what is wrong.
    """
    facts = {"name": "", "size": 0, "sha256": ""}
    if signers and not _is_signed(facts, sign(facts, key_file, runner), signers, runner):
        raise OpsError(
            "the key that signs (erlmcp_backup_signing_key) is none of erlmcp_backup_signers: its archives would be "
            "refused. Add its public key, which ssh-keygen -y prints",
            kind="signature",
        )


def sign(facts, key_file, runner):
    """Return the signature of an archive as text.

    :param facts: its ``name``, ``size`` and ``sha256``.
    :raises OpsError: when the key cannot be used.
    """
    done = runner.run(["ssh-keygen", "-Y", "sign", "-n", _NAMESPACE, "-f", key_file], stdin=_message(facts))
    if not done.ok:
        raise OpsError(
            f"{key_file} cannot sign an archive: {_reason(done)}. Set erlmcp_backup_signing_key to a private key "
            "without passphrase, as ssh-keygen -t ed25519 makes it",
            kind="signature",
        )
    return done.out


def check_signature(backup, signers, runner):
    """Refuse an archive that none of the signers has signed; without signers all are accepted.

    Its bytes are compared with the signed digest by whoever reads it.

    :param backup: a :class:`Backup` of the store.
    :raises OpsError: saying so.
    """
    if not signers:
        return
    beside = backup.beside
    signature = beside.get("signature") if beside else None
    if isinstance(signature, str) and _is_signed(beside["archive"], signature, signers, runner):
        return
    problem = "is signed by somebody else, or was changed since" if signature else "is not signed"
    raise OpsError(
        f"{backup.path} {problem}, and erlmcp_backup_signers names who may sign: take another archive. If you trust "
        "this one all the same, run once with -e '{\"erlmcp_backup_signers\": []}', or on the host with --unsigned",
        kind="signature",
        archive=backup.path,
    )


def _message(facts):
    return f"erlmcp.ops archive, format 1\n{facts['name']}\n{facts['size']}\n{facts['sha256']}\n"


def _is_signed(facts, signature, signers, runner):
    with tempfile.TemporaryDirectory(prefix="erlmcp-signature-") as directory:
        paths = {name: os.path.join(directory, name) for name in ("signers", "signature")}
        allowed = "".join(f'{_SIGNER} namespaces="{_NAMESPACE}" {" ".join(key.split())}\n' for key in signers)
        for name, text in (("signers", allowed), ("signature", signature)):
            with open(paths[name], "w", encoding="utf-8") as stream:
                stream.write(text)
        done = runner.run(
            [
                *("ssh-keygen", "-Y", "verify", "-n", _NAMESPACE, "-I", _SIGNER),
                *("-f", paths["signers"], "-s", paths["signature"]),
            ],
            stdin=_message(facts),
        )
    return done.ok


def _reason(done):
    lines = [line for line in done.err.splitlines() if line.strip()]
    return lines[-1] if lines else f"ssh-keygen ended with status {done.rc}"
