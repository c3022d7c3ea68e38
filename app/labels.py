"""What the page itself says, in Chinese and in English: `app.frame_texts` and `app.view_texts`.

Captions, tags and file names are data and come as they are; see `app.text`.
"""

from typing import Literal

from app.frame_texts import FRAME_TEXTS
from app.view_texts import VIEW_TEXTS

Language = Literal["zh", "en"]
LANGUAGES: tuple[Language, ...] = ("zh", "en")

LABELS: dict[str, tuple[str, str]] = FRAME_TEXTS | VIEW_TEXTS
"""Key -> (Chinese, English)."""


def choose_language(wanted: str, browser_locale: str | None) -> Language:
    """``zh`` or ``en`` as given; ``auto`` follows the web browser and is Chinese where it says nothing."""
    if wanted in ("zh", "en"):
        return "zh" if wanted == "zh" else "en"
    return "zh" if browser_locale is None or browser_locale.lower().startswith("zh") else "en"


def label(key: str, language: Language, **values: object) -> str:
    """The words for ``key``, with ``values`` filled in."""
    return LABELS[key][LANGUAGES.index(language)].format(**values)
