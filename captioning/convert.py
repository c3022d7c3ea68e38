"""``python -m captioning.convert SOURCE DEST``: published weights -> what these tools and transformers read.

SOURCE is a folder or hub id of Oscar, VinVL, Mengzi-Oscar, BERT or Mengzi-BERT weights. DEST gets the model,
its vocabulary and ``conversion.json``: what was decided, and what became of every key. Published weights name
no detector; with ``--regions FILE`` the user names it, and a captioner is then ready to write captions.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from captioning.checkpoints import MANIFEST, CaptionerInfo, write_checkpoint
from captioning.config import PrefixConfig
from captioning.decode_config import DecodeConfig
from captioning.detector_match import describe, detector_of
from captioning.examples import GEOMETRY_WIDTH
from captioning.folders import sha256_of
from captioning.initial import check_vocabulary, initial_folder, special_ids
from captioning.lexicon_info import LexiconInfo
from captioning.tokenizer import VOCABULARY_FILE, CaptionTokenizer
from features.arguments import parse_config
from features.store import RegionStore
from features.tags import Lexicon
from oscar.configuration import SPECIAL_IDS, OscarConfig
from oscar.conversion import TAKEN, model_class, oscar_config
from oscar.keys import AnyOscar, KeyReport, load_weights
from oscar.modeling import OscarForCaptioning
from oscar.published import CONFIG, Published, read_published

FORMAT = "tushuo-conversion/1"
SEED = 88
"""Decides the values of parts that the weights lack."""


@dataclass(frozen=True, kw_only=True)
class ConvertConfig:
    """Convert Oscar, VinVL, Mengzi-Oscar, BERT or Mengzi-BERT weights, with a report of every key."""

    source: str
    """Folder or hub id: config.json, vocab.txt and the weights (safetensors or pytorch_model.bin)."""
    dest: Path
    """The new folder."""
    regions: Path | None = None
    """A regions file of the detector whose regions the captioner shall read. Without it the folder is a model
    to train from."""
    lexicon: str = "zh"
    """Names of the object tags, with --regions: "zh", or a lexicon file (TSV, or JSON of English: Chinese as
    Mengzi-Oscar's chinese_label.json)."""
    max_caption_pieces: int | None = None
    """Caption slots with [CLS] and [SEP]; the tags' positions start behind them. Published recipes have 40,
    which is taken if empty."""
    geometry: Literal["wh", "hw"] = "wh"
    """How the regions that the source was trained on end: wh is (w/W, h/H), as in Oscar and in our regions
    files; hw is (h/H, w/W), as in a community recipe for VinVL: the weights' two columns are then swapped."""
    prefix: PrefixConfig = field(default_factory=PrefixConfig)
    """What the captioner reads of a picture, with --regions."""
    overwrite: bool = False
    """Replace DEST where it is a folder of this command or of training."""


def main(argv: list[str] | None = None) -> int:
    """Run the command; 0 converted, 1 refused with the reason on stderr, 2 usage."""
    config = parse(argv)
    try:
        convert(config)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"captioning.convert: {error}\n")
        return 1
    return 0


def parse(argv: list[str] | None) -> ConvertConfig:
    """Flags and YAML to settings; exits with code 2 for anything wrong."""
    config: ConvertConfig = parse_config(
        "captioning.convert", ConvertConfig, argv, positional=("source", "dest")
    )
    return config


def convert(config: ConvertConfig) -> None:
    """Read, decide, copy, write; each key is printed.

    Raises:
        ValueError: the source cannot be converted, or not with these settings.
        OSError: DEST exists, or cannot be written.
    """
    folder = initial_folder(config.source)
    _check_destination(config, folder)
    tokenizer = CaptionTokenizer.from_folder(folder)
    source = read_published(folder)
    check_vocabulary(tokenizer, source)
    if config.geometry == "hw":
        source = source.with_sides_swapped()
    slots = {} if config.max_caption_pieces is None else {"max_caption_pieces": config.max_caption_pieces}
    made = oscar_config(source, special_ids(tokenizer), **slots)
    torch.manual_seed(SEED)
    model = model_class(source)(made)
    keys = load_weights(model, source)
    info = None if config.regions is None else captioner_info(config, config.regions, model, keys)
    told = list(decisions(config, source, made, info))
    report = {
        "format": FORMAT,
        "source": folder.name if Path(config.source).is_dir() else config.source,
        "sha256": {
            path.name: sha256_of(path) for path in (*source.files, folder / CONFIG, folder / VOCABULARY_FILE)
        },
        "model": type(model).__name__,
        "decided": told,
        "settings_not_used": {name: value for name, value in source.settings.items() if name not in TAKEN},
        "keys": {name: value for name, value in dataclasses.asdict(keys).items() if name != "source"},
    }
    write_checkpoint(config.dest, model=model, tokenizer=tokenizer, info=info, conversion=report)
    sys.stdout.write("\n".join([*told, keys.every_key(), summary(config, model, keys, info)]) + "\n")


