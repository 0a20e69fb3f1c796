"""Options of the command line that come from a file: ``--config`` and ``--peft-config``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click


def read_config(ctx: click.Context, param: click.Parameter, path: str | None) -> None:
    """``--config``: option names and values from YAML become defaults that the command line overrides."""
    if path is None:
        return
    import yaml

    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise click.UsageError(f"cannot read {path}: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise click.UsageError(f"{path} must hold option names and values, such as  method: iaa-l")
    values = {str(key).replace("-", "_"): value for key, value in values.items() if value is not None}
    known = {parameter.name for parameter in ctx.command.params if parameter.expose_value}
    # A saved train_config.yaml names its own kind, which the sub-command says already.
    if values.pop("kind", ctx.info_name) != ctx.info_name:
        raise click.UsageError(f"{path} is for another kind of model than {ctx.info_name}")
    unknown = sorted(set(values) - known)
    if unknown:
        raise click.UsageError(f"{path}: unknown options {', '.join(unknown)}")
    ctx.default_map = {**(ctx.default_map or {}), **values}


def read_peft_config(ctx: click.Context, param: click.Parameter, value: Any) -> dict[str, Any] | None:
    """``--peft-config``: a file's JSON object, which a saved train_config.yaml holds written out."""
    if value is None or isinstance(value, dict):
        return value
    try:
        found = json.loads(Path(value).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise click.UsageError(f"cannot read {value}: {error}") from error
    if not isinstance(found, dict):
        raise click.UsageError(f'{value} must hold a JSON object, such as {{"peft_type": "IA3"}}')
    return found
