"""``python -m iaa_retrieval.analyze``: instruments that show how tuning learns."""

from __future__ import annotations

import click


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Show how tuning learns; each instrument writes a figure (PNG, SVG), its data (CSV) and a table (text)."""


if __name__ == "__main__":
    main(prog_name="python -m iaa_retrieval.analyze")
