# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module fileset, on real files."""

from __future__ import annotations

import base64
import grp
import hashlib
import os
import pwd
from types import SimpleNamespace

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.module_utils._fileset.fileset import fileset
from ansible_collections.erlmcp.ops.tests.unit.plugins.module_utils._core.fake_creds import FakeCreds
from ansible_collections.erlmcp.ops.tests.unit.plugins.module_utils._fileset.fake_systemd import FakeSystemd

OWNER = pwd.getpwuid(os.geteuid()).pw_name
GROUP = grp.getgrgid(os.getegid()).gr_name


def entry(path, **options):
    return {
        "path": str(path),
        "state": "file",
        "content": None,
        "content_base64": None,
        "secret": None,
        "runtime_path": None,
        "target": None,
        "owner": OWNER,
        "group": GROUP,
        "mode": "0644",
        "refuse_change": None,
        **options,
    }


def lay_down(*entries, check=False, systemd=None, started=(), stopped=(), programs=()):
    params = {
        "entries": list(entries),
        "started": list(started),
        "stopped": list(stopped),
        "started_with": {},
        "programs": list(programs),
    }
    return fileset(SimpleNamespace(params=params, check_mode=check), systemd)


@pytest.fixture(name="whole_set")
def _whole_set(tmp_path):
    return [
        entry(tmp_path / "etc", state="directory", mode="0750"),
        entry(tmp_path / "etc" / "unit", content="[Unit]\n"),
        entry(tmp_path / "etc" / "cookie", secret="hush", mode="0400"),
        entry(tmp_path / "etc" / "link", state="link", target="unit"),
        entry(tmp_path / "old", state="absent"),
    ]


def test_a_set_is_laid_down_and_then_left_alone(tmp_path, whole_set):
    (tmp_path / "old").write_text("x")
    first = lay_down(*whole_set)
    assert first["changed_paths"] == [each["path"] for each in whole_set]
    assert (tmp_path / "etc" / "unit").read_text() == "[Unit]\n"
    assert (tmp_path / "etc" / "cookie").stat().st_mode & 0o777 == 0o400
    assert (tmp_path / "etc").stat().st_mode & 0o777 == 0o750
    assert os.readlink(tmp_path / "etc" / "link") == "unit"
    assert not (tmp_path / "old").exists()
    second = lay_down(*whole_set)
    assert (second["changed"], second["diff"]) == (False, [])


def test_check_mode_predicts_what_the_run_changes_and_touches_nothing(tmp_path, whole_set):
    predicted = lay_down(*whole_set, check=True)
    assert os.listdir(tmp_path) == []
    done = lay_down(*whole_set)
    assert predicted["changed_paths"] == done["changed_paths"]
    assert predicted["diff"] == done["diff"]


def test_check_mode_on_a_host_that_has_no_such_account_yet(tmp_path):
    assert lay_down(entry(tmp_path / "a", content="x", owner="not-yet-made"), check=True)["changed"]


def test_a_missing_account_is_named(tmp_path):
    with pytest.raises(OpsError, match="account 'not-yet-made'"):
        lay_down(entry(tmp_path / "a", content="x", owner="not-yet-made"))


def test_mode_alone_is_repaired(tmp_path):
    lay_down(entry(tmp_path / "a", content="x"))
    os.chmod(tmp_path / "a", 0o666)
    assert lay_down(entry(tmp_path / "a", content="x"))["changed"]
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644


def test_a_secret_is_in_no_diff(tmp_path):
    lay_down(entry(tmp_path / "cookie", secret="old-secret"))
    result = lay_down(entry(tmp_path / "cookie", secret="new-secret"))
    assert result["changed"]
    assert "secret content changed" in result["diff"][0]["after"]
    assert "old-secret" not in str(result)
    assert "new-secret" not in str(result)


def test_a_change_that_is_refused_says_what_to_do_and_changes_nothing_else(tmp_path):
    (tmp_path / "cookie").write_text("old")
    with pytest.raises(OpsError, match="other content. Stop all nodes"):
        lay_down(
            entry(tmp_path / "first", content="x"),
            entry(tmp_path / "cookie", secret="new", refuse_change="Stop all nodes."),
        )
    assert not (tmp_path / "first").exists()
    assert (tmp_path / "cookie").read_text() == "old"


def test_a_refused_change_still_repairs_the_mode(tmp_path):
    (tmp_path / "cookie").write_text("same")
    result = lay_down(entry(tmp_path / "cookie", secret="same", mode="0400", refuse_change="No."))
    assert result["changed"]


