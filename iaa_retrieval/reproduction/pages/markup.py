"""HTML and SVG from the templates in ``templates/``, with everything that is put into them escaped.

A line of a template that is indented goes on with the line before it: between two tags its line end is nothing,
anywhere else a space. So a template is laid out for its readers, and the page gets the line ends of the lines that are
not indented.
"""

from __future__ import annotations

import functools
import re
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.ext import Extension
from markupsafe import Markup


def render(template: str, **values: object) -> Markup:
    """Fill a template; a value stands in it as text, unless another template made it."""
    made = _environment().get_template(template).render(**values)
    # Quotation marks are written as html.escape does, by name. Such a reference is always the escaping's own: one in
    # a value has its & escaped.
    return Markup(made.replace("&#34;", "&quot;").replace("&#39;", "&#x27;"))


def asset(name: str) -> Markup:
    """The page's own style sheet or script, which is no text to be escaped."""
    return Markup(files(__package__).joinpath(name).read_text(encoding="utf-8"))


class _Folded(Extension):
    """Joins indented lines to those before them."""

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        return re.sub(r"\n +", " ", re.sub(r"(?<=[>}])\n +(?=[<{])", "", source))


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        extensions=[_Folded],
    )
    environment.filters["fixed"] = lambda number: f"{number:.1f}"
    return environment
