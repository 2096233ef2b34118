"""Problem files to start from."""

from __future__ import annotations

import re
import tomllib

from pinnsolve.errors import InputError, unknown_name

_HEAD = """\
# A problem for pinnsolve. Check it with `pinnsolve check {name}`, solve it with `pinnsolve solve {name}`.
title = "{name}"
source = "where it comes from"
"""

_ODE = """\
tags = ["ode"]
fields = ["u"]                     # unknown functions, e.g. ["u", "v"]

[coordinates]
t = [0, 10]                        # ends: numbers, or text such as "2*pi"

[constants]
rate = 1

[equations]                        # one per field; derivatives: u_t, u_tt, or d(u, t)
growth = "u_t = rate*u*(1 - u)"

[[conditions]]                     # as many as the order in t
where = "t = 0"
equation = "u = 0.1"

[reference]
solver = "auto"                    # a classical solver; or: exact = {{ u = "..." }}, or: file = "data.npz"
"""

_LINE = """\
tags = ["time-dependent"]
fields = ["u"]                     # unknown functions, e.g. ["u", "v"]
# periodic = ["x"]                 # instead of conditions at the ends of x

[coordinates]                      # time is the coordinate named t
x = [0, 1]
t = [0, 1]

[constants]
k = 0.1

[equations]                        # derivatives: u_x, u_xx, u_xt, d(k*u_x, x), laplacian(u)
heat = "u_t = k*u_xx"

[[conditions]]                     # as many at t = 0 as the order in t
where = "t = 0"
equation = "u = sin(pi*x)"

[[conditions]]                     # "boundary" is every face of space; dn(u) = 0 insulates
where = "boundary"
equation = "u = 0"

# [invariants]                     # what shall not change in time
# mass = "integral(u)"

[reference]
solver = "auto"                    # a classical solver; or: exact = {{ u = "..." }}, or: file = "data.npz"
"""

_PLANE = """\
tags = ["elliptic"]
fields = ["u"]                     # unknown functions, e.g. ["u", "v", "p"]

[coordinates]
x = [0, 1]
y = [0, 1]

[equations]                        # derivatives: u_x, u_xy, laplacian(u), biharmonic(u), d((1 + x)*u_x, x)
poisson = "-laplacian(u) = 10*exp(-20*((x - 0.5)^2 + (y - 0.5)^2))"

[[conditions]]                     # a face ("x = 0"), "boundary", or a part: "y = 1 and x < 0.5"
where = ["x = 0", "x = 1"]
equation = "u = 0"

[[conditions]]                     # dn(u) is the derivative along the outward normal
where = ["y = 0", "y = 1"]
equation = "dn(u) + u = 0"

[reference]
solver = "auto"                    # a classical solver; or: exact = {{ u = "..." }}, or: file = "data.npz"
"""

KINDS = {"ode": _ODE, "1d-time": _LINE, "2d-steady": _PLANE}


def starting_text(name: str, like: str) -> str:
    """Return a commented problem file of a kind.

    Raises:
        InputError: there is no such kind.
    """
    if like not in KINDS:
        raise InputError(unknown_name("kind of problem", like, KINDS))
    return (_HEAD + KINDS[like]).format(name=name)


def copied_text(name: str, text: str) -> str:
    """Return a problem file's text under another title."""
    given = str(tomllib.loads(text)["title"]).replace("\\", " ").replace('"', "'")
    title = "".join(letter if letter.isprintable() else " " for letter in given)  # TOML takes no control characters
    renamed, count = re.subn(r"(?m)^title\s*=.*$", f'title = "{title}, as changed in {name}"', text, count=1)
    return renamed if count else text
