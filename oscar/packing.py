"""Padded sequences without their padding: linear layers then compute no row that nobody reads."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Packing:
    """Which of B * T rows are real: N of them, in reading order."""

    rows: Tensor
    """(N,) long, places among the B * T."""
    shape: tuple[int, int]
    """B, T."""

    @classmethod
    def of(cls, real: Tensor | None) -> "Packing | None":
        """From (B, T) bool, False on padding. None where there is no padding, hence nothing to save."""
        if real is None or real.all():
            return None
        return cls(real.flatten().nonzero().squeeze(1), (real.shape[0], real.shape[1]))

    def pack(self, padded: Tensor) -> Tensor:
        """(B, T, D) -> (N, D)."""
        return padded.flatten(0, 1).index_select(0, self.rows)

    def unpack(self, packed: Tensor) -> Tensor:
        """(N, D) -> (B, T, D), zeros on padding."""
        padded = packed.new_zeros(self.shape[0] * self.shape[1], packed.shape[1])
        return padded.index_copy(0, self.rows, packed).unflatten(0, self.shape)
