"""Take a picture of the search page of a running service: ``python tests/page_screenshot.py ADDRESS FILE.png``."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from chromium import Chromium, find_browser


def main() -> None:
    parser = argparse.ArgumentParser(description="A picture of a search page, taken by headless Chromium.")
    parser.add_argument("address", help="with a query: http://127.0.0.1:8081/?query=how+to+build+a+wheel")
    parser.add_argument("file", type=Path)
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--width", type=int, default=1360, help="pixels (default: 1360)")
    parser.add_argument("--height", type=int, help="pixels from the top (default: the whole page)")
    options = parser.parse_args()
    if find_browser() is None:
        parser.error("no Chromium here; on Debian: apt-get install chromium")
    with tempfile.TemporaryDirectory() as profile, Chromium(Path(profile)) as browser:
        browser.display(dark=options.dark, width=options.width)
        browser.open(options.address)
        browser.wait_for("document.body.dataset.state !== 'loading'")
        state = browser.run("document.body.dataset.state")
        said = browser.run("document.querySelector('main').innerText")
        if state not in ("start", "done"):
            parser.exit(1, f"the page shows no results: {said}\n")
        browser.screenshot(options.file, dark=options.dark, width=options.width, height=options.height)


if __name__ == "__main__":
    main()
