# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long a certificate lasts is read with the real openssl."""

from __future__ import annotations

import subprocess

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Runner
from ansible_collections.erlmcp.ops.plugins.module_utils._tls.lifetime import lifetime


@pytest.mark.parametrize(("renew_days", "due"), [(9, False), (11, True)])
def test_a_certificate_is_due_before_it_ends(tmp_path, renew_days, due):
    made = ("-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem", "-subj", "/CN=a", "-days", 10)
    command = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", *made)
    subprocess.run([*map(str, command)], check=True, capture_output=True)
    found = lifetime(str(tmp_path), renew_days, Runner())
    assert found["due"] is due
    assert found["days_left"] in (9, 10)


@pytest.mark.parametrize("content", [None, b"", b"\xff", b"no PEM"])
def test_one_that_cannot_be_read_is_due(tmp_path, content):
    if content is not None:
        (tmp_path / "cert.pem").write_bytes(content)
    assert lifetime(str(tmp_path), 1, Runner()) == {"days_left": None, "due": True}


@pytest.mark.parametrize("directory", [None, ""])
def test_without_tls_there_is_none(directory):
    assert lifetime(directory, 1, Runner()) is None
