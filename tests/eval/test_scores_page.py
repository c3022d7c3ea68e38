"""docs/scores.md holds what benchmarks/reporting.py measured, and what is measured is what the code gives."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.reporting import SYSTEM, TRANSLATED, WRITTEN, captions_of, references_of, row, tables
from eval.protocols import PINNED_JIEBA, PROTOCOLS
from eval.scorer import evaluate

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "scores.md").read_text(encoding="utf-8")
RESULT = json.loads((ROOT / "benchmarks" / "results" / "reporting.json").read_text(encoding="utf-8"))


def numbers(value: Any) -> Iterator[float]:
    """Every fraction in a JSON value."""
    if isinstance(value, float):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from numbers(item)


@pytest.mark.parametrize("key", tables(RESULT))
def test_every_table_of_the_page_is_the_measured_one(key: str) -> None:
    assert tables(RESULT)[key] in PAGE


def test_every_fraction_of_the_page_was_measured() -> None:
    measured = {f"{number:.3f}" for number in numbers(RESULT)}
    assert set(re.findall(r"\d+\.\d{3}", PAGE)) - measured == set()


def test_both_releases_of_jieba_cut_all_sentences_alike_as_the_page_says() -> None:
    assert RESULT["jieba"]["old"]["release"] == "0.38"
    assert f"jieba 0.42.1, dict.txt sha256 {RESULT['jieba']['pinned']['dictionary_sha256']}" == PINNED_JIEBA
    assert [RESULT["jieba"][side] for side in ("captions", "references")] == [
        {"sentences": 1000, "cut_differently": 0},
        {"sentences": 6033, "cut_differently": 0},
    ]
    assert "cut none differently" in " ".join(PAGE.split())


def test_the_measured_numbers_are_those_of_the_code() -> None:
    given = evaluate(captions_of(SYSTEM), references_of(WRITTEN, TRANSLATED), "coco-cn")
    first = RESULT["segmenter"][0]
    assert {**row(first["label"], given), "tokens": first["tokens"]} == first


def test_the_headline_is_what_the_protocol_gives_for_the_very_files() -> None:
    headline = evaluate(captions_of(SYSTEM), references_of(WRITTEN, TRANSLATED), "aic-icc")
    second = RESULT["segmenter"][1]
    assert {**row(second["label"], headline), "tokens": second["tokens"]} == second


def test_the_page_names_every_protocol_with_its_source() -> None:
    lines = {line.split("`")[1]: line for line in PAGE.splitlines() if line.startswith("| `")}
    assert lines.keys() == PROTOCOLS.keys()
