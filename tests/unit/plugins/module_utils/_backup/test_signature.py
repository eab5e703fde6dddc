# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signatures that the real ssh-keygen makes and verifies."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.signature import check_key, check_signature, sign
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.store import Store
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Runner
from ansible_collections.erlmcp.ops.tests.unit.plugins.module_utils._backup.stored_archives import (
    beside,
    name_of,
    publish,
)


class Key:
    def __init__(self, path, passphrase=""):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", "who signs", "-f", path], check=True
        )
        self.path = str(path)
        self.public = path.with_suffix(".pub").read_text().strip()


@pytest.fixture(name="ours")
def _ours(tmp_path):
    return Key(tmp_path / "ours")


@pytest.fixture(name="theirs")
def _theirs(tmp_path):
    return Key(tmp_path / "theirs")


@pytest.fixture(name="signed")
def _signed(tmp_path):
    """Function from a key, and what is changed of the signed facts afterwards, to an archive of a store."""

    def signed(key, **changed):
        store = Store(str(tmp_path / "store"))
        store.prepare()
        name = publish(store)
        data = beside(name_of())
        data["signature"] = sign(data["archive"], key.path, Runner())
        data["archive"].update(changed)
        with open(os.path.join(store.root, f"{name}.json"), "w", encoding="utf-8") as stream:
            json.dump(data, stream)
        return store.find(name)

    return signed


def test_an_archive_of_a_signer_is_accepted(signed, ours, theirs):
    check_signature(signed(ours), [theirs.public, ours.public], Runner())


def test_without_signers_every_archive_is_accepted(signed, ours):
    check_signature(signed(ours), [], Runner())


def test_an_archive_of_somebody_else_is_refused(signed, ours, theirs):
    with pytest.raises(OpsError, match=r"is signed by somebody else, or was changed since.*--unsigned"):
        check_signature(signed(theirs), [ours.public], Runner())


def test_other_bytes_are_not_what_was_signed(signed, ours):
    with pytest.raises(OpsError, match="or was changed since"):
        check_signature(signed(ours, sha256="0" * 64), [ours.public], Runner())


def test_an_archive_without_signature_is_refused(tmp_path, ours):
    store = Store(str(tmp_path / "store"))
    store.prepare()
    name = publish(store)
    with pytest.raises(OpsError, match="is not signed, and erlmcp_backup_signers names who may sign"):
        check_signature(store.find(name), [ours.public], Runner())
    os.unlink(os.path.join(store.root, f"{name}.json"))
    with pytest.raises(OpsError, match="is not signed"):
        check_signature(store.find(name), [ours.public], Runner())


def test_what_was_signed_for_something_else_is_no_signature_of_an_archive(signed, ours, tmp_path):
    backup = signed(ours)
    facts = backup.beside["archive"]
    message = tmp_path / "message"
    message.write_text(f"erlmcp.ops archive, format 1\n{facts['name']}\n{facts['size']}\n{facts['sha256']}\n")
    subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-n", "git", "-f", ours.path, message], check=True)
    backup.beside["signature"] = message.with_suffix(".sig").read_text()
    with pytest.raises(OpsError, match="is signed by somebody else"):
        check_signature(backup, [ours.public], Runner())


def test_a_key_that_nobody_trusts_is_told_before_an_archive_is_made(ours, theirs):
    check_key(ours.path, [ours.public], Runner())
    with pytest.raises(OpsError, match="is none of erlmcp_backup_signers"):
        check_key(ours.path, [theirs.public], Runner())


@pytest.mark.parametrize("kind", ["missing", "with passphrase", "nonsense"])
def test_a_key_that_cannot_sign_is_told_with_its_file(kind, tmp_path):
    path = tmp_path / "key"
    if kind == "with passphrase":
        Key(path, "secret")
    elif kind == "nonsense":
        path.write_text("nonsense")
        path.chmod(0o600)
    with pytest.raises(OpsError, match=rf"{path} cannot sign an archive: \S+.*erlmcp_backup_signing_key"):
        check_key(str(path), ["ssh-ed25519 AAAA"], Runner())
