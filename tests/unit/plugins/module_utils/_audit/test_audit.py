# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module audit_rules against a kernel that may answer, be locked, or not be there. What is real is in molecule."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._audit import audit
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Completed

BY_HAND = "-w /etc/hostname -p wa -k by_hand"


class FakeKernel:
    """Keeps rules as lines, and lists them as auditctl does; ``broken`` is a path that it refuses."""

    def __init__(self, *lines, enabled=1, pid=1, refusal="", broken=None):
        self.lines = list(lines)
        self.status = f"enabled {enabled}\nfailure 1\npid {pid}\n"
        self.refusal = refusal
        self.broken = broken

    def run(self, argv):
        assert argv[0] == "auditctl"
        return getattr(self, f"_{argv[1].lstrip('-')}")(argv[2:])

    def _s(self, _words):
        return Completed(1, "", self.refusal) if self.refusal else Completed(0, self.status, "")

    def _l(self, _words):
        return Completed(0, "".join(f"{line}\n" for line in self.lines) or "No rules\n", "")

    def _a(self, words):
        if any(self.broken and self.broken in word for word in words):
            return Completed(255, "", "Error sending add rule data request (No such file or directory)\n")
        self.lines.append(" ".join(["-a", words[0], "-S", "all", *words[1:]]))
        return Completed(0, "", "")

    def _d(self, words):
        self.lines.remove(" ".join(["-a", *words]))
        return Completed(0, "", "")


class Host:
    """A host with auditd, whose rules' file is below a directory of the test."""

    def __init__(self, tmp_path):
        self.directory = tmp_path / "watched"
        self.directory.mkdir()
        self.file = tmp_path / "rules.d" / "50-erlmcp.rules"
        self.warnings = []

    def rule(self, key="erlmcp_config", **options):
        defaults = {"kind": "directory", "permissions": "wa", "filters": [], "enabled": True}
        return {"key": key, "path": str(self.directory), **defaults, **options}

    def apply(self, kernel, *rules, check=False, enabled=True):
        self.warnings = []
        params = {"rules": list(rules), "enabled": enabled}
        module = SimpleNamespace(params=params, check_mode=check, warn=self.warnings.append)
        return audit.audit_rules(module, kernel, str(self.file))


@pytest.fixture(name="installed")
def _installed(tmp_path, monkeypatch):
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "auditctl").touch(mode=0o755)
    monkeypatch.setattr(audit, "SEARCH_PATH", str(programs))


@pytest.fixture(name="host")
def _host(tmp_path):
    return Host(tmp_path)


@pytest.fixture(name="without_auditd")
def _without_auditd(monkeypatch, tmp_path):
    monkeypatch.setattr(audit, "SEARCH_PATH", str(tmp_path))


@pytest.mark.usefixtures("installed")
def test_rules_are_loaded_and_laid_down_and_then_left_alone(host):
    kernel = FakeKernel(BY_HAND)
    predicted = host.apply(kernel, host.rule(), check=True)
    assert kernel.lines == [BY_HAND]
    assert not host.file.exists()
    done = host.apply(kernel, host.rule())
    assert predicted == done
    assert (done["changed"], done["loaded"], done["recording"]) == (True, True, True)
    assert done["added"] == done["rules"] == [f"-a always,exit -F dir={host.directory} -F perm=wa -F key=erlmcp_config"]
    assert len(kernel.lines) == 2
    assert host.file.stat().st_mode & 0o777 == 0o640
    again = host.apply(kernel, host.rule())
    assert (again["changed"], again["loaded"], again["diff"], host.warnings) == (False, True, [], [])


@pytest.mark.usefixtures("installed")
def test_a_rule_that_was_taken_out_of_the_kernel_comes_back(host):
    kernel = FakeKernel()
    host.apply(kernel, host.rule())
    kernel.lines.clear()
    done = host.apply(kernel, host.rule())
    assert (done["changed"], len(done["added"]), len(kernel.lines)) == (True, 1, 1)
    assert [each["before_header"] for each in done["diff"]] == ["kernel"]


