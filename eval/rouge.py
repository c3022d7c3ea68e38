"""ROUGE-L (Lin, W04-1013): how much of a caption's order of words its references share.

The longest common subsequence of caption and reference, over the caption's length (precision) and over the
reference's (recall). As in the COCO caption code, the best precision and the best recall among the references
are taken, which may be those of two different ones, and weighted with beta 1.2.
"""

from collections.abc import Sequence

from eval.metrics import Score, Tokens

BETA = 1.2


def rouge(candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> Score:
    """ROUGE-L, in 0 to 1."""
    pairs = zip(candidates, references, strict=True)
    return Score.of_means({"rouge-l": [_rouge_l(candidate, wanted) for candidate, wanted in pairs]})


def _rouge_l(candidate: Tokens, references: Sequence[Tokens]) -> float:
    common = common_lengths(candidate, references)
    if not any(common):
        return 0.0
    precision = max(common) / len(candidate)
    recall = max(length / len(tokens) for length, tokens in zip(common, references, strict=True) if tokens)
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)


def common_lengths(candidate: Tokens, references: Sequence[Tokens]) -> list[int]:
    """Length of the longest common subsequence with each reference.

    All columns of the table of dynamic programming are kept as the bits of one number (Hyyrö, "Bit-parallel
    LCS-length computation revisited", AWOCA 2004): bit i is 0 where the length grows at token i of the
    candidate. A token of the reference takes a few operations, one that the candidate lacks none.
    """
    positions: dict[str, int] = {}
    for index, token in enumerate(candidate):
        positions[token] = positions.get(token, 0) | 1 << index
    everywhere = (1 << len(candidate)) - 1
    lengths = []
    for tokens in references:
        flat = everywhere
        for token in tokens:
            if token in positions:
                matches = flat & positions[token]
                flat = (flat + matches | flat - matches) & everywhere
        lengths.append(len(candidate) - flat.bit_count())
    return lengths
