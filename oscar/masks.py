"""Who may attend to whom. Every mask is bool, True where the reader (row) may read (column)."""

import torch
from torch import Tensor


def full_mask(real: Tensor) -> Tensor:
    """Everything reads everything real: pre-training (arXiv:2004.06165) and retrieval.

    Args:
        real: (B, L) bool, False on padding.

    Returns:
        (B, L, L) bool indexed [example, reader, read].
    """
    return real[:, None, :].expand(-1, real.shape[1], -1)


def caption_mask(n_caption: int, real: Tensor) -> Tensor:
    """Attention allowed while a caption is being written (arXiv:2004.06165).

    A caption piece reads the tags, the regions and the pieces up to itself. Tags and
    regions read each other but never the caption, so evidence cannot leak the answer.

    Args:
        n_caption: T, the caption slots at the front of every sequence.
        real: (B, L) bool, False on padding.

    Returns:
        (B, L, L) bool indexed [example, reader, read]; rows of padding read nothing.
    """
    slots = real.shape[1]
    allowed = torch.ones(slots, slots, dtype=torch.bool, device=real.device)
    allowed[:n_caption, :n_caption].tril_()
    allowed[n_caption:, :n_caption] = False
    return allowed & real[:, :, None] & real[:, None, :]


def dense_mask(n_pieces: int, device: torch.device | None = None) -> Tensor:
    """Attention inside a stream [n pieces | n [MASK] queries] of the dense objective (ours).

    Piece i reads the pieces up to itself. Query i, which predicts piece i + 1, reads the pieces 0..i and
    itself: exactly what a [MASK] reads in step i of decoding. Nothing reads a query but itself. Padding
    comes after the real pieces, so no real row reads it and one mask serves every caption.

    Returns:
        (1, 2n, 2n) bool indexed [any caption, reader, read].
    """
    before = torch.ones(n_pieces, n_pieces, dtype=torch.bool, device=device).tril()
    itself = torch.eye(n_pieces, dtype=torch.bool, device=device)
    pieces = torch.cat([before, torch.zeros_like(itself)], dim=1)
    queries = torch.cat([before, itself], dim=1)
    return torch.cat([pieces, queries])[None]
