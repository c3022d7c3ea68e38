from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml

from captioning.caption import CaptionConfig
from captioning.clean import CleanConfig
from captioning.config import TrainConfig
from captioning.convert import ConvertConfig
from captioning.count_ngrams import CountConfig
from captioning.validate import ValidateConfig
from features.arguments import Arguments, make_parser, parse_config
from features.export import ExportConfig
from features.extract_config import ExtractConfig
from features.setting_names import types_of

Shape = Literal["round", "square"]


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """What a wheel is like."""

    shape: Shape = "round"
    """Its shape."""
    spokes: int | None = None
    """How many; none if empty."""

    def __post_init__(self) -> None:
        if self.spokes is not None and self.spokes < 3:
            raise ValueError(f"spokes must be 3 or more, got {self.spokes}")


@dataclass(frozen=True, kw_only=True)
class Gear:
    """One gear."""

    teeth: int = 11
    """How many."""


@dataclass(frozen=True, kw_only=True)
class Bicycle:
    """Build a bicycle."""

    frame: Path
    """The frame."""
    bells: list[Path] = field(default_factory=list)
    """Its bells."""
    lock_it: bool = False
    """Lock it."""
    fast: bool = True
    """Make it fast."""
    wheel: Wheel = field(default_factory=Wheel)
    """Both wheels."""
    shapes: list[Shape] = field(default_factory=lambda: ["round"])  # type: ignore[arg-type]
    """All shapes."""
    gears: tuple[Gear, ...] = ()
    """Its gears."""
    loads: dict[str, float] = field(default_factory=dict)
    """Kilograms by place."""


