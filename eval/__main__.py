"""Score captions against human captions: ``python -m eval PREDICTIONS REFERENCES``."""

import gc
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import jsonargparse
import yaml
from docstring_parser import parse_from_object

from eval.evaluation import Evaluation, Settings, evaluate_files
from eval.scores_file import scores_text
from eval.segmentation import SegmentationCache
from eval.summary import summary_lines
from eval.tables import latex_tables, markdown_tables

OF_THE_REPORT = ("images", "title", "language", "report_pictures")
"""Settings that nothing else uses."""


@dataclass(frozen=True, kw_only=True)
class EvalConfig(Settings):
    """Score captions against human captions, on words and on characters.

    The first files hold the captions of one system each, the last one human captions.
    """

    files: tuple[Path, ...]
    """Captions to score (COCO results, JSON lines, CSV), a file a system; last, the human captions (AI
    Challenger, COCO, Karpathy's splits, lines of Flickr8k-CN and COCO-CN, JSON lines, CSV). Formats are
    recognised by content."""
    out: Path | None = None
    """Write scores, per picture too, with protocol, versions and file hashes, to this JSON file."""
    report: Path | None = None
    """Write a self-contained HTML page to this file."""
    markdown: Path | None = None
    """Write the score tables in Markdown to this file."""
    latex: Path | None = None
    """Write the score tables in LaTeX to this file."""
    images: Path | None = None
    """Folder of the pictures, for the report's thumbnails."""
    title: str = ""
    """Heading of the report; without it, "Caption scores" in the reader's language."""
    language: Literal["en", "zh"] = "en"
    """Language in which the report opens."""
    report_pictures: int = 300
    """Pictures in the report at most; of more, the best, the middle and the worst, and some between them."""
    processes: int = 0
    """Processes that cut sentences; 0 for one a core. The scores do not depend on it."""
    no_cache: bool = False
    """Cut every sentence again; else what jieba made of the same sentences is kept in ~/.cache/tushuo."""

    def __post_init__(self) -> None:
        """Check what can be checked before any file is read."""
        super().__post_init__()
        if len(self.files) < 2:
            raise ValueError("wanted one or more files of captions and, last, one of human captions")
        outputs = [path.absolute() for path in self.outputs().values()]
        for path in outputs:
            if outputs.count(path) > 1 or path in [file.absolute() for file in self.files]:
                raise ValueError(f"{path} is named for two purposes")
        if self.processes < 0:
            raise ValueError(f"processes must be 0 or more, got {self.processes}")
        if self.report_pictures < 2:
            raise ValueError(f"report_pictures must be 2 or more, got {self.report_pictures}")
        for field in fields(self):
            if field.name in OF_THE_REPORT and not self.report and getattr(self, field.name) != field.default:
                raise ValueError(f"--{field.name} is for the report; name it with --report FILE")

    def outputs(self) -> dict[str, Path]:
        """Option -> file to write, of those that were asked for."""
        named = {"out": self.out, "report": self.report, "markdown": self.markdown, "latex": self.latex}
        return {f"--{name}": path for name, path in named.items() if path}


