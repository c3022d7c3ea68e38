"""Score captions against human captions: ``python -m eval PREDICTIONS REFERENCES``."""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields
from pathlib import Path

import jsonargparse
from docstring_parser import parse_from_object

from eval.evaluation import DEFAULT_PROTOCOLS, Evaluation, evaluate_files
from eval.metrics import METRIC_TITLES
from eval.protocols import find_protocol


@dataclass(frozen=True, kw_only=True)
class EvalConfig:
    """Score captions against human captions, on words and on characters."""

    predictions: Path
    """Captions to score: COCO-results JSON, JSONL or CSV."""
    references: Path
    """Human captions: AIC-ICC JSON or COCO captions JSON."""
    out: Path | None = None
    """Write scores, per picture too, with protocol, versions and file hashes, to this JSON file."""
    report: Path | None = None
    """Write a self-contained HTML page to this file."""
    images: Path | None = None
    """Folder of the pictures, for the report's thumbnails."""
    regions: Path | None = None
    """Regions file, for the boxes on the report's pictures."""
    protocols: tuple[str, ...] = DEFAULT_PROTOCOLS
    """How captions are cut and counted: aic-icc (jieba words, the headline), chars, coco-cn (words as the
    files separate them)."""
    allow_missing: bool = False
    """Score the pictures that have a caption when some have none; the rest are left out, not counted as 0."""
    allow_extra: bool = False
    """Pass over captions of pictures without references."""
    title: str = "Caption scores"
    """Heading of the report."""
    report_pictures: int = 300
    """Pictures in the report at most; of more, evenly spaced ranks by CIDEr, best and worst included."""

    def __post_init__(self) -> None:
        """Check what can be checked before any file is read."""
        for name in self.protocols:
            find_protocol(name)
        if self.report_pictures < 2:
            raise ValueError(f"report_pictures must be 2 or more, got {self.report_pictures}")
        if not self.report and (self.images or self.regions):
            raise ValueError("--images and --regions are for the report; name it with --report FILE")


def main(argv: list[str] | None = None) -> int:
    """Run the command; 0 scored, 1 refused with the reason on stderr, 2 usage."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    values = {field.name: arguments[field.name] for field in fields(EvalConfig)}
    try:
        config = EvalConfig(**{**values, "protocols": tuple(values["protocols"])})
    except ValueError as error:
        parser.error(str(error))
    try:
        run(config)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"eval: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def run(config: EvalConfig) -> Evaluation:
    """Score, print the table and write what was asked for."""
    if config.images and not config.images.is_dir():
        raise NotADirectoryError(f"--images {config.images}: wanted a folder of pictures")
    evaluation = evaluate_files(
        config.predictions,
        config.references,
        config.protocols,
        allow_missing=config.allow_missing,
        allow_extra=config.allow_extra,
    )
    sys.stdout.write("\n".join(table_lines(evaluation)) + "\n")
    if config.out:
        _write_whole(config.out, json.dumps(evaluation.to_json(), ensure_ascii=False, indent=1) + "\n")
        sys.stdout.write(f"Scores: {config.out}\n")
    if config.report:
        from eval.report import render_report

        page = render_report(
            evaluation,
            title=config.title,
            images=config.images,
            regions=config.regions,
            max_pictures=config.report_pictures,
        )
        _write_whole(config.report, page)
        sys.stdout.write(f"Report: {config.report}\n")
    return evaluation


def table_lines(evaluation: Evaluation) -> Iterator[str]:
    """The score table, what was counted, and what was left out."""
    n_references = sum(len(texts) for texts in evaluation.references.values())
    yield f"{len(evaluation.captions)} pictures, {n_references} references"
    if evaluation.missing:
        yield f"LEFT OUT: {len(evaluation.missing)} reference pictures without a caption"
    if evaluation.extra:
        yield f"left out: {len(evaluation.extra)} captions without references"
    labels = [f"{scores.protocol} ({scores.unit})" for scores in evaluation.scores]
    width = max(map(len, labels))
    yield " " * width + "".join(f"{title:>9}" for title in METRIC_TITLES.values())
    for label, scores in zip(labels, evaluation.scores, strict=True):
        yield f"{label:<{width}}" + "".join(f"{scores.overall[name]:>9.4f}" for name in METRIC_TITLES)
    yield "BLEU and ROUGE-L lie in 0..1, CIDEr in 0..10. Words and characters cannot be compared."
    for scores in evaluation.scores:
        yield f"{scores.protocol}: {', '.join(scores.steps)}; {scores.version}"


def _parser() -> jsonargparse.ArgumentParser:
    """Required fields are positional, switches take no value; help is the fields' own text."""
    parser = jsonargparse.ArgumentParser(prog="python -m eval", description=EvalConfig.__doc__)
    parser.add_argument("--config", action="config", help="YAML file with any of these settings.")
    texts = {param.arg_name: param.description for param in parse_from_object(EvalConfig).params}
    for field in fields(EvalConfig):
        flags = list(dict.fromkeys([f"--{field.name}", f"--{field.name.replace('_', '-')}"]))
        help_text = texts[field.name]
        if field.default is MISSING:
            parser.add_argument(field.name, type=field.type, help=help_text)
        elif field.type is bool:
            parser.add_argument(*flags, action="store_true", help=help_text)
        elif isinstance(field.default, tuple):
            parser.add_argument(*flags, nargs="+", type=str, default=list(field.default), help=help_text)
        else:
            parser.add_argument(*flags, type=field.type, default=field.default, help=help_text)
    return parser


def _write_whole(path: Path, text: str) -> None:
    """Write aside, then rename: a reader never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