@pytest.fixture(name="cookie")
def _cookie(tmp_path):
    """A function that returns entries for a cookie, encrypted on disk or not."""

    def cookie(text="same", encrypted=True):
        options = {"secret": text, "mode": "0400", "refuse_change": "Stop all nodes."}
        if encrypted:
            options["runtime_path"] = str(tmp_path / "run" / "cookie")
        return [
            entry(tmp_path / "run", state="directory", mode="0750"),
            entry(tmp_path / "cookie", **options),
        ]

    return cookie


def test_a_secret_is_encrypted_at_rest_and_then_left_alone(tmp_path, cookie):
    runner = FakeCreds()
    predicted = lay_down(*cookie(), check=True, systemd=runner)
    assert os.listdir(tmp_path) == []
    done = lay_down(*cookie(), systemd=runner)
    assert predicted["changed_paths"] == done["changed_paths"] == [str(tmp_path / "run"), str(tmp_path / "cookie")]
    assert predicted["diff"] == done["diff"]
    assert (tmp_path / "cookie").read_text() == "same"
    assert (tmp_path / "cookie").stat().st_mode & 0o777 == 0o400
    assert not lay_down(*cookie(), systemd=runner)["changed"]


def test_to_encrypt_what_is_there_and_to_stop_that_are_changes_of_no_content(tmp_path, cookie):
    runner = FakeCreds()
    lay_down(*cookie(encrypted=False))
    there = lay_down(*cookie(), systemd=runner)
    assert (tmp_path / "cookie").is_symlink()
    assert there["diff"][0]["before"].startswith(f"{tmp_path}/cookie: file ")
    assert there["diff"][0]["after"].startswith(f"{tmp_path}/cookie: encrypted file ")
    assert lay_down(*cookie(encrypted=False))["changed_paths"] == [str(tmp_path / "cookie")]
    assert not (tmp_path / "cookie").is_symlink()
    assert (tmp_path / "cookie").read_text() == "same"


@pytest.mark.parametrize("found", [True, False])
@pytest.mark.parametrize("wanted", [True, False])
def test_another_secret_is_refused_whichever_of_the_two_is_encrypted(cookie, found, wanted):
    runner = FakeCreds()
    lay_down(*cookie(encrypted=found), systemd=runner)
    with pytest.raises(OpsError, match="other content. Stop all nodes"):
        lay_down(*cookie("other", encrypted=wanted), systemd=runner)


def test_another_secret_is_refused_when_it_has_not_been_decrypted_since_boot(tmp_path, cookie):
    runner = FakeCreds()
    lay_down(*cookie(), systemd=runner)
    (tmp_path / "run" / "cookie").unlink()
    with pytest.raises(OpsError, match="other content. Stop all nodes"):
        lay_down(*cookie("other"), systemd=runner)
    lay_down(*cookie(), systemd=runner)
    assert (tmp_path / "cookie").read_text() == "same"


def test_what_the_hosts_key_does_not_open_is_encrypted_anew(tmp_path, cookie):
    runner = FakeCreds()
    lay_down(*cookie(), systemd=runner)
    runner.key = "after the disk was restored"
    again = lay_down(*cookie(), systemd=runner)
    assert again["changed_paths"] == [str(tmp_path / "cookie")]
    assert "encrypted anew" in again["diff"][0]["after"]
    assert not lay_down(*cookie(), systemd=runner)["changed"]
    # The same after a boot, which decrypted nothing. Then nothing is left that could be refused.
    runner.key = "after another one"
    (tmp_path / "run" / "cookie").unlink()
    lay_down(*cookie("other"), systemd=runner)
    assert (tmp_path / "cookie").read_text() == "other"


def test_the_encrypted_file_has_owner_and_mode_for_the_next_boot(tmp_path, cookie):
    runner = FakeCreds()
    lay_down(*cookie(), systemd=runner)
    os.chmod(tmp_path / "cookie.cred", 0o644)
    assert lay_down(*cookie(), systemd=runner)["changed_paths"] == [str(tmp_path / "cookie")]
    assert (tmp_path / "cookie.cred").stat().st_mode & 0o777 == 0o400


def test_what_must_not_be_there_is_told_and_left(tmp_path):
    (tmp_path / "next").write_text("x")
    with pytest.raises(OpsError, match="next is there. Finish it first."):
        lay_down(entry(tmp_path / "next", state="absent", refuse_change="Finish it first."))
    assert (tmp_path / "next").exists()