def main(argv: list[str] | None = None) -> int:
    """Run the command; 0 scored, 1 refused with the reason on stderr, 2 usage, 130 interrupted."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    values: dict[str, Any] = {field.name: arguments[field.name] for field in fields(EvalConfig)}
    for name, value in values.items():
        if isinstance(value, list):
            values[name] = tuple(value)
    try:
        config = EvalConfig(**values)
    except ValueError as error:
        parser.error(str(error))
    try:
        run(config, shlex.join(["python", "-m", "eval", *(sys.argv[1:] if argv is None else argv)]))
    except (ValueError, OSError) as error:
        sys.stderr.write("".join(f"eval: {line}\n" for line in str(error).splitlines()))
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def run(config: EvalConfig, command: str = "") -> Evaluation:
    """Score, print the tables and write what was asked for.

    Args:
        config: What to do.
        command: What was typed, for the report to say how to repeat it.
    """
    for option, path in config.outputs().items():
        _check_output(option, path)
    if config.images and not config.images.is_dir():
        raise NotADirectoryError(f"--images {config.images}: wanted a folder of pictures")
    *predictions, references = config.files
    evaluation = evaluate_files(
        predictions,
        references,
        config,
        known=None if config.no_cache else SegmentationCache.of_user(),
        processes=config.processes or os.cpu_count() or 1,
    )
    sys.stdout.write("\n".join(summary_lines(evaluation)) + "\n")
    for path, text in _outputs(config, evaluation, command):
        _write_whole(path, text)
        sys.stdout.write(f"Written: {path}\n")
    return evaluation


def _outputs(config: EvalConfig, evaluation: Evaluation, command: str) -> Iterator[tuple[Path, str]]:
    """Each file that was asked for and its text."""
    if config.out:
        yield config.out, scores_text(evaluation)
    if config.markdown:
        yield config.markdown, markdown_tables(evaluation)
    if config.latex:
        yield config.latex, latex_tables(evaluation)
    if config.report:
        from eval.report import render_report

        page = render_report(
            evaluation,
            title=config.title,
            images=config.images,
            max_pictures=config.report_pictures,
            language=config.language,
            command=command,
        )
        yield config.report, page


class _ConfigFile(jsonargparse.ActionConfigFile):  # type: ignore[name-defined,misc]  # untyped there
    """The option --config, which says what is wrong where one value stands for a list."""

    def __call__(self, parser: Any, cfg: Any, values: Any, option_string: str | None = None) -> None:
        """Check the lists, then take the file; what is no YAML, the parser refuses."""
        content = None
        with suppress(OSError, UnicodeDecodeError, yaml.YAMLError):
            content = yaml.safe_load(Path(values).read_text(encoding="utf-8"))
        given = content if isinstance(content, dict) else {}
        for name in (each.name for each in fields(EvalConfig) if isinstance(each.default, tuple)):
            if name in given and not isinstance(given[name], list):
                parser.error(f"{values}, {name}: wanted a list, as in [one, two], found {given[name]!r}")
        super().__call__(parser, cfg, values, option_string)


def _parser() -> jsonargparse.ArgumentParser:
    """Required fields are positional, switches take no value; help is the fields' own text."""
    parser = jsonargparse.ArgumentParser(
        prog="python -m eval",
        usage="python -m eval PREDICTIONS [PREDICTIONS ...] REFERENCES [options]",
        description=EvalConfig.__doc__,
    )
    parser.add_argument("--config", action=_ConfigFile, help="YAML file with any of these settings.")
    texts = {
        parameter.arg_name: parameter.description
        for described in (Settings, EvalConfig)
        for parameter in parse_from_object(described).params
    }
    for field in fields(EvalConfig):
        flags = list(dict.fromkeys([f"--{field.name}", f"--{field.name.replace('_', '-')}"]))
        help_text = texts[field.name]
        if field.default is MISSING:
            parser.add_argument(field.name, nargs="+", type=Path, help=help_text)
        elif field.type is bool:
            parser.add_argument(*flags, action="store_true", help=help_text)
        elif isinstance(field.default, tuple):
            parser.add_argument(*flags, nargs="+", type=str, default=list(field.default), help=help_text)
        else:
            parser.add_argument(*flags, type=field.type, default=field.default, help=help_text)
    return parser


def _check_output(option: str, path: Path) -> None:
    """Refuse, before anything is scored, what a file cannot or must not be written to.

    Raises:
        OSError: There is a folder or a device, or a folder on the way is a file.
    """
    if path.exists() and not path.is_file():
        found = "a folder" if path.is_dir() else "no regular file"
        raise FileExistsError(f"{option} {path}: found {found}, wanted the name of a file to write")
    above = next(each for each in path.absolute().parents if each.exists())
    if not above.is_dir():
        raise NotADirectoryError(f"{option} {path}: {above} is a file, wanted a folder to write into")


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
    gc.disable()  # millions of tokens and no circles among them: looking for some takes a third of the time
    sys.exit(main())
