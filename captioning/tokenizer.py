"""Chinese word pieces: BERT's vocabulary format, and sentences that read as people write them.

Text is NFC, lower case, one piece a Chinese character (BERT, arXiv:1810.04805); the algorithm is that of
the ``tokenizers`` library, so a Mengzi-BERT or BERT ``vocab.txt`` gives the ids those models were trained on.
"""

from __future__ import annotations

import os
import string
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

PAD, UNK, CLS, SEP, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
SPECIAL_PIECES = (PAD, UNK, CLS, SEP, MASK)
VOCABULARY_FILE = "vocab.txt"


class CaptionTokenizer:
    """Text to piece ids and back."""

    def __init__(self, pieces: Sequence[str]) -> None:
        """Takes the vocabulary in id order.

        Raises:
            ValueError: a special piece is missing, or a piece occurs twice.
        """
        self.pieces: tuple[str, ...] = tuple(pieces)
        ids = {piece: index for index, piece in enumerate(self.pieces)}
        missing = [piece for piece in SPECIAL_PIECES if piece not in ids]
        if missing:
            raise ValueError(f"the vocabulary lacks {', '.join(missing)}; a BERT vocab.txt has them all")
        if len(ids) < len(self.pieces):
            twice = next(piece for index, piece in enumerate(self.pieces) if ids[piece] != index)
            raise ValueError(f"the vocabulary names {twice!r} twice")
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = (ids[p] for p in SPECIAL_PIECES)
        self.special_ids = frozenset((self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id))
        self._silent_ids = self.special_ids - {self.unk_id}
        self._pieces_of = Tokenizer(WordPiece(ids, unk_token=UNK))
        self._pieces_of.normalizer = BertNormalizer(lowercase=True)
        self._pieces_of.pre_tokenizer = BertPreTokenizer()

    @classmethod
    def from_folder(cls, folder: str | Path) -> CaptionTokenizer:
        """Reads ``vocab.txt`` of a checkpoint folder.

        Raises:
            ValueError: the file is missing, not UTF-8, or not a BERT vocabulary.
        """
        path = Path(folder) / VOCABULARY_FILE
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise ValueError(
                f"{path}: not found; a checkpoint folder holds a BERT {VOCABULARY_FILE}"
            ) from None
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from None
        lines = text.removesuffix("\n").split("\n")  # not splitlines: U+2028 is a piece in BERT's vocabulary
        try:
            return cls([line.removesuffix("\r") for line in lines])
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    @classmethod
    def build(cls, captions: Iterable[str], extra: Iterable[str] = ()) -> CaptionTokenizer:
        """A vocabulary of characters: those of the texts, and ASCII letters and digits.

        Args:
            captions: training captions.
            extra: further texts that must be writable, such as the names of all object tags.
        """
        characters = set(string.ascii_lowercase + string.digits)
        normalizer = BertNormalizer(lowercase=True)
        for texts in (captions, extra):
            for text in texts:
                characters.update(normalizer.normalize_str(unicodedata.normalize("NFC", text)))
        characters = {character for character in characters if not character.isspace()}
        split = BertPreTokenizer().pre_tokenize_str
        continued = {
            "##" + character
            for character in characters
            if len(split(normalizer.normalize_str("a" + character))) == 1  # stands inside a word
        }
        return cls([*SPECIAL_PIECES, *sorted(characters), *sorted(continued)])

    def save(self, folder: str | Path) -> None:
        """Writes ``vocab.txt``, readable by ``transformers.BertTokenizer``."""
        path = Path(folder) / VOCABULARY_FILE
        with path.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(piece + "\n" for piece in self.pieces)
            file.flush()
            os.fsync(file.fileno())

    def __len__(self) -> int:
        """V, the number of pieces."""
        return len(self.pieces)

    def encode(self, text: str) -> list[int]:
        """Piece ids of a text, without [CLS] and [SEP]; unknown pieces are [UNK]."""
        ids: list[int] = self._pieces_of.encode(
            unicodedata.normalize("NFC", text), add_special_tokens=False
        ).ids
        return ids

    def places(self, text: str) -> list[tuple[int, int]]:
        """Where each piece of `encode` stands in the NFC text: first character and the one after the last."""
        places: list[tuple[int, int]] = self._pieces_of.encode(
            unicodedata.normalize("NFC", text), add_special_tokens=False
        ).offsets
        return places

    def decode(self, ids: Iterable[int]) -> str:
        """The sentence of some pieces, as people write it.

        Chinese characters and punctuation stand without spaces, Latin words and numbers are separated from
        each other by one. [CLS], [SEP], [PAD] and [MASK] are left out; an unknown piece shows as [UNK].
        """
        text = ""
        for index in ids:
            if index in self._silent_ids:
                continue
            piece = self.pieces[index]
            if piece.startswith("##") and len(piece) > 2:
                text += piece[2:]
            elif text and _is_spaced(text[-1]) and _is_spaced(piece[0]):
                text += " " + piece
            else:
                text += piece
        return unicodedata.normalize("NFC", text)

    @staticmethod
    def normalise(text: str) -> str:
        """The text as it comes back from ``decode(encode(text))`` where every piece is known."""
        text = BertNormalizer(lowercase=True).normalize_str(unicodedata.normalize("NFC", text))
        words = text.split()
        joined = "".join(
            (" " if before and _is_spaced(before[-1]) and _is_spaced(word[0]) else "") + word
            for before, word in zip(["", *words], words, strict=False)
        )
        return unicodedata.normalize("NFC", joined)


def _is_spaced(character: str) -> bool:
    """Whether words of this character's script are written apart: Latin, Greek, digits; not Chinese."""
    return character.isalnum() and unicodedata.east_asian_width(character) not in ("W", "F")
