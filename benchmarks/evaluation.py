"""How long scoring takes: 30,000 pictures with five references, against pycocoevalcap on the same words.

    python -m benchmarks.evaluation --out benchmarks/results/evaluation.json

The sentences are made of COCO-CN's in tests/golden_eval: the beginning of one and the end of another about
the same picture; captions likewise of three systems' captions. Both programs start from words separated by
spaces, each in a process of its own, and have to agree within 1e-9 on every picture. All three metrics
together take less than one after the other: ours prepare the references once and count their n-grams once.
Segmentation, the reward of self-critical training and the start of ``python -m eval`` are timed apart. Takes
three minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.results import tell

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden_eval" / "coco_cn_test"
N_REFERENCES = 5
METRICS = ("bleu", "rouge", "cider")
AGREEMENT = 1e-9
N_REWARDED, REWARD_BATCH, REWARD_BATCHES = 5_000, 320, 100
START_ROUNDS = 3

Texts = list[str]


def draw_set(n_images: int) -> tuple[Texts, list[Texts]]:
    """A caption and five references for each picture, words separated by spaces; the same ones every time."""
    rng = random.Random(0)
    references: dict[int, Texts] = {}
    for annotation in json.loads((GOLDEN / "references.json").read_text(encoding="utf-8"))["annotations"]:
        references.setdefault(annotation["image_id"], []).append(annotation["caption"])
    captions: dict[int, Texts] = {image_id: [] for image_id in references}
    for path in sorted(GOLDEN.glob("predictions_*.json")):
        for prediction in json.loads(path.read_text(encoding="utf-8")):
            captions[prediction["image_id"]].append(prediction["caption"])
    images = rng.choices(sorted(references), k=n_images)
    return (
        [_spliced(rng, captions[image]) for image in images],
        [[_spliced(rng, references[image]) for _ in range(N_REFERENCES)] for image in images],
    )


def _spliced(rng: random.Random, sentences: Texts) -> str:
    """The beginning of one sentence and the end of another, as long as one of them on the average."""
    first, second = (sentence.split() for sentence in rng.choices(sentences, k=2))
    share = rng.random()
    return " ".join(first[: round(share * len(first))] + second[round(share * len(second)) :])


def ours_together(n_images: int) -> dict[str, Any]:
    """Seconds of all metrics on references prepared once, and the numbers."""
    return _ours(n_images, METRICS)


def ours_alone(n_images: int) -> dict[str, Any]:
    """Seconds of each metric that has to prepare its references itself."""
    return {"seconds": {metric: _ours(n_images, [metric])["seconds"] for metric in METRICS}}


def _ours(n_images: int, metrics: Sequence[str]) -> dict[str, Any]:
    from eval.metrics import METRICS as SCORE
    from eval.ngrams import References

    SCORE["bleu"]([["一"]], [[["一"]]])  # numpy is loaded
    captions, references = draw_set(n_images)
    start = time.perf_counter()
    candidates = [caption.split() for caption in captions]
    prepared = References([[text.split() for text in texts] for texts in references])
    scores = [SCORE[metric](candidates, prepared) for metric in metrics]
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "values": [v for score in scores for v in _values(score)]}


def _values(score: Any) -> list[list[float]]:
    """Overall and per picture, of each number of a metric."""
    return [[score.overall[name], *values] for name, values in score.per_image.items()]


def theirs(n_images: int) -> dict[str, Any]:
    """Seconds of each metric of pycocoevalcap, and the numbers; they share nothing."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    captions, texts = draw_set(n_images)
    found = {index: [caption] for index, caption in enumerate(captions)}
    wanted = dict(enumerate(texts))
    seconds, values = {}, []
    for metric, scorer, options in (
        ("bleu", Bleu(4), {"verbose": 0}),
        ("rouge", Rouge(), {}),
        ("cider", Cider(), {}),
    ):
        start = time.perf_counter()
        overall, per_image = scorer.compute_score(wanted, found, **options)
        seconds[metric] = time.perf_counter() - start
        if metric != "bleu":
            overall, per_image = [overall], [per_image]
        values += [[float(one), *map(float, many)] for one, many in zip(overall, per_image, strict=True)]
    return {"seconds": seconds, "values": values}


def segmentation(n_images: int) -> dict[str, Any]:
    """Seconds to cut all sentences into jieba's words, with its dictionary loaded; then to remember them."""
    from eval.protocols import find_protocol
    from eval.segmentation import SegmentationCache, already_cut

    protocol = find_protocol("aic-icc")
    protocol.cut("一")
    captions, references = draw_set(n_images)
    files = [
        {text.replace(" ", "") for text in captions},
        {text.replace(" ", "") for texts in references for text in texts},
    ]
    found: dict[str, Any] = {"sentences": len(set().union(*files))}
    with tempfile.TemporaryDirectory() as folder:
        known = SegmentationCache(Path(folder) / "cache")
        for name, options in {
            "one_process": {},
            "two_processes": {"processes": 2, "known": known},
            "remembered": {"known": known},
        }.items():
            start = time.perf_counter()
            already_cut(protocol, files, **options)  # type: ignore[arg-type]
            found[name] = round(time.perf_counter() - start, 2)
    return found


