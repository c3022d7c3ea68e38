"""Who reads whom."""

import torch

from oscar.masks import caption_mask, dense_mask, full_mask


def rows(mask: torch.Tensor) -> list[str]:
    return ["".join("x" if allowed else "." for allowed in row) for row in mask.tolist()]


def test_a_caption_reads_backwards_and_the_evidence_never_reads_the_caption() -> None:
    # 3 caption slots (the last is padding), 2 tags (the last is padding), 2 regions
    real = torch.tensor([[True, True, False, True, False, True, True]])
    assert rows(caption_mask(3, real)[0]) == [
        "x..x.xx",
        "xx.x.xx",
        ".......",
        "...x.xx",
        ".......",
        "...x.xx",
        "...x.xx",
    ]


def test_the_full_mask_hides_padding_alone() -> None:
    assert rows(full_mask(torch.tensor([[True, False, True]]))[0]) == ["x.x", "x.x", "x.x"]


def test_a_query_reads_itself_and_the_pieces_before_it_and_nothing_else_reads_it() -> None:
    assert rows(dense_mask(3)[0]) == [
        "x.....",
        "xx....",
        "xxx...",
        "x..x..",
        "xx..x.",
        "xxx..x",
    ]