@pytest.mark.usefixtures("installed")
def test_all_is_taken_away_but_what_is_others(host):
    kernel = FakeKernel(BY_HAND)
    host.apply(kernel, host.rule())
    done = host.apply(kernel, host.rule(), enabled=False)
    assert (done["changed"], done["loaded"], len(done["removed"])) == (True, False, 1)
    assert kernel.lines == [BY_HAND]
    assert not host.file.exists()
    assert not host.apply(kernel, enabled=False)["changed"]


@pytest.mark.usefixtures("installed")
def test_a_kernel_without_audit_gets_the_file_and_a_warning(host):
    kernel = FakeKernel(refusal="Error - audit support not in kernel\nCannot open netlink audit socket\n")
    done = host.apply(kernel, host.rule())
    assert (done["changed"], done["loaded"], done["recording"]) == (True, False, False)
    assert host.file.exists()
    assert "Cannot open netlink audit socket" in host.warnings[0]
    assert not host.apply(kernel, host.rule())["changed"]


@pytest.mark.usefixtures("installed")
def test_locked_rules_wait_for_the_next_boot(host):
    kernel = FakeKernel(enabled=2)
    for changed in (True, False):
        done = host.apply(kernel, host.rule())
        assert (done["changed"], done["loaded"], done["locked"], done["added"]) == (changed, False, True, [])
        assert "reboot this host" in host.warnings[0]
    assert kernel.lines == []


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("state", [{"pid": 0}, {"enabled": 0}])
def test_a_kernel_that_nobody_listens_to_is_told_of(host, state):
    done = host.apply(FakeKernel(**state), host.rule())
    assert (done["loaded"], done["recording"]) == (True, False)
    assert "nobody records" in host.warnings[0]


@pytest.mark.usefixtures("without_auditd")
def test_without_auditd_check_mode_predicts_and_a_run_refuses(host):
    predicted = host.apply(FakeKernel(), host.rule(path="/not/there/yet", filters=["uid!=not-yet-made"]), check=True)
    assert (predicted["changed"], predicted["installed"], host.warnings) == (True, False, [])
    with pytest.raises(OpsError, match="auditd is not installed"):
        host.apply(FakeKernel(), host.rule())
    assert not host.apply(FakeKernel(), enabled=False)["changed"]


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"path": "/not/there"}, "needs the directory /not/there"),
        ({"path": "/not/there/file", "kind": "file"}, "needs the directory /not/there,"),
        ({"filters": ["uid!=nobody-of-this-name"]}, "the account 'nobody-of-this-name'"),
        ({"filters": ["gid!=no-group-of-this-name"]}, "the group 'no-group-of-this-name'"),
    ],
)
def test_what_the_kernel_would_refuse_is_refused_before(host, options, told):
    kernel = FakeKernel()
    with pytest.raises(OpsError, match=told):
        host.apply(kernel, host.rule(), host.rule(key="erlmcp_other", **options))
    assert kernel.lines == []
    assert not host.file.exists()


@pytest.mark.usefixtures("installed")
def test_a_rule_that_the_kernel_refuses_does_not_wait_on_disk_for_the_next_boot(host):
    with pytest.raises(OpsError, match="No such file or directory"):
        host.apply(FakeKernel(broken="erlmcp_config"), host.rule())
    assert not host.file.exists()


@pytest.mark.usefixtures("installed")
def test_a_link_to_a_directory_is_watched_as_that_directory(host, tmp_path):
    os.symlink(host.directory, tmp_path / "link")
    done = host.apply(FakeKernel(), host.rule(path=str(tmp_path / "link")))
    assert f"dir={host.directory} " in done["rules"][0]
    done = host.apply(FakeKernel(), host.rule(path=str(tmp_path / "link" / "unit"), kind="file"))
    assert f"path={host.directory}/unit " in done["rules"][0]


@pytest.mark.usefixtures("installed")
def test_rules_that_do_not_stay_are_told_of(host):
    class Forgetful(FakeKernel):
        def _a(self, _words):
            return Completed(0, "", "")

    with pytest.raises(OpsError, match="yet the kernel lists others"):
        host.apply(Forgetful(), host.rule())
