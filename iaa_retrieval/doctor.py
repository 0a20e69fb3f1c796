"""``python -m iaa_retrieval.doctor``: what is here, what is missing, and the command that fixes it."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import click

from iaa_retrieval.cli import Verb
from iaa_retrieval.jobs.doctor import diagnose


@click.command(cls=Verb)
@click.option("--check", is_flag=True, help="Also start Java with Pyserini's classes (a few seconds).")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def main(check: bool, as_json: bool) -> None:
    """Say what is installed, which Java and which precision are used, and how to get what is missing.

    The exit code is 1 when something is missing that nothing works without.
    """
    findings = diagnose(check)
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        width = max(len(finding.name) for finding in findings)
        for finding in findings:
            mark = "ok     " if finding.ok else "MISSING" if finding.required else "warning"
            click.echo(f"{mark}  {finding.name:<{width}}  {finding.value}")
            if finding.fix:
                click.echo(f"{'':9}{'':<{width}}  fix: {finding.fix}")
    if any(finding.required and not finding.ok for finding in findings):
        sys.exit(1)


if __name__ == "__main__":
    main(prog_name="python -m iaa_retrieval.doctor")
