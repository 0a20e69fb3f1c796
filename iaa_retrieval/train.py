"""``python -m iaa_retrieval.train``: tune a bi-encoder or a cross-encoder."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from iaa_retrieval.cli import Verb, device_option, precision_option
from iaa_retrieval.training.options import (
    DEFAULT_BATCH_SIZE,
    DEFAULT_METHOD,
    DEFAULT_NEGATIVES,
    DEV_METRICS,
    DISTILLATION_LOSSES,
    LOSSES,
    TrainOptions,
)
from iaa_retrieval.tuning.methods.option import MethodName, dimension_options


def _read_peft_config(ctx: click.Context, param: click.Parameter, value: Any) -> dict[str, Any] | None:
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


def _read_config(ctx: click.Context, param: click.Parameter, path: str | None) -> None:
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


def _options(kind: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The options of one kind of model; both kinds share nearly all of them."""
    cross = kind == "cross-encoder"
    own = "  [default: the backbone's own prompt, if it has one; '' means none]"
    options = [
        click.option(
            "--config",
            type=click.Path(dir_okay=False),
            is_eager=True,
            expose_value=False,
            callback=_read_config,
            help="YAML file with any of these options; the command line wins.",
        ),
        click.option(
            "--collection",
            required=True,
            metavar="ID-or-DIR",
            help="ir_datasets id, directory in BEIR layout, or 'embedded'.",
        ),
        click.option(
            "--split", help="Training split of the collection.  [default: that of its name, else the one called train]"
        ),
        click.option(
            "--backbone",
            default="all-MiniLM-L6-v2",
            show_default=True,
            metavar="PATH-or-HUB-ID",
            help="Pretrained encoder, or a checkpoint that is a whole network (method full, or exported as merged).",
        ),
        click.option(
            "--method",
            type=MethodName(),
            default=DEFAULT_METHOD,
            show_default=True,
            help="What is trained; --list-methods explains them.",
        ),
        click.option("--budget", metavar="SHARE", help="Share of the backbone's parameters to train.  [default: 0.5%]"),
        *dimension_options(),
        click.option(
            "--scaling",
            type=float,
            help="Factor on what bottlenecks add; LoRA adds twice as much.  [default: 1]",
        ),
        click.option("--activation", metavar="NAME", help="Non-linearity of bottlenecks, e.g. gelu.  [default: relu]"),
        click.option(
            "--peft-config",
            type=click.UNPROCESSED,
            callback=_read_peft_config,
            metavar="FILE.json",
            help='Any other PEFT method: its "peft_type" and fields. Replaces --method and the options above.',
        ),
        click.option("--output", required=True, type=click.Path(file_okay=False), help="Checkpoint directory to make."),
        click.option(
            "--negatives",
            type=click.Path(dir_okay=False),
            metavar="RUN",
            help="TREC run of the training queries to take hard negatives from."
            + ("  [required without --teacher]" if cross else "  [default: in-batch negatives only]"),
        ),
        click.option(
            "--negatives-per-query",
            type=int,
            help=f"Hard negatives per example.  [default: {DEFAULT_NEGATIVES[kind]}]",
        ),
        click.option(
            "--negative-ranks",
            nargs=2,
            type=int,
            default=(1, 100),
            show_default=True,
            help="First and last rank that negatives are taken from.",
        ),
        click.option(
            "--negative-margin",
            type=float,
            help="Leave out negatives that score above the query's positive minus this.  [default: keep them]",
        ),
        click.option(
            "--teacher",
            type=click.Path(dir_okay=False),
            metavar="RUN",
            help="Distil: TREC run of the training queries whose scores are learnt; without --negatives its documents "
            "are the negatives.",
        ),
        click.option(
            "--distillation",
            type=click.Choice(DISTILLATION_LOSSES),
            help="How the teacher's scores are learnt.  [default: kl]",
        ),
        click.option(
            "--distillation-weight",
            type=float,
            help="Share of that in the loss; the rest learns from the judgments.  [default: 0.5]",
        ),
        click.option(
            "--teacher-temperature",
            type=float,
            help="Divides the teacher's scores; 0.05 suits cosines.  [default: 1]",
        ),
        click.option("--train-queries", type=int, help="Train on so many queries, drawn by seed.  [default: all]"),
        click.option("--dev-split", help="Split whose queries choose the best checkpoint."),
        click.option(
            "--dev-fraction",
            type=float,
            default=0.0,
            help="Hold out this share of the training queries instead, by seed.",
        ),
        click.option(
            "--dev-run",
            type=click.Path(dir_okay=False),
            metavar="RUN",
            help="First-stage run of the dev queries.  [default: the --negatives run]",
        ),
        click.option("--dev-queries", type=int, default=300, show_default=True, help="The most dev queries to score."),
        click.option(
            "--dev-depth",
            type=int,
            default=50,
            show_default=True,
            help=f"Hits per dev query that are {'re-ranked' if cross else 'put into the dev corpus'}.",
        ),
        click.option(
            "--dev-metric",
            type=click.Choice(DEV_METRICS),
            default=DEV_METRICS[0],
            show_default=True,
            help="Which of the two dev scores chooses the checkpoint.",
        ),
        click.option("--epochs", type=float, default=4.0, show_default=True, help="Passes over the training queries."),
        click.option("--max-steps", type=int, default=-1, help="Stop after this many steps, whatever the epochs."),
        click.option(
            "--eval-steps", type=int, help="Score the dev queries every so many steps.  [default: each epoch]"
        ),
        click.option("--patience", type=int, help="Stop after so many dev scores without a better one."),
        click.option(
            "--lr",
            type=float,
            help="Peak learning rate.  [default: 1e-3, for full fine-tuning " + ("5e-5]" if cross else "3e-5]"),
        ),
        click.option("--batch-size", type=int, help=f"Queries per step.  [default: {DEFAULT_BATCH_SIZE[kind]}]"),
        click.option(
            "--grad-cache",
            type=int,
            metavar="TEXTS",
            help="Hold the activations of so many texts at once (gradient caching): memory for time.  [default: all]",
        ),
        click.option("--warmup", type=float, default=0.1, show_default=True, help="Share of the steps to warm up."),
        click.option(
            "--weight-decay", type=float, default=0.01, show_default=True, help="AdamW weight decay, of all but biases."
        ),
        click.option(
            "--dropout",
            type=float,
            help="Dropout inside the backbone.  [default: its own for full fine-tuning, else none, which is faster]",
        ),
        click.option("--query-prefix", help="Put before every query, with a space." + ("" if cross else own)),
        click.option("--document-prefix", help="Put before every document, with a space." + ("" if cross else own)),
        click.option(
            "--query-max-length",
            type=int,
            help=f"Tokens of a query.  [default: {'64' if cross else 'what the backbone says, else 64'}]",
        ),
        click.option(
            "--document-max-length",
            type=int,
            help="Tokens of a query and document together.  [default: 256]"
            if cross
            else "Tokens of a document.  [default: what the backbone says, else 256]",
        ),
        click.option(
            "--train-max-length",
            type=int,
            help="The same during training, to train faster.  [default: --document-max-length]",
        ),
        click.option("--seed", type=int, default=42, show_default=True, help="Seed of everything random."),
        precision_option,
        device_option,
        click.option(
            "--report-to", default="none", show_default=True, help="Trackers, e.g. tensorboard (OUTPUT/tensorboard)."
        ),
        click.option("--resume", is_flag=True, help="Continue an interrupted run of the same command."),
        click.option(
            "--overwrite",
            is_flag=True,
            help="Discard an interrupted run, and replace a finished checkpoint at its end.",
        ),
    ]
    if cross:
        options.append(
            click.option(
                "--loss",
                type=click.Choice(LOSSES),
                default=LOSSES[0],
                show_default=True,
                help="How a positive is set against its negatives.",
            )
        )
    else:
        options += [
            click.option(
                "--temperature", type=float, default=0.05, show_default=True, help="Divides the similarities."
            ),
            click.option(
                "--pooling",
                type=click.Choice(("mean", "cls", "last")),
                help="Token vectors to one.  [default: the backbone's own, else mean]",
            ),
            click.option(
                "--normalize/--no-normalize",
                default=None,
                help="Unit-length vectors.  [default: the backbone's own, else yes]",
            ),
            click.option(
                "--separate-encoders",
                is_flag=True,
                help="Two adapters on the one backbone, one for queries and one for documents.",
            ),
            click.option(
                "--dev-documents",
                type=int,
                default=2000,
                show_default=True,
                help="Documents in the dev corpus.",
            ),
        ]

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def _list_methods(ctx: click.Context, param: click.Parameter, form: str | None) -> None:
    """``--list-methods``: print the registry and end."""
    if form is None:
        return
    from iaa_retrieval.tuning.listing import COSTS_FILE, methods_page, methods_table, read_costs

    click.echo(methods_page(read_costs(COSTS_FILE)) if form == "markdown" else methods_table(), nl=False)
    ctx.exit()


