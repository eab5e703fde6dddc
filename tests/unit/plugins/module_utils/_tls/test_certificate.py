# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Certificates on the disk of one host, with the real openssl on both sides."""

from __future__ import annotations

import grp
import os
import subprocess
from types import SimpleNamespace

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.module_utils._tls.certificate import FILES, certificate
from ansible_collections.erlmcp.ops.tests.unit.plugins.module_utils._core.fake_creds import FakeCreds

# As openssl prints none of them.
NAMES = ["Node1.example.com", "192.0.2.1", "fd00::11"]


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


class Authority:
    def __init__(self, directory, name):
        self.certificate, self.key, self.directory = directory / f"{name}.pem", directory / f"{name}.key", directory
        made = ("-keyout", self.key, "-out", self.certificate, "-subj", f"/CN={name}")
        openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-days", 9, *made)
        )
        self.text = self.certificate.read_text()

    def sign(self, request, days=100):
        asked, made = self.directory / "request.pem", self.directory / "made.pem"
        asked.write_text(request)
        by = ("-CA", self.certificate, "-CAkey", self.key, "-copy_extensions", "copy")
        openssl("x509", "-req", "-in", asked, *by, "-days", days, "-out", made)
        return made.read_text()


@pytest.fixture(name="ours")
def _ours(tmp_path):
    return Authority(tmp_path, "ours")


@pytest.fixture(name="theirs")
def _theirs(tmp_path):
    return Authority(tmp_path, "theirs")


@pytest.fixture(name="runner")
def _runner():
    return FakeCreds()


@pytest.fixture(name="memory")
def _memory(tmp_path):
    memory = tmp_path / "memory"
    memory.mkdir()
    return memory


@pytest.fixture(name="ask")
def _ask(tmp_path, ours, runner, warnings):
    def ask(check=False, **options):
        params = {
            "dir": str(tmp_path / "certs"),
            "group": grp.getgrgid(os.getegid()).gr_name,
            "authorities": [ours.text],
            "issuer": ours.text,
            "names": NAMES,
            "common_name": None,
            "certificate": None,
            "private_key": None,
            "renew": "unusable",
            "renew_days": 30,
            "node": None,
            "ports": [],
            "credentials_dir": None,
            **options,
        }
        return certificate(SimpleNamespace(params=params, check_mode=check, warn=warnings.append), runner)

    return ask


@pytest.fixture(name="warnings")
def _warnings():
    return []


def files(tmp_path):
    return {name: (tmp_path / "certs" / name).read_text() for name in FILES}


def test_a_host_asks_and_installs_what_comes_back(ask, ours, tmp_path):
    asked = ask()
    assert (asked["changed"], asked["due"], asked["set"]) == (True, ["missing"], None)
    assert "PRIVATE" not in str(asked)
    done = ask(certificate=ours.sign(asked["request"]))
    assert (done["changed"], done["due"]) == (True, [])
    # It was signed in this second or the one before.
    assert done["days_left"] in (99, 100)
    laid = files(tmp_path)
    assert laid["both.pem"] == laid["cert.pem"] + laid["key.pem"]
    assert laid["ca.pem"] == ours.text
    assert oct((tmp_path / "certs" / "key.pem").stat().st_mode & 0o777) == "0o640"
    assert not (tmp_path / "certs" / "pending").exists()
    again = ask()
    assert (again["changed"], again["request"], again["set"]) == (False, None, done["set"])


def test_check_mode_predicts_and_makes_nothing(ask, tmp_path):
    asked = ask(check=True, authorities=[], issuer=None)
    assert (asked["changed"], asked["request"]) == (True, None)
    assert not (tmp_path / "certs").exists()
    with pytest.raises(OpsError, match="authorities is empty"):
        ask(authorities=[], issuer=None)


