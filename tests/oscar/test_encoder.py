"""What gradient checkpointing saves."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from oscar.attention import Trace
from oscar.modeling import OscarForCaptioning
from tests.oscar.small_pictures import CAPTIONS, CLS, PICTURE, SEP, Pictures, dense_states, whole

MakeCaptioner = Callable[..., OscarForCaptioning]


def gradients_and_bytes_kept(model: OscarForCaptioning, pictures: Pictures) -> tuple[dict[str, Tensor], int]:
    """Of a loss over both ways through the model, dropout on, and what was kept for its backward pass."""
    model.zero_grad()
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    torch.manual_seed(0)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        at_once = whole(model, pictures, [[CLS, *caption, SEP] for caption in CAPTIONS], PICTURE)
        in_parts = dense_states(model, pictures.prefix(model), PICTURE)
        loss = at_once[:, :3].square().sum() + in_parts.pow(3).sum()
    loss.backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}, sum(kept.values())


@pytest.mark.filterwarnings("ignore:.gradient_checkpointing_.*:FutureWarning")
@pytest.mark.parametrize("asked", [None, {"use_reentrant": False}, {"use_reentrant": True}])
def test_gradient_checkpointing_keeps_less_and_changes_no_gradient(
    asked: dict[str, Any] | None, make_captioner: MakeCaptioner, pictures: Pictures
) -> None:
    model = make_captioner(num_hidden_layers=6, hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1)
    model.train()
    expected, everything = gradients_and_bytes_kept(model, pictures)
    model.activation_checkpointing_enable(asked)
    got, less = gradients_and_bytes_kept(model, pictures)
    assert got.keys() == expected.keys()
    assert all(torch.equal(got[name], gradient) for name, gradient in expected.items())
    assert less < everything / 3
    model.gradient_checkpointing_disable()
    assert gradients_and_bytes_kept(model, pictures)[1] == everything


@pytest.mark.filterwarnings("ignore:.gradient_checkpointing_.*:FutureWarning")
def test_a_trace_is_filled_once_though_checkpointing_runs_layers_again(
    make_captioner: MakeCaptioner, pictures: Pictures
) -> None:
    model = make_captioner().train()
    model.activation_checkpointing_enable()
    trace = Trace()
    whole(model, pictures, [[CLS, 5, SEP]], torch.tensor([0]), trace).sum().backward()
    assert len(trace.attentions) == 3
    assert len(trace.hidden_states) == 4
