"""The linear layers of this model: torch's, with the product turned round where that is faster."""

import torch
from torch import Tensor, nn
from torch.nn import functional

FEW, BLOCK = 8, 16  # up to FEW rows any number is fast, above it the multiples of BLOCK are


class Linear(nn.Linear):
    """`nn.Linear`, computed by `linear`."""

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        return linear(hidden, self.weight, self.bias)


def linear(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """`torch.nn.functional.linear`, on a CPU in fp32 and without gradients as (W X')'.

    Decoding multiplies large matrices with few rows, two a stream. Asked for weight times rows instead of
    rows times weight, and for whole blocks of rows, MKL takes 0.5 to 1.0 of the time for 2 to 80 rows of
    BERT-base's layers, and no more for longer inputs (benchmarks/linear.py).

    Args:
        hidden: (..., in).
        weight: (out, in).
        bias: (out,).

    Returns:
        (..., out), not contiguous.
    """
    if torch.is_grad_enabled() or hidden.device.type != "cpu" or hidden.dtype != torch.float32:
        return functional.linear(hidden, weight, bias)
    rows = hidden.reshape(-1, hidden.shape[-1])  # (M, in)
    n_rows = len(rows)
    if n_rows > FEW and n_rows % BLOCK:
        rows = functional.pad(rows, (0, 0, 0, -n_rows % BLOCK))
    turned = torch.addmm(bias[:, None], weight, rows.t())  # (out, M and padding)
    return turned[:, :n_rows].t().reshape(*hidden.shape[:-1], len(weight))
