# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Variables that are nearly one of the collection: nobody reads them, and nobody says so. Pure: no I/O."""

from __future__ import annotations

_PREFIX = "erlmcp_"


def misspelt(names, known):
    """Return a problem for each name that is one of the collection but for a letter, or for ``_``.

    What is further off may be a variable that the inventory has for itself.

    :param names: of all variables of a host.
    :param known: names of the collection's.
    """
    found = []
    for name in sorted(name for name in names if name.startswith(_PREFIX) and name not in known):
        near = next((each for each in sorted(known) if _are_near(_letters(name), _letters(each))), None)
        if near:
            found.append(f"{name} is no variable of the collection: write {near}, or give your own another name")
    return found


def _letters(name):
    return name.replace("_", "").lower()


def _are_near(one, other):
    one, other = sorted((one, other), key=len)
    if other in (one, f"{one}es"):
        return True
    start = next((at for at, (a, b) in enumerate(zip(one, other)) if a != b), len(one))
    rest, other_rest = one[start:], other[start:]
    exchanged = rest[:2] == other_rest[1::-1] and rest[2:] == other_rest[2:]
    return exchanged or other_rest[1:] in (rest, rest[1:]) and len(other) - len(one) <= 1
