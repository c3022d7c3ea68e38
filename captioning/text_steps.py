"""What cleaning takes out of a text or writes in another way: one function a step, text in, text out.

Mengzi's corpora were freed of HTML tags, URLs, e-mail addresses and emoji, and brought to simplified
characters with OpenCC (arXiv:2110.06696). Characters that nobody sees, several ways to write one character,
full and half width and white space are added here. `captioning.cleaning` puts the steps together.
"""

from __future__ import annotations

import html
import re
import unicodedata
from functools import cache
from html.entities import html5
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opencc import OpenCC

_COMMENT = re.compile(
    r"<!--.*?(?:-->|\Z)", re.DOTALL
)  # one that is never closed reaches to the end, as in HTML
_UNSEEN_ELEMENT = re.compile(r"<(script|style)\b[^<>]*>.*?(?:</\1\s*>|\Z)", re.DOTALL | re.IGNORECASE)
# A letter stands right behind "<": "a < b" and "<3" are no tags. Quoted values may hold ">". The last form is
# for quotation marks without a partner.
_TAG = re.compile(
    r"""</?([A-Za-z][A-Za-z0-9]*)(?![A-Za-z0-9])(?:"[^"<]*"|'[^'<]*'|[^'"<>])*+>"""
    r"""|</?([A-Za-z][A-Za-z0-9]*)(?![A-Za-z0-9])[^<>]*>"""
    r"""|<[!?][A-Za-z\[][^<>]*>"""
)
# Elements that do not break the line.
_INLINE = re.compile(
    r"a|abbr|acronym|b|bd[io]|big|cite|code|data|del|dfn|em|font|i|ins|kbd|label|mark|q|rb|rp|rt|ruby|s|samp"
    r"|small|span|strike|strong|sub|sup|time|tt|u|var|wbr",
    re.IGNORECASE,
)
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_AMPERSANDS = re.compile(r"&(?:amp;)+")

_URL_PART = r"[A-Za-z0-9\-._~:/?#@!$&'*+,;=%|]"
_URL = re.compile(
    rf"(?:(?:https?|ftp)://|(?<![A-Za-z0-9.@_-])www\.)(?=[A-Za-z0-9\[])"
    rf"(?:{_URL_PART}|\({_URL_PART}*\)|\[{_URL_PART}*\])*(?:[A-Za-z0-9\-_~/#@$&*+=%|]|(?<=[)\]]))",
    re.IGNORECASE,
)
# 64 characters before the "@" and labels of 63 are the most there may be (RFC 5321, RFC 1035).
_EMAIL = re.compile(
    r"(?:mailto:)?(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,63}",
    re.IGNORECASE,
)

# Emoji by themselves: those of emoji-data.txt (Unicode 16) that are pictures, and the blocks of pictographs.
_PICTURES = (
    "\u231a\u231b\u2328\u23cf\u23e9-\u23f3\u23f8-\u23fa\u25fd\u25fe\u2600-\u2604\u260e\u2611\u2614\u2615\u2618"
    "\u261d\u2620\u2622\u2623\u2626\u262a\u262e\u262f\u2638-\u263a\u2640\u2642\u2648-\u2653\u265f\u2660\u2663"
    "\u2665\u2666\u2668\u267b\u267e\u267f\u2692-\u2697\u2699\u269b\u269c\u26a0\u26a1\u26a7\u26aa\u26ab\u26b0\u26b1"
    "\u26bd\u26be\u26c4\u26c5\u26c8\u26ce\u26cf\u26d1\u26d3\u26d4\u26e9\u26ea\u26f0-\u26f5\u26f7-\u26fa\u26fd\u2702"
    "\u2705\u2708-\u270d\u270f\u2712\u2714\u2716\u271d\u2721\u2728\u2733\u2734\u2744\u2747\u274c\u274e"
    "\u2753-\u2755\u2757\u2763\u2764\u2795-\u2797\u27a1\u27b0\u27bf\u2b05-\u2b07\u2b1b\u2b1c\u2b50\u2b55"
    "\U0001f000-\U0001faff"
)
# Characters of ordinary print, emoji only with U+FE0F behind them: ©®‼⁉™ℹ, arrows, Ⓜ, squares, 〰〽㊗㊙.
_SIGNS = (
    "\u00a9\u00ae\u203c\u2049\u2122\u2139\u2194-\u2199\u21a9\u21aa\u24c2\u25aa\u25ab\u25b6\u25c0\u25fb\u25fc"
    "\u2934\u2935\u3030\u303d\u3297\u3299"
)
# What follows an emoji and belongs to it: presentation, the keycap's frame, the joiner, the tags of flags.
_EMOJI = re.compile(
    rf"(?:[{_PICTURES}]|[{_SIGNS}]\ufe0f|[0-9#*]\ufe0f?\u20e3)[\ufe0e\ufe0f\u20e3\u200d\U000e0020-\U000e007f]*"
)

