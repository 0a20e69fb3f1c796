"""Directions of steps where they are known: linear layers by hand, and tiny encoders by finite differences."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from iaa_retrieval.analysis.hidden_states import Places, places_of, recording
from iaa_retrieval.analysis.step_directions import Direction, step_directions
from iaa_retrieval.errors import UsageError
from iaa_retrieval.models.new_retriever import new_bi_encoder, new_cross_encoder
from iaa_retrieval.training.losses.loss import KINDS
from iaa_retrieval.training.objectives import BiEncoderObjective, CrossEncoderObjective
from iaa_retrieval.tuning.apply import EMBEDDING_TASK, apply_method
from iaa_retrieval.tuning.architectures import ARCHITECTURES
from iaa_retrieval.tuning.methods import get_method, method_names

Backbone = Callable[[str], Path]
TOKENS, INPUTS, OUTPUTS = 6, 8, 5
# Every method on a post-LN model, the kinds of insertion on a pre-LN one (without biases), each further model once.
MEASURED = [(method, "bert", kind) for method in method_names() for kind in KINDS]
MEASURED += [(method, "modernbert", "bi-encoder") for method in ("full", "lora", "mam", "iaa-s", "iaa-m")]
# T5's classifier has a decoder; attentions with windows take their softmax in fp32, whose range a mask in fp64 leaves.
LEFT_OUT = {"bert", "albert", "t5", "mt5", "umt5", "mistral", "gemma2", "gemma3_text", "modernbert-decoder"}
MEASURED += [("full", backbone, "cross-encoder") for backbone in ARCHITECTURES if backbone not in LEFT_OUT]


class LowRank(nn.Module):
    """``h = x W^T + x A^T B^T``; W or one factor of the low-rank part is trained."""

    def __init__(self, trained: str) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(OUTPUTS, INPUTS))
        self.down = nn.Parameter(torch.randn(2, INPUTS))
        self.up = nn.Parameter(torch.zeros(OUTPUTS, 2))
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name == trained)

    def forward(self, x: Tensor, attention_mask: Tensor) -> Tensor:
        return x @ self.weight.T + x @ self.down.T @ self.up.T


class SquaredDistance(nn.Module):
    """Half the squared distance of the real tokens' states from their targets."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, mask: Tensor, targets: Tensor) -> dict[str, Tensor]:
        difference = (self.network(x, attention_mask=mask) - targets) * mask[..., None]
        return {"loss": difference.square().sum() / 2}


def orthonormal_rows(rows: int, columns: int) -> Tensor:
    return torch.linalg.qr(torch.randn(columns, rows, dtype=torch.float64))[0].T.contiguous()


def linear_case(trained: str, x: Tensor, padding: int = 0) -> tuple[SquaredDistance, dict[str, Tensor], Tensor, Tensor]:
    """An objective, its batch of one text, and x and -dL/dh of the real tokens alone."""
    network = LowRank(trained).double()
    objective = SquaredDistance(network)
    targets = torch.randn(len(x), OUTPUTS, dtype=torch.float64)
    ideal = targets - x @ network.weight.T
    junk = torch.full((padding, 1), 7.0, dtype=torch.float64)
    inputs = {
        "x": torch.cat((x, junk.expand(-1, INPUTS)))[None],
        "mask": torch.cat((torch.ones(len(x)), torch.zeros(padding)))[None],
        "targets": torch.cat((targets, junk.expand(-1, OUTPUTS)))[None],
    }
    return objective, inputs, x, ideal


def measured(
    objective: SquaredDistance, inputs: dict[str, Tensor], optimizer: Any, rate: float
) -> dict[str, Direction]:
    places = Places(objective.network, [objective.network])
    found = step_directions(objective, inputs, places, optimizer, rate=rate)
    assert [(one.side, one.layer) for one in found] == [("all", "1"), ("all", "all")] * 2
    assert [one[2:] for one in found[0::2]] == [one[2:] for one in found[1::2]]
    return {one.update: one for one in found[::2]}


def require(direction: Direction, change: Tensor, ideal: Tensor, tolerance: float = 1e-9) -> None:
    cosine = cosine_similarity(change.flatten(), ideal.flatten(), dim=0).item()
    assert direction.cosine == pytest.approx(cosine, abs=1e-9)
    assert direction.norm_ratio == pytest.approx((change.norm() / ideal.norm()).item(), rel=tolerance)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(20240515)