def captioner_info(config: ConvertConfig, regions: Path, model: AnyOscar, keys: KeyReport) -> CaptionerInfo:
    """What captioning needs besides the weights.

    Raises:
        ValueError: the weights are no captioner's, or the regions, tags or lengths do not fit them.
    """
    new = [key for key in keys.new if not key.startswith("bert.pooler.")]
    if not isinstance(model, OscarForCaptioning) or new:
        why = f"{new[0]} is not in it" if new else f"it holds a {type(model).__name__}"
        raise ValueError(
            f"{keys.source}: --regions makes a captioner, but this is none ({why}); convert without it and "
            f"train one: python -m captioning.train --init {config.dest}"
        )
    store, sizes = RegionStore(regions), model.config
    lexicon = Lexicon.load(config.lexicon, store.vocabulary_id, store.vocabulary)
    if store.feature_dim + GEOMETRY_WIDTH != sizes.img_feature_dim or store.has_globals:
        raise ValueError(
            f"{regions}: {describe(detector_of(store))}; the weights read {sizes.img_feature_dim} numbers a "
            f"region, {GEOMETRY_WIDTH} of them its box, and no whole-picture vectors: name regions of the "
            f"detector they were trained with"
        )
    wanted = sizes.max_caption_pieces + config.prefix.max_tag_pieces
    if wanted > sizes.max_position_embeddings:
        raise ValueError(
            f"caption and tags ask for {wanted} positions, the weights have {sizes.max_position_embeddings}; "
            f"lower --max_caption_pieces or --prefix.max_tag_pieces"
        )
    return CaptionerInfo(
        objective="caption",
        detector=detector_of(store),
        lexicon=LexiconInfo.of(lexicon),
        prefix=config.prefix,
        decode=DecodeConfig(max_pieces=sizes.max_caption_pieces - 2),
        step=0,
        scores={},
        training={},
    )


def decisions(
    config: ConvertConfig, source: Published, made: OscarConfig, info: CaptionerInfo | None
) -> Iterator[str]:
    """What the files left open or had wrong, a line each."""
    ids = ", ".join(f"{piece} {getattr(made, name)}" for name, piece in SPECIAL_IDS.items())
    wrong = [
        f"{name} {value}"
        for name, value in source.settings.items()
        if name.endswith("_token_id") and value != getattr(made, name)
    ]
    said = f"; {CONFIG} says {', '.join(wrong)}, which is not used" if wrong else ""
    yield f"special ids of {VOCABULARY_FILE}: {ids}{said}"
    number_type = source.settings.get("torch_dtype") or source.settings.get("dtype")
    yield "numbers: float32" + (f" ({CONFIG} says {number_type})" if number_type else "")
    tied = "shares the word embeddings" if made.tie_word_embeddings else "has a weight of its own"
    yield f"word head: {tied}"
    norm = "with" if made.use_img_layernorm else "without"
    swapped = ", after swapping h/H and w/W in the weights" if config.geometry == "hw" else ""
    yield f"regions: {made.img_feature_dim} numbers, {norm} LayerNorm, ending in w/W, h/H{swapped}"
    yield f"caption: {made.max_caption_pieces} slots, the tags' positions start behind them"
    if info is not None:
        yield f"detector: {describe(info.detector)}, because --regions names it; the source names none"


def summary(config: ConvertConfig, model: AnyOscar, keys: KeyReport, info: CaptionerInfo | None) -> str:
    """The account in numbers, and what to do with the folder."""
    counts = (
        f"{len(keys.copied)} copied, {len(keys.tied)} tied, {len(keys.new)} new, {len(keys.dropped)} dropped"
    )
    use = f"python -m captioning.train --init {config.dest} (captioners: --regions FILE, to write captions)"
    if info is not None:
        use = f"python -m captioning.caption --checkpoint {config.dest} --features {config.regions}"
    return f"{counts}\n{config.dest}: {type(model).__name__}; next: {use}"


def _check_destination(config: ConvertConfig, source: Path) -> None:
    """Nothing is lost by writing DEST.

    Raises:
        FileExistsError: something is there that may not be replaced.
    """
    dest = config.dest
    if not dest.exists():
        return
    if not config.overwrite:
        raise FileExistsError(f"{dest}: exists; give another DEST, or --overwrite")
    if not (dest / MANIFEST).is_file() or source.resolve().is_relative_to(dest.resolve()):
        raise FileExistsError(f"{dest}: is the source, or no model's folder; give another DEST")


if __name__ == "__main__":
    sys.exit(main())