def built(*words: str, **settings: Any) -> Bicycle:
    bicycle: Bicycle = parse_config("workshop.build", Bicycle, list(words), positional=("frame",), **settings)
    return bicycle


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What is told of words that are wrong."""
    with pytest.raises(SystemExit) as ended:
        built(*words)
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_flags_become_settings() -> None:
    words = [
        "f",
        "--wheel.shape",
        "square",
        "--wheel.spokes=5",
        "--lock_it",
        "--fast",
        "false",
        "--loads.back",
        "2",
    ]
    assert built(
        *words, "--loads.back", "2", "--gears", "[{teeth: 30}]", "--shapes", "[round, square]"
    ) == Bicycle(
        frame=Path("f"),
        lock_it=True,
        fast=False,
        wheel=Wheel(shape="square", spokes=5),
        shapes=["round", "square"],
        gears=(Gear(teeth=30),),
        loads={"back": 2.0},
    )


@pytest.mark.parametrize("words", ["--lock_it f", "f --lock-it", "f --lock-it true", "f --lock_it=true"])
def test_a_switch_needs_no_value_and_flags_may_have_dashes(words: str) -> None:
    assert built(*words.split()).lock_it


@pytest.mark.parametrize("value", ["square,round", "[square, round]"])
def test_words_stand_for_a_list_of_them(value: str) -> None:
    assert built("f", "--shapes", value).shapes == ["square", "round"]
    assert built("f", "--shapes=square").shapes == ["square"]


def test_several_values_may_follow_a_flag_that_takes_several() -> None:
    assert built("f", "--bells", "a", "b", several=("bells",)).bells == [Path("a"), Path("b")]
    assert built("f", several=("bells",)).bells == []


def test_settings_come_from_the_defaults_then_the_file_then_the_flags(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("wheel: {shape: square, spokes: 7}", encoding="utf-8")
    found = built("f", "--config", str(tmp_path / "c.yaml"), "--wheel.spokes", "9").wheel
    assert found == Wheel(shape="square", spokes=9)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("f --spokes 5", "no option --spokes; did you mean --wheel.spokes?"),
        ("f --wheel.spoke=5", "no option --wheel.spoke; did you mean --wheel.spokes?"),
        ("f --wheels.shape square", "no option --wheels.shape; did you mean --wheel.shape?"),
        ("f --zzzzzz", "no option --zzzzzz\n"),
        (
            "f --wheel.shape squre",
            "--wheel.shape is 'squre', choose from round, square; did you mean square?",
        ),
        ("f --wheel.shape=9", "--wheel.shape is 9, choose from round, square"),
        ("f --shapes [round,flat]", "--shapes is 'flat', choose from round, square\n"),
        ("f --wheel.spokes many", "--wheel.spokes is 'many', wanted a whole number or null"),
        ("f --wheel.spokes --fast", "--wheel.spokes needs a value"),
        ("f --fast=perhaps", "--fast is 'perhaps', wanted true or false"),
        ("f --wheel.spokes 1", "spokes must be 3 or more, got 1"),
        ("--fast false", "frame"),
    ],
)
def test_wrong_flags_are_answered_with_the_right_ones(
    capsys: pytest.CaptureFixture[str], words: str, message: str
) -> None:
    assert message in refused(capsys, *words.split())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("spokes: 5", "no setting spokes; did you mean wheel.spokes?"),
        ("wheel: {spoke: 5}", "no setting wheel.spoke; did you mean wheel.spokes?"),
        ("weel: {spokes: 5}", "no setting weel; did you mean wheel?"),
        ("wheel: {shape: flat}", "wheel.shape is 'flat', choose from round, square"),
        ("gears: [{teeth: 9}, {teet: 9}]", "no setting gears[1].teet; did you mean teeth?"),
        ("lock_it: perhaps", "lock_it is 'perhaps', wanted true or false"),
        ("wheel: {spokes: many}", "wheel.spokes is 'many', wanted a whole number or null"),
        ("shapes: round", "shapes is 'round', wanted a list, as in [one, two]"),
        ("shapes: [flat]", "shapes is 'flat', choose from round, square"),
        ("lock_it:", "lock_it is empty, and needs a value"),
        ("gears: {teeth: 9}", "gears is {'teeth': 9}, wanted a list"),
        ("gears: [1", "Problems parsing config"),
    ],
)
def test_mistakes_in_a_file_are_told_with_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text, encoding="utf-8")
    told = refused(capsys, "f", "--config", str(path))
    assert f"error: {path}: " in told
    assert message in told


def test_all_unknown_settings_of_a_file_are_told_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.yaml").write_text("wheel: {shap: round, spoke: 5}\nlok_it: true", encoding="utf-8")
    told = refused(capsys, "f", "--config", str(tmp_path / "c.yaml"))
    assert [name for name in ("wheel.shape?", "wheel.spokes?", "lock_it?") if name in told] == [
        "wheel.shape?",
        "wheel.spokes?",
        "lock_it?",
    ]


def test_the_usage_above_a_message_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    told = refused(capsys, "f", "--zzzzzz")
    assert told.splitlines()[0] == (
        "usage: python -m workshop.build FRAME [--config FILE] [--SETTING VALUE ...]"
    )


def test_help_has_a_group_a_dataclass_and_every_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        built("--help")
    assert ended.value.code == 0
    text = capsys.readouterr().out
    top, _, wheel = text.partition("Both wheels (--wheel.…):")
    assert "settings:" in top
    shown = " ".join(wheel.split())
    assert "--wheel.shape round|square Its shape. (default: round)" in shown
    assert "--wheel.spokes N How many; none if empty. (default: null)" in shown
    assert "--lock_it true|false Lock it. (default: false)" in " ".join(text.split())
    assert "type:" not in text


SMALLEST: dict[str, tuple[type[Any], list[str], dict[str, Any]]] = {
    "captioning.train": (TrainConfig, [], {}),
    "captioning.caption": (CaptionConfig, ["--features", "f.h5"], {}),
    "captioning.clean": (CleanConfig, ["a", "b"], {"positional": ("source", "out")}),
    "captioning.convert": (ConvertConfig, ["a", "b"], {"positional": ("source", "dest")}),
    "captioning.count_ngrams": (CountConfig, ["--captions", "a", "--out", "b"], {"several": ("captions",)}),
    "captioning.validate": (ValidateConfig, ["a"], {"positional": ("files",), "several": ("regions",)}),
    "features.extract": (ExtractConfig, ["--images", "d"], {}),
    "features.export": (ExportConfig, ["a", "b"], {"positional": ("regions", "out")}),
}


def parser_of(command: str) -> tuple[Arguments, list[str]]:
    config_class, words, settings = SMALLEST[command]
    return make_parser(command, config_class, **settings), words


@pytest.mark.parametrize("command", SMALLEST)
def test_printed_settings_are_the_same_settings_when_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    parser, words = parser_of(command)
    with pytest.raises(SystemExit) as ended:
        parser.settings([*words, "--print_config"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    (tmp_path / "c.yaml").write_text(text, encoding="utf-8")
    places = [word for word in words if not word.startswith("--")] if "--images" not in words else []
    given = words if command == "captioning.count_ngrams" else places if SMALLEST[command][2] else []
    assert parser.settings(["--config", str(tmp_path / "c.yaml"), *given]) == parser.settings(words)
    assert set(yaml.safe_load(text)) <= {each.name for each in fields(SMALLEST[command][0])}


@pytest.mark.parametrize("command", SMALLEST)
def test_every_command_has_each_setting_in_its_help_and_refuses_others(
    capsys: pytest.CaptureFixture[str], command: str
) -> None:
    parser, words = parser_of(command)
    with pytest.raises(SystemExit):
        parser.settings(["--help"])
    text = capsys.readouterr().out
    positional = SMALLEST[command][2].get("positional", ())
    flags = [f"--{name}" for name in types_of(SMALLEST[command][0]) if name not in positional]
    assert [flag for flag in flags if f"{flag} " not in text] == []
    with pytest.raises(SystemExit) as ended:
        parser.settings([*words, f"{flags[-1]}s", "1"])
    assert ended.value.code == 2
    assert f"no option {flags[-1]}s; did you mean {flags[-1]}?" in capsys.readouterr().err