def test_a_run_that_was_killed_before_the_certificate_came_goes_on_with_its_key(ask, ours):
    first = ask()["request"]
    second = ask()["request"]
    done = ask(certificate=ours.sign(first))
    assert done["due"] == []
    assert ours.sign(second)
    # Killed after it: the certificate is given again, and is there.
    assert not ask(certificate=ours.sign(first), renew="unusable")["due"]


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda ours, theirs, asked, other: theirs.sign(asked), "does not verify with the authorities"),
        (lambda ours, theirs, asked, other: ours.sign(asked, days=-1), "it has ended"),
        (lambda ours, theirs, asked, other: ours.sign(other), "the private key is not that of the certificate"),
        (lambda ours, theirs, asked, other: "nonsense", "no PEM text"),
    ],
)
def test_a_certificate_that_would_not_serve_is_refused_and_the_old_one_stays(ask, ours, theirs, tmp_path, make, why):
    ask(certificate=ours.sign(ask()["request"]))
    before = files(tmp_path)
    asked = ask(renew="always")["request"]
    elsewhere = ask(dir=str(tmp_path / "elsewhere"))["request"]
    with pytest.raises(OpsError, match=why):
        ask(certificate=make(ours, theirs, asked, elsewhere))
    assert files(tmp_path) == before


def test_a_name_that_is_missing_is_due_and_a_certificate_without_it_refused(ask, ours):
    ask(certificate=ours.sign(ask()["request"]))
    more = {"names": [*NAMES, "service.example.com"]}
    assert ask(**more)["due"] == ["names"]
    assert not ask(**more)["request"]
    with pytest.raises(OpsError, match=r"it lacks service\.example\.com"):
        ask(certificate=ours.sign(ask(renew="always")["request"]), **more)


def test_another_authority_is_trusted_before_it_issues(ask, ours, theirs, tmp_path):
    ask(certificate=ours.sign(ask()["request"]))
    before = files(tmp_path)
    both = {"authorities": [ours.text, theirs.text]}
    trusted = ask(**both)
    assert (trusted["changed"], trusted["due"], trusted["request"]) == (True, [], None)
    assert files(tmp_path) == {**before, "ca.pem": ours.text + theirs.text}
    promoted = {**both, "issuer": theirs.text}
    assert ask(**promoted)["due"] == ["issuer"]
    done = ask(certificate=theirs.sign(ask(renew="due", **promoted)["request"]), **promoted)
    assert done["due"] == []
    assert ask(authorities=[theirs.text], issuer=theirs.text)["due"] == []
    # Had the old one been given up first, nobody could have connected.
    with pytest.raises(OpsError, match="this control node has another one"):
        ask(authorities=[ours.text], issuer=ours.text, check=True)


@pytest.mark.parametrize("check", [True, False])
def test_a_control_node_without_the_ca_of_the_host_is_refused(ask, ours, theirs, tmp_path, check):
    """A second operator would make another CA, and give the hosts certificates that nobody accepts."""
    ask(certificate=ours.sign(ask()["request"]))
    before = files(tmp_path)
    with pytest.raises(OpsError, match=r"trusts 1 CA\(s\), and this control node has none"):
        ask(check=check, authorities=[], issuer=None)
    with pytest.raises(OpsError, match=r"this control node has another one: .*erlmcp_tls_ca_adopt=true"):
        ask(check=check, authorities=[theirs.text], issuer=theirs.text)
    assert files(tmp_path) == before


def test_the_same_ca_in_another_form_is_the_same(ask, ours, tmp_path):
    ask(certificate=ours.sign(ask()["request"]))
    assert not ask(authorities=[f"# ours\n{ours.text.strip()}"], check=True)["due"]


def test_files_of_the_user(ask, ours, tmp_path):
    asked = ask(dir=str(tmp_path / "elsewhere"))["request"]
    key = (tmp_path / "elsewhere" / "pending" / "key.pem").read_text()
    own = {"certificate": ours.sign(asked), "private_key": key, "issuer": None}
    assert ask(**own)["changed"]
    assert not ask(**own)["changed"]
    assert key not in str(ask(**own))
    with pytest.raises(OpsError, match="private_key is given without a certificate"):
        ask(private_key=key)


def test_modes_that_were_changed_are_put_right(ask, ours, tmp_path):
    ask(certificate=ours.sign(ask()["request"]))
    (tmp_path / "certs" / "current" / "key.pem").chmod(0o644)
    assert ask(check=True)["changed"]
    assert ask()["changed"]
    assert not ask()["changed"]
    assert (tmp_path / "certs" / "key.pem").stat().st_mode & 0o777 == 0o640