@pytest.mark.parametrize(
    ("made", "wanted"),
    [("directory", "file"), ("file", "directory"), ("directory", "link"), ("directory", "absent")],
)
def test_a_directory_is_never_replaced_or_removed(tmp_path, made, wanted):
    path = tmp_path / "path"
    path.mkdir() if made == "directory" else path.write_text("x")
    with pytest.raises(OpsError, match=str(path)):
        lay_down(entry(path, state=wanted, content="x", target="y"))
    assert path.exists()


def test_a_file_takes_the_place_of_a_link_without_following_it(tmp_path):
    (tmp_path / "elsewhere").write_text("keep")
    (tmp_path / "path").symlink_to("elsewhere")
    lay_down(entry(tmp_path / "path", content="new"))
    assert (tmp_path / "elsewhere").read_text() == "keep"
    assert not (tmp_path / "path").is_symlink()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": "relative"}, "not an absolute path"),
        ({"path": "/"}, "not an absolute path"),
        ({"path": "/x", "content": None}, "needs content, content_base64 or secret"),
        ({"path": "/x", "content": None, "content_base64": "no base64!"}, "content_base64 of /x is not base64"),
        ({"path": "/x", "state": "link"}, "needs target"),
        ({"path": "/x", "runtime_path": "/run/x"}, "has a runtime_path, so it needs secret"),
    ],
)
def test_a_set_that_cannot_be_meant_is_refused(options, message):
    with pytest.raises(OpsError, match=message):
        lay_down(entry(**{"path": "/x", "content": "x", **options}))


def test_a_path_that_stands_twice_is_refused(tmp_path):
    with pytest.raises(OpsError, match="stands twice"):
        lay_down(entry(tmp_path / "a", content="x"), entry(tmp_path / "a", content="y"))


def test_a_binary_file_is_laid_down_and_the_diff_tells_its_digest_only(tmp_path):
    (tmp_path / "program").write_bytes(b"\xff\x00old")
    content = b"PK\x03\x04\xff\x00"
    wanted = entry(tmp_path / "program", content_base64=base64.b64encode(content).decode(), mode="0755")
    result = lay_down(wanted)
    assert (tmp_path / "program").read_bytes() == content
    assert result["diff"][0]["before"].startswith("binary content, 5 bytes, sha256 ")
    assert result["diff"][0]["after"] == f"binary content, 6 bytes, sha256 {hashlib.sha256(content).hexdigest()}\n"
    assert not lay_down(wanted)["changed"]


def test_a_unit_is_started_after_its_file_is_there(tmp_path):
    systemd = FakeSystemd({}, needs=tmp_path / "file")
    result = lay_down(entry(tmp_path / "file", content="x"), systemd=systemd, started=["a.timer"])
    assert (result["started_units"], result["stopped_units"]) == (["a.timer"], [])
    assert systemd.did == [["start", "--", "a.timer"]]
    again = lay_down(entry(tmp_path / "file", content="x"), systemd=systemd, started=["a.timer"])
    assert (again["changed"], again["started_units"], again["diff"]) == (False, [], [])


def test_check_mode_predicts_a_unit_that_does_not_exist_yet(tmp_path):
    systemd = FakeSystemd({})
    predicted = lay_down(check=True, systemd=systemd, started=["a.timer"])
    assert (predicted["changed"], predicted["started_units"]) == (True, ["a.timer"])
    assert predicted["diff"][0]["after"] == "a.timer: started\n"
    assert systemd.did == []


def test_a_unit_that_cannot_be_started_is_told(tmp_path):
    systemd = FakeSystemd({}, broken="Unit a.timer has a bad unit file setting.")
    with pytest.raises(OpsError, match="systemctl start -- a.timer failed: Unit a.timer has a bad unit file setting"):
        lay_down(systemd=systemd, started=["a.timer"])


def test_without_units_systemd_is_not_asked(tmp_path):
    assert lay_down(entry(tmp_path / "a", content="x"), systemd=None)["started_units"] == []


@pytest.mark.parametrize(
    ("started", "stopped", "message"),
    [
        (["erlmcp-backup"], [], "'erlmcp-backup' is not the full name"),
        (["--now.timer"], [], "is not the full name"),
        (["a.timer"], ["a.timer"], "a.timer is to be started and to be stopped"),
    ],
)
def test_units_that_cannot_be_meant_are_refused(started, stopped, message):
    with pytest.raises(OpsError, match=message):
        lay_down(systemd=FakeSystemd({}), started=started, stopped=stopped)


@pytest.mark.parametrize("check", [False, True])
def test_programs_that_are_not_there_are_told_of(check):
    found = lay_down(programs=["no-such-program", "sh"], check=check)
    assert (found["changed"], found["missing_programs"]) == (False, ["no-such-program"])
