"""One HTML page about how well pictures were captioned; needs no network, no script and no other file.

The page is made of the templates in ``eval/templates``. Everything that came from a file (ids, captions,
tags, names, the title) is escaped by the template engine and freed of invisible characters by `eval.shown`;
boxes and charts come as SVG from `features.draw` and `eval.charts`, which escape their own text.
"""

import datetime
from contextlib import ExitStack
from pathlib import Path

import jinja2
from markupsafe import Markup

from eval import charts
from eval.evaluation import Evaluation
from eval.method import confidence_text, method
from eval.metrics import METRIC_TITLES
from eval.report_figures import RECALL, VARIETY, object_counts, tiles, wording
from eval.report_pictures import (
    LONGEST_CAPTION,
    CardMaker,
    most_changed,
    picture_groups,
    ranked_pictures,
    ranking_metric,
)
from eval.shown import shown
from eval.significance import PairedTest
from eval.tables import SIGNIFICANCE, score_tables
from eval.texts import LANGUAGES, TEXTS, bilingual


def render_report(
    evaluation: Evaluation,
    *,
    title: str = "",
    images: Path | None = None,
    max_pictures: int = 300,
    language: str = "en",
    command: str = "",
) -> str:
    """The page as one HTML string.

    Args:
        evaluation: What `evaluate_files` returned. Boxes of the regions file in its settings are laid over
            the pictures.
        title: Heading; without it, "Caption scores" in both languages.
        images: Folder of the pictures; each is embedded as a small JPEG.
        max_pictures: Cards shown, 2 or more. Of more pictures the best, the middle and the worst by CIDEr,
            and others at even distances between them.
        language: ``zh`` or ``en``: the one shown when the page is opened. The page holds both.
        command: What was run, for the page to say how to repeat it.

    Raises:
        ValueError: An image id fits several files of the folder, the regions file cannot be used, or the
            language is unknown.
        OSError: ``images`` is no folder.
    """
    if language not in LANGUAGES:
        raise ValueError(f"unknown language {language!r}; choose from {', '.join(LANGUAGES)}")
    protocol = evaluation.settings.found_protocols()[0]
    tables = score_tables(evaluation)
    words = wording(evaluation, protocol)
    groups = picture_groups(ranked_pictures(evaluation), max_pictures)
    changed = most_changed(evaluation)
    template = _environment().get_template("report.html.j2")
    with ExitStack() as stack:
        asked = {image_id for group in groups for _, image_id in group.pictures} | {i for _, i in changed}
        maker = CardMaker(evaluation, protocol, sorted(asked), images, stack)
        return template.render(
            title=shown(title or TEXTS["title"][LANGUAGES.index(language)]),
            heading=shown(title) if title else bilingual("title"),
            language=language,
            captions_language="en" if evaluation.settings.is_english else "zh",
            evaluation=evaluation,
            several=len(evaluation.systems) > 1,
            positions={system.name: index for index, system in enumerate(evaluation.systems)},
            tables=tables,
            metrics=list(dict.fromkeys(metric for table in tables for metric in table.metrics)),
            ranking_metric=ranking_metric(evaluation),
            with_intervals=any(system.scores[0].intervals for system in evaluation.systems),
            comparisons=[each for each in evaluation.comparisons if each.protocol == protocol.name],
            tiles=tiles(evaluation),
            wording=words,
            variety=VARIETY,
            recall=RECALL,
            objects=[
                (index, system.tag_recall, object_counts(system.tag_recall))
                for index, system in enumerate(evaluation.systems)
                if system.tag_recall
            ],
            widest=words.widest,
            n_shown=sum(len(group.pictures) for group in groups),
            groups=((group, [maker.card(*ranked) for ranked in group.pictures]) for group in groups),
            changed=[maker.card(*ranked) for ranked in changed],
            command=command,
            method=list(method(evaluation)),
            confidence=confidence_text(evaluation.settings.confidence),
            date=datetime.date.today().isoformat(),
        )


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("eval"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["shown"] = shown
    environment.globals.update(
        t=bilingual,
        phrase=lambda text: bilingual(text) if text in TEXTS else shown(text, 200),
        titles=METRIC_TITLES,
        number=_number,
        signed=_signed,
        percent=lambda share: f"{100 * share:.0f} %",
        p_value=p_value_text,
        significance=SIGNIFICANCE,
        colour=charts.colour_class,
        bar=charts.bar,
        stacked_bar=charts.stacked_bar,
        longest_caption=LONGEST_CAPTION,
        eval_command=Markup("<code>python -m eval</code>"),
    )
    return environment


def _number(value: float, digits: int = 3) -> str:
    return f"{value:.{digits}f}"


def _signed(value: float) -> str:
    """With its sign, unless nothing of the number is left to be seen."""
    written = f"{value:+.3f}"
    return written.replace("-", "−") if float(written) else "0.000"


def p_value_text(test: PairedTest, resamples: int) -> str:
    """Corrected for the number of pairs; an upper bound where no draw made as large a difference."""
    if test.holm_p_value < 0.001:
        return "< 0.001"
    bounded = test.p_value <= 1 / (resamples + 1)
    return f"{'≤ ' if bounded else ''}{test.holm_p_value:.3f}"