@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
@pytest.mark.parametrize("trained", ["weight", "up"])
def test_a_linear_layer_moves_as_derived_by_hand(trained: str, optimiser: str, padding: int) -> None:
    """With D = -dL/dH [tokens, out] and X [tokens, in], the gradient of W is -D^T X, and that of B is -D^T X A^T.

    A step of size s along minus the gradient thus changes H = X W^T by s X X^T D, and with B alone trained (low rank)
    by s X A^T A X^T D: a projection onto what two directions can say, which is what scatters the update. Adam's first
    step is s times the sign of the same, element by element: s X sign(X^T D), and s X A^T sign(A X^T D).
    """
    objective, inputs, x, ideal = linear_case(trained, torch.randn(TOKENS, INPUTS, dtype=torch.float64), padding)
    features = x if trained == "weight" else x @ objective.network.down.detach().T
    parameters = [parameter for parameter in objective.parameters() if parameter.requires_grad]
    rate = 0.01
    if optimiser == "sgd":
        found = measured(objective, inputs, torch.optim.SGD(parameters, lr=1.0), rate)
        require(found["optimiser"], rate * features @ features.T @ ideal, ideal)
    else:
        found = measured(objective, inputs, torch.optim.Adam(parameters, lr=1.0, eps=1e-30), rate)
        require(found["optimiser"], rate * features @ (features.T @ ideal).sign(), ideal)
    require(found["plain"], features @ features.T @ ideal, ideal)


def test_full_fine_tuning_on_whitened_inputs_moves_exactly_as_it_should() -> None:
    """X X^T = I makes the change s D; the low-rank part on the same inputs cannot follow D."""
    x = orthonormal_rows(TOKENS, INPUTS)
    objective, inputs, _, _ = linear_case("weight", x)
    found = measured(objective, inputs, torch.optim.SGD([objective.network.weight], lr=1.0), 0.25)
    assert found["plain"].cosine == pytest.approx(1.0, abs=1e-12)
    assert found["plain"].norm_ratio == pytest.approx(1.0, abs=1e-12)
    assert found["optimiser"].cosine == pytest.approx(1.0, abs=1e-12)
    assert found["optimiser"].norm_ratio == pytest.approx(0.25, abs=1e-12)
    objective, inputs, _, _ = linear_case("up", x)
    found = measured(objective, inputs, torch.optim.SGD([objective.network.up], lr=1.0), 0.25)
    assert 0 < found["plain"].cosine < 0.9


def test_the_gradient_is_clipped_and_an_extra_loss_is_the_optimisers_alone() -> None:
    objective, inputs, x, ideal = linear_case("weight", torch.randn(TOKENS, INPUTS, dtype=torch.float64))
    weight = objective.network.weight
    places = Places(objective.network, [objective.network])
    found = step_directions(
        objective,
        inputs,
        places,
        torch.optim.SGD([weight], lr=1.0),
        rate=0.1,
        max_norm=0.5,
        extra_loss=lambda: weight.square().sum(),
    )
    gradient = -ideal.T @ x + 2 * weight.detach()
    clipped = 0.5 * gradient / gradient.norm()
    require(found[0], -0.1 * x @ clipped.T, ideal, tolerance=1e-6)  # torch adds as much to the norm that it divides by
    require(found[2], x @ x.T @ ideal, ideal)


def test_nothing_that_changes_has_no_cosine() -> None:
    objective, inputs, x, _ = linear_case("up", torch.randn(TOKENS, INPUTS, dtype=torch.float64))
    inputs["targets"][0] = x @ objective.network.weight.detach().T
    found = measured(objective, inputs, torch.optim.SGD([objective.network.up], lr=1.0), 0.1)
    assert found["plain"].cosine is None and found["plain"].norm_ratio is None


def pair_batch() -> dict[str, Tensor]:
    ids = torch.randint(5, 100, (4, 12))
    mask = torch.ones_like(ids)
    mask[1, 7:] = mask[3, 9:] = 0
    return {"input_ids": ids * mask, "attention_mask": mask, "group_size": torch.tensor(2)}


def text_batch() -> dict[str, Tensor]:
    """Three queries, and twenty passages: more than one chunk of rows, sorted anew by their lengths."""
    query_mask = torch.ones(3, 6, dtype=torch.long)
    query_mask[1, 4:] = 0
    passage_mask = (torch.arange(14)[None] < torch.randint(4, 15, (20, 1))).long()
    return {
        "query_ids": torch.randint(5, 100, (3, 6)) * query_mask,
        "query_mask": query_mask,
        "passage_ids": torch.randint(5, 100, (20, 14)) * passage_mask,
        "passage_mask": passage_mask,
        "positive_index": torch.tensor([0, 7, 14]),
        "passage_keys": torch.arange(20),
        "relevant_keys": torch.tensor([[0], [7], [14]]),
    }


def tuned_objective(kind: str, method: str, backbone: Path) -> tuple[nn.Module, dict[str, Tensor], Any]:
    if kind == "bi-encoder":
        model: Any = new_bi_encoder(str(backbone), pooling="mean", normalize=True, precision="fp32", device="cpu")
    else:
        model = new_cross_encoder(str(backbone))
    model.network.set_attn_implementation("eager")
    sizes = {name: 4 for name in get_method(method).dimension_names}
    task = {} if model.has_task_head else {"task_type": EMBEDDING_TASK}
    model.set_networks(apply_method(model.network, method, sizes, **task))
    objective: nn.Module = (
        BiEncoderObjective(model, 0.05) if kind == "bi-encoder" else CrossEncoderObjective(model)
    ).double()
    return objective, text_batch() if kind == "bi-encoder" else pair_batch(), model


