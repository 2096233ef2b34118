"""Templates and images of pages; imported where a page is made, since templates are a library of their own."""

from __future__ import annotations

import base64

import jinja2
from markupsafe import Markup

from pinnsolve.report.tables import plain


def environment() -> jinja2.Environment:
    """Return the Jinja2 environment of all pages: everything is escaped, nothing may be undefined."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("pinnsolve.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalized,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def encoded(svg: bytes) -> Markup:
    """Return a figure as it stands in the address of an image, in base64."""
    return Markup(base64.b64encode(svg).decode("ascii"))


def _finalized(value: object) -> object:
    """Take invisible characters out of every text on its way into the page; markup of our own stays."""
    return plain(value) if type(value) is str else value
