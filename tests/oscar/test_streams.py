"""The cached steps against whole sequences without a cache."""

from collections.abc import Callable
from typing import cast

import pytest
import torch

from oscar.configuration import OscarConfig
from oscar.modeling import OscarForCaptioning
from oscar.streams import Streams
from tests.oscar.test_decoding import CLS, make_pictures, next_logits


@torch.no_grad()
@pytest.mark.parametrize("seed", range(5))
def test_streams_that_branch_and_end_are_read_as_whole_sequences(
    seed: int, make_captioner: Callable[..., OscarForCaptioning]
) -> None:
    model = make_captioner(seed).double()
    pictures = make_pictures(cast(OscarConfig, model.config), seed)
    streams = Streams(model, pictures.prefix(model))
    living = torch.arange(len(pictures))
    draw = torch.Generator().manual_seed(seed)
    for n, width in enumerate((3, 3, 5, 2, 1, 4, 4)):
        logits = streams.next_logits()
        assert streams.n_pieces == n
        for row, picture in enumerate(living.tolist()):
            expected = next_logits(model, pictures, picture, streams.words[row, :, 1:].tolist())
            torch.testing.assert_close(logits[row], expected, atol=1e-10, rtol=0)
        kept = torch.arange(len(living))[n % 3 == 2 :]  # after the third piece the first picture ends
        sources = torch.randint(logits.shape[1], (len(kept), width), generator=draw)
        pieces = torch.randint(5, 40, (len(kept), width), generator=draw)
        wanted = [
            [
                [*streams.words[k, s].tolist(), p]
                for s, p in zip(sources[i].tolist(), pieces[i].tolist(), strict=True)
            ]
            for i, k in enumerate(kept.tolist())
        ]
        streams.advance(kept, sources, pieces)
        living = living[kept]
        assert streams.words.tolist() == wanted
    assert len(living) == 1


def test_streams_begin_with_cls(make_captioner: Callable[..., OscarForCaptioning]) -> None:
    model = make_captioner().double()
    prefix = make_pictures(cast(OscarConfig, model.config)).prefix(model)
    streams = Streams(model, prefix, width=4)
    assert streams.words.tolist() == [[[CLS]] * 4] * 3
    assert streams.n_pieces == 0
    with torch.no_grad():
        logits = streams.next_logits()
    assert logits.shape == (3, 4, 40)
    torch.testing.assert_close(logits, logits[:, :1].expand(-1, 4, -1))


@torch.no_grad()
def test_a_stream_changes_nothing_at_all_in_the_streams_beside_it(
    make_captioner: Callable[..., OscarForCaptioning],
) -> None:
    model = make_captioner(9)
    prefix = make_pictures(cast(OscarConfig, model.config), 9, torch.float32).prefix(model)
    sources, pictures = torch.arange(3).expand(3, -1), torch.arange(3)
    one, other = Streams(model, prefix, 3), Streams(model, prefix, 3)
    for piece in (5, 6, 7, 8):
        ours, theirs = one.next_logits(), other.next_logits()
        assert (ours[:, 0] - theirs[:, 0]).abs().max() == 0.0
        assert piece == 5 or (ours[:, 1:] - theirs[:, 1:]).abs().amax(dim=2).min() > 0.0
        pieces = torch.tensor([[piece] * 3] * 3)
        one.advance(pictures, sources, pieces)
        other.advance(pictures, sources, pieces + torch.tensor([0, 10, 20]))
