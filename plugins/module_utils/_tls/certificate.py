# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Key, certificate and trusted authorities of a host: one set, exchanged together while the node serves.

The private key is made here and never leaves the host; what leaves it is a request, and a certificate comes back.
"""

from __future__ import annotations

import datetime
import os
import re
import shutil
import time

from .._core.errors import OpsError
from .._core.files import read_if_there, write_atomically
from .._core.scratch import scratch
from .._core.sets import Sets, group_id
from .._erlang.node import Node, Unreachable
from .keys import Keys
from .openssl import OpenSSL
from .plan import Held, days_left, is_renewed, lacking, reasons
from .serving import host_context, prove_served

CERTIFICATE, KEY, AUTHORITIES, BOTH = FILES = ("cert.pem", "key.pem", "ca.pem", "both.pem")
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)
_PENDING = "pending"
_KEPT_SETS = 2
# OTP keeps the files of PEM it has read, for its listeners and for its distribution, until it is told otherwise or, by
# its default, for two minutes. The function for that, ssl:clear_pem_cache/0, leaves the distribution out.
_READ_AGAIN = (
    "[gen_server:call(Cache, {unconditionally_clear_pem_cache, self()}) || Kind <- [normal, dist],"
    " Cache <- [ssl_pem_cache:name(Kind)], whereis(Cache) =/= undefined]"
)


def certificate(module, runner):
    """Bring the certificate of this host to what is wanted; return the module's result."""
    result = Keeper(module.params, runner, module.check_mode).run()
    due = result["due"]
    if due and result["not_after"] and not is_renewed(due, module.params["renew"]):
        module.warn(
            f"the certificate in {module.params['dir']}, which ends {result['not_after']}, is due ({', '.join(due)}): "
            "run the playbook rotate_tls"
        )
    return result


def authorities_in(text):
    """Return the certificates of a PEM text, each as its base64 without spaces."""
    return {b"".join(found.split()) for found in _PEM.findall(text)}