list_methods_option = click.option(
    "--list-methods",
    type=click.Choice(("table", "markdown")),
    is_flag=False,
    flag_value="table",
    is_eager=True,
    expose_value=False,
    callback=_list_methods,
    help="Print all methods and end; 'markdown' prints the documentation page (docs/methods.md).",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@list_methods_option
def main() -> None:
    """Tune a retriever: a bi-encoder for first-stage search, or a cross-encoder for re-ranking.

    \b
    Example (BEIR SciFact, IAA-L with 0.5% of the parameters):
      python -m iaa_retrieval.train bi-encoder --collection beir/scifact/train \\
          --dev-fraction 0.1 --method iaa-l --budget 0.5% --output runs/scifact-iaa-l
    """


@main.command("bi-encoder", cls=Verb)
@_options("bi-encoder")
@list_methods_option
def bi_encoder(**values: Any) -> None:
    """Train query and document vectors with in-batch and hard negatives."""
    _train("bi-encoder", values)


@main.command("cross-encoder", cls=Verb)
@_options("cross-encoder")
@list_methods_option
def cross_encoder(**values: Any) -> None:
    """Train a re-ranker: one positive against the negatives of its query."""
    _train("cross-encoder", values)


def _train(kind: str, values: dict[str, Any]) -> None:
    source = click.get_current_context().get_parameter_source("method")
    if values["peft_config"] is not None and source is ParameterSource.DEFAULT:
        values["method"] = None
    from iaa_retrieval.training.run import train_retriever

    own = {field.name for field in fields(TrainOptions)}
    others = {name: values.pop(name) for name in set(values) - own}
    dimensions = {name: value for name, value in others.items() if value is not None}
    result = train_retriever(TrainOptions(kind=kind, dimensions=dimensions or None, **values))
    scores = "".join(f", dev {name} {value:.4f}" for name, value in result.dev_scores.items())
    click.echo(f"{result.output}: trained in {result.seconds:.0f} s{scores}")


if __name__ == "__main__":
    main(prog_name="python -m iaa_retrieval.train")