# Control characters but for tab and line ends, format characters that show nothing, variation selectors,
# surrogates, and the areas for private use, whose characters are known to one font only.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u034f\u061c\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\ud800-\udfff\ue000-\uf8ff\ufe00-\ufe0f\ufeff\ufff9-\ufffb"
    "\U000e0001\U000e0020-\U000e007f\U000e0100-\U000e01ef\U000f0000-\U0010ffff]"
)

_WIDE_ASCII = range(0xFF01, 0xFF5F)
_CHINESE_PUNCTUATION = "！（），：；？［］～"
_HALF_WIDTH_EAST_ASIAN = re.compile("[\uff61-\uffdc\uffe8-\uffee]+")
_TO_ASCII = {code: code - 0xFEE0 for code in _WIDE_ASCII if chr(code) not in _CHINESE_PUNCTUATION} | {
    0xFFE0: "¢",
    0xFFE1: "£",
    0xFFE2: "¬",
    0xFFE4: "¦",
    0xFFE5: "¥",
    0xFFE6: "₩",
}


def remove_html(text: str) -> str:
    """Takes out tags, comments, scripts and styles, and writes entities as their characters.

    A tag that breaks the line leaves a space, one inside a line (``<b>``) nothing. Entities need their
    semicolon, so ``AT&T`` and addresses with ``&copy=2`` stay; one that stands for white space is a space.
    """
    if "<" in text:
        text = _COMMENT.sub("", text)
        text = _UNSEEN_ELEMENT.sub(" ", text)
        text = _TAG.sub(_tag_as_text, text)
    if "&" in text:
        text = _ENTITY.sub(_entity_as_text, _AMPERSANDS.sub("&", text))
    return text


def _tag_as_text(tag: re.Match[str]) -> str:
    return "" if _INLINE.fullmatch(tag[1] or tag[2] or "") else " "


def _entity_as_text(entity: re.Match[str]) -> str:
    name = entity[0][1:]
    text = html.unescape(entity[0]) if name[0] == "#" else html5.get(name, entity[0])
    return " " if text.isspace() else text


def remove_urls(text: str) -> str:
    """Takes out what begins with http, https, ftp or ``www.``, up to what is not of ASCII.

    Chinese characters end an address, for nothing tells a path in Chinese from the sentence going on. A full
    stop, comma or closing bracket at its end belongs to the sentence.
    """
    return _URL.sub(_gap, text) if "://" in text or "." in text else text


def remove_emails(text: str) -> str:
    """Takes out e-mail addresses, with ``mailto:`` in front of them."""
    return _EMAIL.sub(_gap, text) if "@" in text else text


def remove_emoji(text: str) -> str:
    """Takes out emoji with all they consist of: skin tones, joined families, flags, keycaps.

    Signs of ordinary print (``©``, ``™``, ``↔``) go only where U+FE0F makes an emoji of them; stars, musical
    notes and other symbols that are no emoji stay.
    """
    return text if text.isascii() else _EMOJI.sub(_gap, text)


def _gap(removed: re.Match[str]) -> str:
    """A space where two words would run together; nothing between Chinese characters."""
    start, end = removed.span()
    around = removed.string[max(start - 1, 0) : start] + removed.string[end : end + 1]
    return " " if len(around) == 2 and around.isascii() and around.isalnum() else ""


def remove_invisible(text: str) -> str:
    """Takes out control characters, zero-width characters, variation selectors, private and half characters.

    Control characters that separate (vertical tab, form feed, U+0085) become a space.
    """
    return _INVISIBLE.sub(lambda found: " " if found[0].isspace() else "", text)


def compose(text: str) -> str:
    """NFC: one way to write a character, CJK compatibility ideographs included (U+F900 is U+8C48)."""
    return unicodedata.normalize("NFC", text)


def fold_width(text: str) -> str:
    """Writes letters, digits and signs of full width as ASCII, half-width kana and marks in full width.

    ``！（），：；？［］～`` stay: they are the punctuation of Chinese (GB/T 15834). So does punctuation in
    ASCII, for what is meant by it depends on the sentence. This is not NFKC: ``℃``, ``½``, ``①``, ``㎡``
    and ``…`` are characters of their own, and ``2½`` is not ``21/2``.
    """
    if text.isascii():
        return text
    return _HALF_WIDTH_EAST_ASIAN.sub(
        lambda found: unicodedata.normalize("NFKC", found[0]), text.translate(_TO_ASCII)
    )


def simplify(text: str) -> str:
    """Writes traditional characters as simplified ones (OpenCC's t2s).

    Characters only, by the phrase they stand in (乾燥 is 干燥, 乾坤 stays): Taiwan's words (滑鼠) are not
    replaced by the mainland's, which would change what somebody wrote.

    Raises:
        ModuleNotFoundError: OpenCC is not installed.
    """
    return text if text.isascii() else _opencc().convert(text)


@cache
def _opencc() -> OpenCC:
    try:
        from opencc import OpenCC
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "simplified characters need OpenCC: pip install 'tushuo[cleaning]', or leave this step out "
            "(simplified=false)"
        ) from error
    return OpenCC("t2s")


def collapse_spaces(text: str) -> str:
    """One space for any run of white space (ideographic and no-break spaces too), none at the ends."""
    return " ".join(text.split())