def reward(_: int) -> dict[str, Any]:
    """Captions a second that are scored by CIDEr-D, five samples of 64 pictures at a time, on one core."""
    from eval.cider import CiderD
    from eval.ngrams import DocumentFrequencies

    captions, texts = draw_set(N_REWARDED)
    candidates = [caption.split() for caption in captions]
    references = [[text.split() for text in sentences] for sentences in texts]
    rng = random.Random(1)
    batches = [rng.choices(range(N_REWARDED), k=REWARD_BATCH) for _ in range(REWARD_BATCHES)]
    found = {"pictures": N_REWARDED, "captions_a_call": REWARD_BATCH}
    for name, frequencies in {
        "captions_per_second": None,
        "captions_per_second_with_given_document_frequencies": DocumentFrequencies.of(references),
    }.items():
        scorer = CiderD(references, frequencies)
        start = time.perf_counter()
        for pictures in batches:
            scorer.score([candidates[picture] for picture in pictures], pictures)
        found[name] = round(REWARD_BATCH * REWARD_BATCHES / (time.perf_counter() - start))
    return found


PARTS: Mapping[str, Callable[[int], dict[str, Any]]] = {
    "ours_together": ours_together,
    "ours_alone": ours_alone,
    "theirs": theirs,
    "segmentation": segmentation,
    "reward": reward,
}


def run(part: str, n_images: int) -> dict[str, Any]:
    """A part in a process of its own; what it found and the most memory it held."""
    command = [sys.executable, "-m", "benchmarks.evaluation", "--one", part, "--pictures", str(n_images)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    found = json.loads(process.stdout.read())
    _, _, usage = os.wait4(process.pid, 0)
    return {**found, "usage": usage}


def start_up() -> dict[str, float]:
    """Seconds of ``python -m eval`` over the sample captions, the fastest of three.

    Raises:
        RuntimeError: It loads torch or transformers.
    """
    captions = ROOT / "examples" / "images" / "captions.json"
    with tempfile.TemporaryDirectory() as folder:
        predictions = Path(folder) / "predictions.json"
        _write_predictions(captions, predictions)
        found = {}
        for protocol in ("aic-icc", "chars"):
            words = [str(predictions), str(captions), "--protocols", protocol, "--no_cache"]
            seconds = [_timed([sys.executable, "-m", "eval", *words]) for _ in range(START_ROUNDS)]
            found[protocol] = round(min(seconds), 2)
            program = "import sys; from eval.__main__ import main; main(); print(*sys.modules)"
            loaded = _output([sys.executable, "-c", program, *words]).split()
            if heavy := {"torch", "transformers"}.intersection(loaded):
                raise RuntimeError(f"python -m eval loads {', '.join(sorted(heavy))}; it must not")
    return found


def _write_predictions(references: Path, predictions: Path) -> None:
    """The first human caption of each picture, as if a system had written it."""
    from eval.annotations import read_reference_file

    captions = read_reference_file(references).captions
    rows = [{"image_id": image_id, "caption": texts[0]} for image_id, texts in captions.items()]
    predictions.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")


def _timed(command: Sequence[str]) -> float:
    start = time.perf_counter()
    _output(command)
    return time.perf_counter() - start


def _output(command: Sequence[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout


def compare(n_images: int) -> dict[str, Any]:
    """Both programs over the same pictures.

    Raises:
        RuntimeError: They disagree.
    """
    together, alone, other = (run(part, n_images) for part in ("ours_together", "ours_alone", "theirs"))
    difference = max(
        abs(ours - wanted)
        for ours_of, wanted_of in zip(together["values"], other["values"], strict=True)
        for ours, wanted in zip(ours_of, wanted_of, strict=True)
    )
    if difference > AGREEMENT:
        raise RuntimeError(
            f"a number differs from pycocoevalcap's by {difference}; wanted at most {AGREEMENT}"
        )
    # It loads torch: before, every process would have started with what that takes as its peak of memory.
    from benchmarks.machine import peak_megabytes

    rows = {metric: (alone["seconds"][metric], other["seconds"][metric]) for metric in METRICS}
    rows["all"] = (together["seconds"], sum(other["seconds"].values()))
    return {
        "seconds": {
            name: {
                "ours": round(ours, 3),
                "pycocoevalcap": round(wanted, 3),
                "ratio": round(wanted / ours, 1),
            }
            for name, (ours, wanted) in rows.items()
        },
        "peak_mb": {
            "ours": round(peak_megabytes(together["usage"])),
            "pycocoevalcap": round(peak_megabytes(other["usage"])),
        },
        "largest_difference": difference,
    }


def main() -> None:
    """Measure everything, print and write it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path)
    parser.add_argument("--pictures", type=int, default=30_000)
    parser.add_argument("--one", choices=PARTS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(PARTS[given.one](given.pictures)))
        return
    n_images = given.pictures
    result = {"pictures": n_images, "references": n_images * N_REFERENCES, **compare(n_images)}
    for part in ("segmentation", "reward"):
        result[part] = {name: value for name, value in run(part, n_images).items() if name != "usage"}
    result["start_up_seconds"] = start_up()
    from benchmarks.machine import machine

    tell({"what": (__doc__ or "").splitlines()[0], "machine": machine(), **result}, given.out)


if __name__ == "__main__":
    main()
