"""SPICE 1.0 (Anderson et al., arXiv:1607.08822): the program of its authors, as pycocoevalcap calls it.

It parses captions and references into objects, attributes and relations, and gives the F-score of what they
share. The parser is English, so Chinese captions are refused. pycocoevalcap brings the program without the
models of its parser, 384 MB which nobody should download unasked; and it needs Java 8 to 14, as it writes its
results by the JavaScript engine that Java 15 no longer has.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from eval.java import MetricUnavailable, failure, find_java, jar, java_release, run_jar
from eval.metrics import Score, Tokens

NAME = "spice"
MODELS = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")
MODELS_URL = "http://nlp.stanford.edu/software/stanford-corenlp-full-2015-12-09.zip"
LAST_RELEASE = 14

STARTING_SECONDS = 1800
"""For the models, on a busy machine."""
SECONDS_PER_SENTENCE = 1.0

_CHINESE = re.compile("[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


def spice(candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> Score:
    """SPICE of English captions, in 0 to 1; overall is the mean.

    Raises:
        MetricUnavailable: References are Chinese; or Java, a release of it that will do, or the models are
            missing.
        ChildProcessError: The program failed.
        TimeoutError: It took too long.
    """
    path = _ready_jar(references)
    pictures = [
        {"image_id": index, "test": " ".join(tokens), "refs": [" ".join(each) for each in sentences]}
        for index, (tokens, sentences) in enumerate(zip(candidates, references, strict=True))
    ]
    n_sentences = len(pictures) + sum(map(len, references))
    with TemporaryDirectory(prefix="spice-") as folder:
        asked, answered = Path(folder) / "captions.json", Path(folder) / "scores.json"
        asked.write_text(json.dumps(pictures), encoding="ascii")
        # no -cache: its database does not load on every system, and each caption is parsed once anyway
        run_jar(
            "SPICE",
            path,
            [str(asked), "-out", str(answered), "-silent"],
            memory="8G",
            seconds=STARTING_SECONDS + SECONDS_PER_SENTENCE * n_sentences,
        )
        try:
            found = {
                each["image_id"]: each["scores"]["All"]["f"] for each in json.loads(answered.read_bytes())
            }
            return Score.of_means({NAME: [float(found[index]) for index in range(len(pictures))]})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise failure("SPICE", f"its scores cannot be read ({error!r})") from error


def _ready_jar(references: Sequence[Sequence[Tokens]]) -> Path:
    """The program, once everything that it needs is there."""
    for sentences in references:
        for tokens in sentences:
            if _CHINESE.search("".join(tokens)):
                raise MetricUnavailable(
                    f"SPICE parses English only; found the reference {' '.join(tokens)!r}. Leave this metric "
                    "out."
                )
    release = java_release(find_java("SPICE"))
    if release > LAST_RELEASE:
        raise MetricUnavailable(
            f"SPICE 1.0 runs on Java 8 to {LAST_RELEASE}, found Java {release}. Install Java 11 beside it "
            "and set JAVA_HOME to its folder, or leave this metric out."
        )
    path = jar("spice", "spice-1.0.jar")
    missing = [name for name in MODELS if not (path.parent / "lib" / name).is_file()]
    if missing:
        raise MetricUnavailable(
            f"SPICE needs models that are not here. Get {MODELS_URL} (384 MB) and put "
            f"{' and '.join(missing)} from it into {path.parent / 'lib'}, or leave this metric out."
        )
    return path
