# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Differences without the secrets in them, neither the new nor the old ones."""

from __future__ import annotations

import re

from .._erlang.terms import format_term

MASK = "********"
_HAND_MADE = "(made by hand; not shown, as it may hold secrets that only its author knows)\n"


def secret_forms(secrets):
    """Return the secrets in every form in which they may stand in a file: plain, in Erlang, and in a shell."""
    forms = set()
    for secret in secrets:
        if secret:
            forms |= {secret, format_term(str(secret))[1:-1], secret.replace("'", "'\"'\"'")}
    return sorted(forms, key=len, reverse=True)


def mask(text, forms):
    """Return ``text`` with each of ``forms`` replaced."""
    for form in forms:
        text = text.replace(form, MASK)
    return text


def diffs(before, after, forms, directory, hand_made=False):
    """Return Ansible's ``diff``, one element for each file that differs.

    A line that held another secret than the new one, which we no longer know, is recognised by what is around it.

    :param before: name to bytes or ``None``.
    :param after: name to bytes.
    :param directory: for the headers.
    :param hand_made: ``before`` is not of our making, so there is no telling what in it is secret.
    """
    found = []
    for name, content in after.items():
        if before.get(name) == content:
            continue
        old, new = _text(before.get(name)), _text(content)
        old = _HAND_MADE if hand_made and old else mask(_mask_old(old, new, forms), forms)
        found.append(
            {
                "before": old,
                "after": mask(new, forms),
                "before_header": f"{directory}/{name}",
                "after_header": f"{directory}/{name}",
            }
        )
    return found


def lines_diff(before, after, header, forms):
    """Return Ansible's ``diff`` of two lists of lines, as a list of at most one element."""
    if before == after:
        return []
    texts = ("".join(f"{mask(line, forms)}\n" for line in lines) for lines in (before, after))
    return [{**dict(zip(("before", "after"), texts)), "before_header": header, "after_header": header}]


def _mask_old(old, new, forms):
    for line in dict.fromkeys(new.splitlines()):
        masked = mask(line, forms)
        if masked != line:
            around = "(.+)".join(map(re.escape, masked.split(MASK)))
            pattern = re.compile(rf"^(?!{re.escape(line)}$){around}$", re.MULTILINE)
            old = pattern.sub(lambda _match, masked=masked: f"{masked} (old)", old)
    return old


def _text(content):
    return "" if content is None else content.decode("utf-8", "replace")
