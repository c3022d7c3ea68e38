"""Two small pictures, captions for them, and both ways of running a model over them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from oscar.attention import Trace
from oscar.backbone import Prefix
from oscar.masks import caption_mask, dense_mask
from oscar.modeling import OscarForCaptioning

T, G, R = 12, 4, 5
CLS, SEP, MASK = 2, 3, 4
CAPTIONS = ([5, 6, 7], [8, 9, 10, 11, 12], [7, 7], [20], [5, 6, 30, 31])
PICTURE = torch.tensor([0, 0, 1, 1, 1])


@dataclass(frozen=True)
class Pictures:
    """Two pictures; the second has less of everything."""

    tag_ids: Tensor
    tag_mask: Tensor
    features: Tensor
    region_mask: Tensor

    def prefix(self, model: OscarForCaptioning) -> Prefix:
        return model.bert.encode_prefix(self.tag_ids, self.tag_mask, self.features, self.region_mask)


def two_pictures() -> Pictures:
    generator = torch.Generator().manual_seed(1)
    return Pictures(
        torch.randint(5, 40, (2, G), generator=generator),
        torch.arange(G) < torch.tensor([4, 1])[:, None],
        torch.randn(2, R, 14, generator=generator),
        torch.arange(R) < torch.tensor([5, 3])[:, None],
    )


def whole(
    model: OscarForCaptioning,
    pictures: Pictures,
    captions: list[list[int]],
    picture: Tensor,
    trace: Trace | None = None,
) -> Tensor:
    """(C, L, D): captions (with their specials) padded to T, tags and regions, in one forward."""
    padded = torch.tensor([[*caption, *[0] * (T - len(caption))] for caption in captions])
    lengths = torch.tensor([len(caption) for caption in captions])
    real = torch.cat(
        [torch.arange(T) < lengths[:, None], pictures.tag_mask[picture], pictures.region_mask[picture]], dim=1
    )
    return model.bert(
        torch.cat([padded, pictures.tag_ids[picture]], dim=1),
        pictures.features[picture],
        caption_mask(T, real),
        token_type_ids=torch.tensor([[0] * T + [1] * G]),
        trace=trace,
    )


def dense_states(
    model: OscarForCaptioning,
    prefix: Prefix,
    picture: Tensor | None,
    last: int | None = None,
    real: Tensor | None = None,
    rows: Tensor | None = None,
) -> Tensor:
    """(C, last or 2S, D) or (N, D): all CAPTIONS and their [MASK] queries before a prefix."""
    slots = max(map(len, CAPTIONS)) + 1
    ids = [[CLS, *caption, *[0] * (slots - 1 - len(caption)), *[MASK] * slots] for caption in CAPTIONS]
    places = torch.arange(slots)
    positions = torch.cat([places, places + 1])[None]
    mask = dense_mask(slots)
    return model.bert.read_prefix(prefix, torch.tensor(ids), positions, mask, picture, last, real, rows)
