# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.module_utils._core.sealed import Sealed
from ansible_collections.erlmcp.ops.tests.unit.plugins.module_utils._core.fake_creds import FakeCreds


@pytest.fixture(name="runner")
def _runner():
    return FakeCreds()


@pytest.fixture(name="sealed")
def _sealed(tmp_path, runner):
    for name in ("etc", "run"):
        (tmp_path / name).mkdir()
    return Sealed(str(tmp_path / "etc" / "key"), str(tmp_path / "run" / "key"), runner)


def test_the_content_is_read_through_the_link_and_is_nowhere_on_disk(sealed, tmp_path):
    (tmp_path / "etc" / "key").write_text("the old one")
    sealed.write(b"hush\n", 0o640, -1, -1)
    assert (tmp_path / "etc" / "key").read_text() == "hush\n"
    assert (tmp_path / "run" / "key").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "etc" / "key.cred").stat().st_mode & 0o777 == 0o640
    on_disk = [each.read_bytes() for each in (tmp_path / "etc").iterdir() if not each.is_symlink()]
    assert len(on_disk) == 1
    assert b"hush" not in on_disk[0]
    assert sealed.decrypted() == b"hush\n"


def test_it_is_found_by_its_link(sealed, runner, tmp_path):
    assert Sealed.found_at(sealed.path, runner) is None
    (tmp_path / "etc" / "key").symlink_to("elsewhere")
    assert Sealed.found_at(sealed.path, runner) is None
    sealed.write(b"hush", 0o600, -1, -1)
    assert Sealed.found_at(sealed.path, runner).runtime_path == sealed.runtime_path


def test_with_another_key_there_is_nothing_to_read(sealed, runner):
    assert sealed.decrypted() is None
    sealed.write(b"hush", 0o600, -1, -1)
    runner.key = "of another host"
    assert sealed.decrypted() is None


def test_an_old_systemd_is_told_before_there_is_anything(sealed, runner):
    runner.key = None
    with pytest.raises(OpsError, match="takes systemd 250 or newer. Upgrade this host, or set erlmcp_credentials_ena"):
        sealed.decrypted()
