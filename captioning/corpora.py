"""Pre-training corpora of Oscar+ (arXiv:2101.00529): captions with tags, questions with answers.

A YAML file (``captioning.oscar_yaml``) names a TSV file of pairs and, for each data set, a folder of labels
(read in microsoft/Oscar, ``oscar/datasets/oscar_tsv.py``)::

    coco.tsv            coco_train_42 <tab> coco_train_42 <tab> 一只狗在草地上
                        coco_42 <tab> coco_qa_42_1337 <tab> 狗在做什么？
    predictions_gt.tsv  42 <tab> {"image_h", "image_w", "objects": [{"class", …}], "gt_objects": […]}
    QA_fileB.tsv        1337 <tab> {"labels": ["奔跑"]}

A key begins with its data set and ends with the picture, or with the question behind the picture; ``cc`` is
``googlecc``. The picture's id is the bare last part, as in the feature files. Lines are looked up by their
keys: the ``.lineidx`` files, ``imageid2idx.json`` and ``QA_qaid2idx.json`` are neither needed nor read.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from captioning.caption_record import Gathered, SecondText
from captioning.oscar_yaml import CORPUS, CORPUS_FILE, LABEL_FOLDERS, TAG_FILE, OscarYaml, shown_value
from captioning.pairs import tag_text
from eval.annotations import AnnotationError
from eval.lines import lines_of
from eval.problems import ABSENT, Problems, describe
from eval.records import Record, parse_json, read_text, records_of
from features.oscar_tsv import LabelFile
from features.tags import Lexicon

CorpusTags = Literal["regions", "labels", "gt"]
"""The second text of a caption: tags of the picture's regions, ``objects`` of the label file, or its
``gt_objects`` where it has them, else ``objects`` (``use_gtlabels`` of the original)."""

ANSWER_FILE = "QA_fileB.tsv"
_OTHER_NAMES = {"cc": "googlecc"}
_COLUMNS = ("img_key", "label_key", "text_a")


def read_corpus(
    settings: OscarYaml, parts: Sequence[str], tags: CorpusTags = "regions", lexicon: str = "zh"
) -> tuple[Gathered, list[str]]:
    """The pairs of a corpus, and what to tell of it.

    Args:
        settings: Of the YAML file.
        parts: Data sets that are wanted; all that ``corpus`` names by default.
        tags: Where the tags of captions come from.
        lexicon: Names their classes in Chinese: "zh", or a glossary file; what it lacks stays as it is.

    Raises:
        AnnotationError: All that is wrong with all of its files.
        features.tags.LexiconError: The lexicon cannot be read.
    """
    corpus = _Corpus(settings, parts)
    corpus.read_pairs()
    notes = corpus.add_tags(tags, lexicon) if tags != "regions" else []
    found = [problem for problems in corpus.problems for problem in problems.found]
    if found:
        raise AnnotationError(found)
    return corpus.gathered, [*corpus.passed_over(), *notes]


class _Corpus:
    """One reading of a corpus.

    Attributes:
        gathered: Captions and questions, captions without tags.
        problems: Of each file.
    """

    def __init__(self, settings: OscarYaml, parts: Sequence[str]) -> None:
        self.settings = settings
        self.problems = [settings.problems]
        self.gathered = Gathered()
        named = settings.values.get(CORPUS, ABSENT)
        if not isinstance(named, str) or not named.strip("_ "):
            settings.report(CORPUS, shown_value(named), "names of data sets, joined by _")
            named = ""
        self.named = [name for name in named.strip().split("_") if name]
        self.wanted = frozenset(parts or self.named)
        for name in sorted(self.wanted - set(self.named)) if self.named else ():
            found = f"no {name!r} among {', '.join(self.named)}"
            settings.report(CORPUS, found, "the data set that was asked for")
        self.path = settings.place(CORPUS_FILE)
        self._owners: dict[str, str] = {}  # picture -> data set
        self._other: Counter[str] = Counter()  # lines of data sets that ``corpus`` does not name
        self._folders: dict[str, Path | None] = {}  # data set -> its labels
        self._answers: dict[str, _Answers | None] = {}

    def passed_over(self) -> Iterator[str]:
        """What to tell of lines that were not read."""
        if self._other:
            counts = ", ".join(f"{name}: {count:,}" for name, count in sorted(self._other.items()))
            yield f"{self.path}: lines of data sets that 'corpus' does not name are passed over ({counts})"

    def read_pairs(self) -> None:
        """Every line of the corpus file."""
        if self.path is None or not self.named or not self.wanted <= set(self.named):
            return
        problems = Problems(self.path)
        self.problems.append(problems)
        try:
            text = read_text(self.path)
        except AnnotationError as error:
            problems.found.extend(error.problems)
            return
        clashes: dict[str, None] = {}
        for number, line in enumerate(lines_of(text), start=1):
            columns = line.rstrip("\r\n").split("\t")
            if not line.strip():
                continue
            if len(columns) != len(_COLUMNS):
                found, wanted = f"{len(columns)} columns", f"{len(_COLUMNS)}: {', '.join(_COLUMNS)}"
                problems.add(found, wanted, record=number, part="line")
                continue
            values = dict(zip(_COLUMNS, columns, strict=True))
            record = Record(values=values, problems=problems, position=number, part="line")
            if (pair := self._pair(record)) is not None:
                data_set, image_id, caption, answer = pair
                self.gathered.add(image_id, caption, answer)
                if self._owners.setdefault(image_id, data_set) != data_set:
                    clashes[image_id] = None
        self._report_clashes(problems, list(clashes))
        if not self.gathered and not problems.found:
            problems.add("no line of a wanted data set", f"lines of {', '.join(sorted(self.wanted))}")

    def _pair(self, record: Record) -> tuple[str, str, str, SecondText | None] | None:
        """Data set, picture, text and answer of a line; None where it is not wanted or its keys are wrong."""
        image_key = record.identifier("img_key").strip().split("_")
        label_key = record.identifier("label_key").strip().split("_")
        data_set = _OTHER_NAMES.get(image_key[0], image_key[0])
        if data_set not in self.wanted:
            if data_set not in self.named:
                self._other[data_set] += 1
            return None
        image_id, is_question = image_key[-1], "qa" in label_key
        own = label_key[-2] if is_question and len(label_key) > 1 else label_key[-1]
        if len(image_key) < 2 or not image_id:
            record.report("img_key", describe(record.values["img_key"]), "DATASET_…_PICTURE")
            return None
        if label_key[0] != image_key[0] or own != image_id:
            wanted = f"a key of the picture {image_id!r} of {image_key[0]}"
            record.report("label_key", describe(record.values["label_key"]), wanted)
            return None
        answer = self._answer(data_set, label_key[-1], record) if is_question else None
        return data_set, image_id, record.sentence("text_a"), answer

    def _answer(self, data_set: str, question: str, record: Record) -> SecondText | None:
        if data_set not in self._answers:
            self._answers[data_set] = self._open_answers(data_set)
        answers = self._answers[data_set]
        if answers is None:
            return None
        if question not in answers.lines:
            record.report(
                "label_key", f"no line {question!r} in {answers.problems.path}", "one with its answer"
            )
            return None
        return answers.of(question)

    def _open_answers(self, data_set: str) -> _Answers | None:
        folder = self._label_folder(data_set)
        if folder is None:
            return None
        problems = Problems(folder / ANSWER_FILE)
        self.problems.append(problems)
        try:
            return _Answers(problems)
        except AnnotationError as error:
            problems.found.extend(error.problems)
            return None

    def _label_folder(self, data_set: str) -> Path | None:
        folders = self.settings.values.get(LABEL_FOLDERS, ABSENT)
        if not isinstance(folders, dict):
            if not self._folders:
                self.settings.report(LABEL_FOLDERS, shown_value(folders), "a folder for each data set")
            self._folders[data_set] = None
        elif data_set not in self._folders:
            value = folders.get(data_set, ABSENT)
            self._folders[data_set] = self.settings.place(f"{LABEL_FOLDERS}.{data_set}", value)
        return self._folders[data_set]

    def _report_clashes(self, problems: Problems, image_ids: list[str]) -> None:
        if image_ids:
            names = ", ".join(image_ids[:10]) + (", …" if len(image_ids) > 10 else "")
            problems.add(
                f"picture ids that several data sets have ({len(image_ids)}: {names})",
                "one data set at a time, with its own regions: "
                + ", ".join(f"{self.settings.path}#{name}" for name in sorted(set(self._owners.values()))),
            )

    def add_tags(self, tags: CorpusTags, lexicon: str) -> list[str]:
        """Give captions the tags of the label files; what to tell of them."""
        names: dict[str, tuple[str, ...]] = {}  # picture -> classes
        pictures: dict[str, list[str]] = {}  # data set -> those that want tags
        for image_id in self.gathered.incomplete():
            pictures.setdefault(self._owners[image_id], []).append(image_id)
        for data_set, image_ids in pictures.items():
            if (folder := self._label_folder(data_set)) is not None:
                names |= self._classes(folder / TAG_FILE, image_ids, tags)
        chinese, notes = _in_chinese({name for each in names.values() for name in each}, lexicon)
        bare = 0
        for image_id, classes in names.items():
            words = dict.fromkeys(word for name in classes if (word := chinese[name]))
            if words:
                self.gathered.complete(image_id, tag_text(words))
            bare += not words
        if bare:
            notes.append(
                f"{bare:,} pictures have no tags in the label files; those of their regions are taken"
            )
        return notes

    def _classes(self, path: Path, pictures: Sequence[str], tags: CorpusTags) -> dict[str, tuple[str, ...]]:
        problems = Problems(path)
        self.problems.append(problems)
        try:
            labels = LabelFile(path)
        except OSError as error:
            problems.add((error.strerror or str(error)).lower(), "the labels of the corpus's pictures")
            return {}
        except ValueError as error:
            problems.add(str(error).removeprefix(f"{path}, "), "a line a picture")
            return {}
        try:
            return {image_id: tuple(_class_names(labels, image_id, tags, problems)) for image_id in pictures}
        finally:
            labels.close()


class _Answers:
    """The answers of a data set, by question.

    Raises:
        AnnotationError: The file cannot be read.
    """

    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        self.lines: dict[str, tuple[int, str]] = {}  # question -> number of its line, JSON
        self._known: dict[str, SecondText] = {}
        for number, line in enumerate(lines_of(read_text(problems.path)), start=1):
            key, _, content = line.rstrip("\r\n").partition("\t")
            if line.strip() and self.lines.setdefault(key.strip(), (number, content))[0] != number:
                found = f"{describe(key)} as on line {self.lines[key.strip()][0]}"
                problems.add(found, "a line for every question", record=number, part="line", field="key")

    def of(self, question: str) -> SecondText:
        """The answer to a question, several of them joined by spaces."""
        number, content = self.lines[question]
        record = _json_record(content, self.problems, number)
        text = " ".join(" ".join(record.sentences("labels")).split()) if record else ""
        return self._known.setdefault(text, SecondText(text=text, is_answer=True))


def _class_names(labels: LabelFile, image_id: str, tags: CorpusTags, problems: Problems) -> Iterator[str]:
    """Classes of a picture's objects, each once, in the order of the file."""
    line = labels.line(image_id)
    if line is None:
        problems.add(f"no line {describe(image_id)}", "one with the labels of the picture")
        return
    content = b"\t".join(line.columns).decode("utf-8", "replace")
    record = _json_record(content, problems, line.number)
    if record is None:
        return
    has_true_ones = tags == "gt" and record.values.get("gt_objects")
    field = "gt_objects" if has_true_ones else "objects"
    objects = record.objects(field) if record.values.get(field) != [] else ()
    yield from dict.fromkeys(each.sentence("class").strip().lower() for each in objects)


def _json_record(content: str, problems: Problems, line: int) -> Record | None:
    try:
        values = parse_json(problems.path, content, line)
    except AnnotationError as error:
        problems.found.extend(error.problems)
        return None
    return next(records_of([(line, values)], problems, part="line"), None)


def _in_chinese(names: set[str], lexicon: str) -> tuple[dict[str, str | None], list[str]]:
    """What a glossary calls each class (None: not worth saying), and what it tells of those that it lacks."""
    if not names:
        return {}, []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = Lexicon.load(lexicon, "objects", sorted(names))
    return dict(zip(found.english, found.texts, strict=True)), [str(warning.message) for warning in caught]
