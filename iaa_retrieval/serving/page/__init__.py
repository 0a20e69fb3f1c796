"""The search page: HTML, a style sheet, a script and an icon, which ask nothing of any other host."""

from importlib.resources import files

_FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.svg": ("page.svg", "image/svg+xml"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
}


def page_files() -> dict[str, tuple[bytes, str]]:
    """What the service serves beside its interface.

    The files have neither inline scripts nor inline styles, so they work under
    ``Content-Security-Policy: default-src 'self'``. They name each other and the interface relatively, so the service
    may stand under any prefix.

    Returns:
        By path, the content and its media type.
    """
    folder = files(__name__)
    return {path: (folder.joinpath(name).read_bytes(), media_type) for path, (name, media_type) in _FILES.items()}