class Keeper:
    """One call of the module."""

    def __init__(self, params, runner, check_mode):
        self.params = params
        self.runner = runner
        self.check_mode = check_mode
        self.openssl = OpenSSL(runner)
        self.sets = Sets(params["dir"], group_id(params["group"], may_lack=check_mode), FILES)
        self.memory = params["credentials_dir"]
        self.keys = Keys(self.sets, (KEY, BOTH), self.memory, runner)
        self.now = int(time.time())
        self.authorities = "".join(f"{text.strip()}\n" for text in params["authorities"]).encode()

    def run(self):
        held, files = self._observe()
        self._refuse_strange_authorities(files[AUTHORITIES])
        if not self.authorities and not self.check_mode:
            raise OpsError("authorities is empty: give at least one certificate that is trusted", kind="input")
        due = reasons(held, self.params["names"], self.now, self.params["renew_days"])
        strays = self.keys.strays()
        in_order = not strays and self._is_in_order()
        wanted, request = None, None
        if self.params["certificate"]:
            wanted = self._given(files)
        elif self.params["private_key"]:
            raise OpsError("private_key is given without a certificate", kind="input")
        elif is_renewed(due, self.params["renew"]):
            request = self._request()
        elif files[AUTHORITIES] != self.authorities:
            wanted = {**files, AUTHORITIES: self.authorities}
        elif not in_order:
            wanted = files
        changed = request is not None or (wanted is not None and (wanted != files or not in_order))
        if wanted is not None and changed:
            held = self._lay_down(wanted, files)
            due = reasons(held, self.params["names"], self.now, self.params["renew_days"])
        return {
            "changed": changed,
            "due": due,
            "request": request or None,
            "set": None if request is not None or (changed and self.check_mode) else self.sets.slots.state().current,
            **self._shown(held),
            "diff": {
                "before": self._text(files) + (f"private keys: not all {self.keys.form}\n" if strays else ""),
                "after": self._text(wanted or files, request is not None)
                + (f"private keys: {self.keys.form}\n" if strays else ""),
            },
        }

    def _refuse_strange_authorities(self, trusted):
        """Refuse to give the host other authorities than it trusts: who is not given them too is cut off from it."""
        known = authorities_in(trusted or b"")
        if not known or known & authorities_in(self.authorities):
            return
        raise OpsError(
            f"{os.path.join(self.params['dir'], AUTHORITIES)} trusts {len(known)} CA(s), and this control node has "
            f"{'another one' if self.authorities else 'none'}: other hosts and clients would not accept what it "
            "issues. Copy the directory of the CA (erlmcp_tls_ca_dir) from the control node that made it; with "
            "certificates of your own, keep the old one in erlmcp_tls_authority_files until all have the new. If the "
            "CA is lost, replace it: run introduce_ca with -e erlmcp_tls_ca_adopt=true and an empty erlmcp_tls_ca_dir, "
            "then replace_ca and retire_ca",
            kind="authorities",
        )

    def _observe(self):
        current = self.sets.slots.state().current
        files = {name: current and self.keys.read(current, name) for name in FILES}
        if not all(files.values()):
            return Held(), dict.fromkeys(FILES)
        return self._held(files), files

    def _held(self, files):
        """Return what these files are, and refuse nothing."""
        try:
            found = self.openssl.read(files[CERTIFICATE].decode())
            fits = self.openssl.public_key(files[KEY].decode()) == found.public_key
        except (OpsError, UnicodeDecodeError):
            return Held()
        with scratch("erlmcp-certificate") as directory:
            paths = {}
            for name, content in (
                (CERTIFICATE, files[CERTIFICATE]),
                (AUTHORITIES, self.authorities),
                ("issuer.pem", (self.params["issuer"] or "").encode()),
            ):
                paths[name] = os.path.join(directory, name)
                write_atomically(paths[name], content)
            problem = None
            for purpose in ("sslserver", "sslclient"):
                problem = problem or self.openssl.problem(paths[CERTIFICATE], paths[AUTHORITIES], purpose)
            by_issuer = not self.params["issuer"] or not self.openssl.problem(paths[CERTIFICATE], paths["issuer.pem"])
        # That it has ended, or not begun, is told by its dates.
        return Held(found, fits, problem, by_issuer or found.not_after <= self.now)

    def _given(self, files):
        """Return the set with the certificate that was given, or refuse it."""
        given = {
            CERTIFICATE: f"{self.params['certificate'].strip()}\n".encode(),
            KEY: self._own_key(files),
            AUTHORITIES: self.authorities,
        }
        given[BOTH] = given[CERTIFICATE] + given[KEY]
        if given == files:
            return files
        held = self._held(given)
        if held.certificate is None:
            raise OpsError("certificate or private_key is no PEM text that openssl can read", kind="input")
        problems = {
            "key": "the private key is not that of the certificate",
            "untrusted": f"it does not verify with the authorities that are given: {held.problem}",
            "expired": "it has ended",
            "names": f"it lacks {', '.join(lacking(held.certificate, self.params['names']))}",
            "issuer": "the issuing authority did not issue it",
        }
        wrong = [problems[each] for each in reasons(held, self.params["names"], self.now, 0) if each in problems]
        if wrong:
            raise OpsError(
                f"certificate {held.certificate.serial} cannot be used: {'; '.join(wrong)}. Nothing was changed",
                kind="certificate",
            )
        return given

    def _own_key(self, files):
        if self.params["private_key"]:
            return f"{self.params['private_key'].strip()}\n".encode()
        pending = read_if_there(self._pending(KEY))
        if pending is None and files[KEY] is None:
            raise OpsError("certificate is given without private_key, and this host has asked for none", kind="input")
        # After a run that was killed the certificate may be laid down already.
        return pending or files[KEY]

    def _request(self):
        """Return a request for another certificate with a key of its own; empty in check mode."""
        if self.check_mode:
            return ""
        self.sets.prepare()
        os.makedirs(os.path.dirname(self._pending(KEY)), mode=0o700, exist_ok=True)
        if read_if_there(self._pending(KEY)) is None:
            write_atomically(self._pending(KEY), self.openssl.new_key().encode(), mode=0o600)
        return self.openssl.request(
            self._pending(KEY), self.params["common_name"] or self.params["names"][0], self.params["names"]
        )

    def _lay_down(self, wanted, files):
        if self.check_mode:
            return self._held(wanted)
        self.sets.prepare()
        for name, file in self.keys.strays():
            self.keys.convert(name, file)
        if wanted == files and self._is_in_order():
            return self._held(wanted)
        name = self.sets.new_name(wanted)
        self.sets.add(name, wanted, self.keys.writer(name))
        self.sets.slots.stage(name)
        self.sets.slots.activate()
        for file in FILES:
            if not self.sets.is_linked(file):
                self.sets.link(file, f"{datetime.datetime.now(datetime.timezone.utc):%Y%m%dT%H%M%SZ}")
        for directory in filter(None, (self.params["dir"], self.memory)):
            shutil.rmtree(os.path.join(directory, _PENDING), ignore_errors=True)
        self.sets.prune(_KEPT_SETS)
        self.keys.forget()
        held = self._held(wanted)
        self._let_the_node_read_again(held)
        return held

    def _let_the_node_read_again(self, held):
        if not self.params["node"]:
            return
        try:
            Node(self.params["node"], self.runner).evaluate(_READ_AGAIN)
        except Unreachable:
            # It reads them when it starts.
            return
        context = host_context(self.params["dir"])
        for port in self.params["ports"] if self._is_in_use() else []:
            prove_served(port, held.certificate.fingerprint, context)

    def _is_in_use(self):
        """Whether the config that the node runs with names the certificate. Otherwise a restart is due."""
        config = read_if_there(os.path.join(self.params["node"]["config_dir"], "sys.config")) or b""
        return os.path.join(self.params["dir"], CERTIFICATE).encode() in config

    def _is_in_order(self):
        current = self.sets.slots.state().current
        return (
            current is not None
            and self.sets.is_intact(current, FILES)
            and all(self.sets.is_linked(name) for name in FILES)
        )

    def _pending(self, name):
        return os.path.join(self.memory or self.params["dir"], _PENDING, name)

    def _shown(self, held):
        found = held.certificate
        if found is None:
            return {"not_after": None, "days_left": None, "serial": None, "fingerprint": None}
        return {
            "not_after": _moment(found.not_after),
            "days_left": days_left(found.not_after, self.now),
            "serial": found.serial,
            "fingerprint": found.fingerprint,
        }

    def _text(self, files, is_asked_for=False):
        """Return for the diff what a set is, without the key."""
        if is_asked_for:
            return f"another certificate for {', '.join(self.params['names'])}\n"
        if not files[CERTIFICATE]:
            return ""
        try:
            found = self.openssl.read(files[CERTIFICATE].decode())
        except (OpsError, UnicodeDecodeError):
            return "no certificate that can be read\n"
        trusted = [
            self.openssl.read(f"{block}-----END CERTIFICATE-----").fingerprint[:16]
            for block in (files[AUTHORITIES] or b"").decode().split("-----END CERTIFICATE-----")[:-1]
        ]
        return (
            f"certificate {found.serial} for {', '.join(sorted(found.names))}, until {_moment(found.not_after)}\n"
            f"trusted authorities: {', '.join(trusted)}\n"
        )


def _moment(seconds):
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