def test_a_backbone_that_uses_its_layers_again_is_refused(tiny_backbone: Backbone) -> None:
    model = new_bi_encoder(str(tiny_backbone("albert")), pooling="mean", normalize=True, precision="fp32", device="cpu")
    with pytest.raises(UsageError, match="uses each of its 2 layers several times"):
        places_of(model)


@pytest.mark.parametrize(("method", "backbone", "kind"), MEASURED)
def test_every_method_on_encoders_moves_as_finite_differences_say(
    kind: str, method: str, backbone: str, tiny_backbone: Backbone
) -> None:
    """The plain direction is that of two small steps of gradient descent in fp64, forwards and backwards."""
    objective, inputs, model = tuned_objective(kind, method, tiny_backbone(backbone))
    trained = [parameter for parameter in objective.parameters() if parameter.requires_grad]
    with torch.no_grad():
        for parameter in trained:  # away from zero, where half of a bottleneck does nothing
            parameter += 0.02 * torch.randn_like(parameter)
    places = places_of(model)
    found = step_directions(objective, inputs, places, torch.optim.SGD(trained, lr=1.0), rate=1e-5)
    names = ["queries", "passages", "all"] if kind == "bi-encoder" else ["all"]
    expected = [(side, layer, update) for update in ("optimiser", "plain") for side in names for layer in "123"]
    assert [one[:3] for one in found if one.layer != "all"] == expected

    objective.eval()
    with recording(places) as passes:
        loss = objective(**inputs)["loss"]
    states = [state for one in passes for state in one.states]
    of_states = torch.autograd.grad(loss, states, retain_graph=True)
    gradients = torch.autograd.grad(loss, trained, materialize_grads=True)

    def real_states(size: float) -> list[Tensor]:
        with torch.no_grad():
            for parameter, gradient in zip(trained, gradients, strict=True):
                parameter -= size * gradient
            with recording(places) as moved:
                objective(**inputs)
            for parameter, gradient in zip(trained, gradients, strict=True):
                parameter += size * gradient
        return [state[one.real] for one in moved for state in one.states]

    size = 1e-4
    masks = [one.real for one in passes for _ in one.states]
    ideal = [-gradient[mask] for gradient, mask in zip(of_states, masks, strict=True)]
    change = [(f - b) / (2 * size) for f, b in zip(real_states(size), real_states(-size), strict=True)]
    rows = {(one.layer, one.update): one for one in found if one.side == "all"}
    for layer, numbers in [*((str(n + 1), range(n, len(states), 3)) for n in range(3)), ("all", range(len(states)))]:
        wanted, actual = (torch.cat([part[n].flatten() for n in numbers]) for part in (ideal, change))
        cosine, ratio = cosine_similarity(wanted, actual, dim=0).item(), (actual.norm() / wanted.norm()).item()
        assert rows[layer, "plain"].cosine == pytest.approx(cosine, abs=1e-3)
        assert rows[layer, "plain"].norm_ratio == pytest.approx(ratio, rel=1e-3)
        assert rows[layer, "optimiser"].cosine == pytest.approx(cosine, abs=1e-2)
        assert rows[layer, "optimiser"].norm_ratio == pytest.approx(1e-5 * ratio, rel=1e-2)
    if kind == "bi-encoder":
        # Pooling has no parameters: the loss falls through the last layer's states alone, by the gradient's square.
        descent = sum(gradient.square().sum().item() for gradient in gradients)
        last = [(a * b).sum().item() for a, b in zip(ideal[2::3], change[2::3], strict=True)]
        assert sum(last) == pytest.approx(descent, rel=1e-3)


def test_measuring_leaves_no_trace(tiny_backbone: Backbone) -> None:
    objective, inputs, model = tuned_objective("bi-encoder", "lora", tiny_backbone("bert"))
    trained = [parameter for parameter in objective.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.01)
    objective.train()
    for _ in range(2):
        objective(**inputs)["loss"].backward()
        optimizer.step()
    before = copy.deepcopy((objective.state_dict(), optimizer.state_dict(), [p.grad for p in trained]))
    states, random = dict(optimizer.state), torch.get_rng_state()
    step_directions(objective, inputs, places_of(model), optimizer, rate=5.0, max_norm=1.0)
    after = (objective.state_dict(), optimizer.state_dict(), [p.grad for p in trained])
    torch.testing.assert_close(after, before, rtol=0, atol=0)
    assert all(optimizer.state[parameter] is entry for parameter, entry in states.items())
    assert torch.equal(torch.get_rng_state(), random)
    assert all(module.training for module in objective.modules())
    assert not any(module._forward_hooks for module in (places_of(model).layers[0], model.network))