def plain_keys(tmp_path):
    """The files on disk that hold a private key anybody can use."""
    found = (tmp_path / "certs").rglob("*")
    return [each for each in found if each.is_file() and not each.is_symlink() and b"PRIVATE" in each.read_bytes()]


def test_keys_are_nowhere_on_disk_when_they_are_encrypted(ask, ours, tmp_path, memory):
    encrypted = {"credentials_dir": str(memory)}
    asked = ask(**encrypted)
    assert not plain_keys(tmp_path)
    done = ask(certificate=ours.sign(asked["request"]), **encrypted)
    assert (done["changed"], done["due"]) == (True, [])
    laid = files(tmp_path)
    assert "PRIVATE" in laid["key.pem"]
    assert laid["both.pem"] == laid["cert.pem"] + laid["key.pem"]
    assert not plain_keys(tmp_path)
    assert not (memory / "pending").exists()
    again = ask(**encrypted)
    assert (again["changed"], again["set"]) == (False, done["set"])


def test_keys_of_all_sets_are_encrypted_and_put_back_without_another_set(ask, ours, tmp_path, memory):
    encrypted = {"credentials_dir": str(memory)}
    ask(certificate=ours.sign(ask()["request"]))
    last = ask(certificate=ours.sign(ask(renew="always")["request"]))
    before = files(tmp_path)
    assert len(plain_keys(tmp_path)) == 4
    predicted = ask(check=True, **encrypted)
    assert len(plain_keys(tmp_path)) == 4
    there = ask(**encrypted)
    assert predicted["diff"] == there["diff"]
    assert there["diff"]["after"].endswith("private keys: encrypted on disk\n")
    assert (there["changed"], there["set"]) == (True, last["set"])
    assert files(tmp_path) == before
    assert not plain_keys(tmp_path)
    assert not ask(**encrypted)["changed"]
    back = ask()
    assert (back["changed"], back["set"]) == (True, last["set"])
    assert files(tmp_path) == before
    assert len(plain_keys(tmp_path)) == 4
    assert not list(memory.iterdir())
    assert not list((tmp_path / "certs").rglob("*.cred"))
    assert not ask()["changed"]


def test_keys_of_sets_that_are_gone_are_not_left_in_memory(ask, ours, memory):
    for _round in range(5):
        ask(certificate=ours.sign(ask(renew="always", credentials_dir=str(memory))["request"]), credentials_dir=memory)
    # The current set, the one before, and two more.
    assert len(list(memory.iterdir())) == 2 * 4


def test_keys_that_have_not_been_decrypted_since_boot_are_put_back(ask, ours, tmp_path, memory):
    encrypted = {"credentials_dir": str(memory)}
    done = ask(certificate=ours.sign(ask(**encrypted)["request"]), **encrypted)
    before = files(tmp_path)
    for each in memory.iterdir():
        each.unlink()
    assert ask(check=True, **encrypted)["changed"]
    again = ask(**encrypted)
    assert (again["changed"], again["due"], again["set"]) == (True, [], done["set"])
    assert files(tmp_path) == before


def test_keys_that_the_hosts_key_does_not_open(ask, ours, runner, tmp_path, memory):
    encrypted = {"credentials_dir": str(memory)}
    done = ask(certificate=ours.sign(ask(**encrypted)["request"]), **encrypted)
    runner.key = "after the disk was restored"
    # They are still in memory, from where they are encrypted anew.
    assert ask(**encrypted)["changed"]
    again = ask(**encrypted)
    assert (again["changed"], again["set"]) == (False, done["set"])
    # After a boot they are gone: another certificate is due, as on a host that never had one.
    runner.key = "after another one"
    for each in memory.iterdir():
        each.unlink()
    asked = ask(**encrypted)
    assert asked["due"] == ["missing"]
    assert ask(certificate=ours.sign(asked["request"]), **encrypted)["due"] == []
    assert not ask(**encrypted)["changed"]


def test_what_is_due_and_is_not_renewed_is_warned_of(ask, ours, warnings):
    ask(certificate=ours.sign(ask()["request"], days=9), renew_days=5)
    assert warnings == []
    ends = ask()["not_after"]
    assert len(warnings) == 1
    assert f"ends {ends}, is due (expires): run the playbook rotate_tls" in warnings[0]
    ask(renew="due")
    assert len(warnings) == 1
