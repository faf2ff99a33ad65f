"""What the engine says of each step: drifts alone and in the chain, float32's rounding, order, and second runs."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from torch import nn
from torch.fx import GraphModule

from mobilekit.errors import GateError
from mobilekit.models.frame import Axis, Frame
from mobilekit.models.inputs import Tensors
from mobilekit.models.normalization import Pixels
from mobilekit.parity.ledger.limits import bounds_for
from mobilekit.parity.ledger.result import FormatError
from mobilekit.recipes.load import LoadedRecipe, parse_recipe
from mobilekit.recipes.schema import Limit
from mobilekit.rewrites import catalogue, float32
from mobilekit.rewrites.base import Exactness, Options, Rewrite, Site
from mobilekit.rewrites.drift import Drift, drift_between
from mobilekit.rewrites.engine import Rewritten, rewrite
from mobilekit.rewrites.fx.graph import module_of, node_named
from mobilekit.rewrites.proof import Case, Extra
from mobilekit.store.stages import Stage

Change = Callable[[GraphModule, str, nn.Module], None]
Register = Callable[..., None]


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Register:
    """Put a rewrite of modules of one class, which `change` changes at a path, into the catalogue."""

    def put(name: str, kind: type[nn.Module], change: Change, exactness: Exactness = Exactness.EXACT) -> None:
        class Toy(Rewrite[Options]):
            summary = ""

            def find(self, graph: GraphModule) -> list[Site]:
                nodes = graph.graph.nodes
                return [
                    Site(node.name, str(node.target), "toy")
                    for node in nodes
                    if isinstance(module_of(graph, node), kind)
                ]

            def apply(self, graph: GraphModule, site: Site) -> None:
                module = module_of(graph, node_named(graph, site.node))
                assert module is not None
                with torch.no_grad():
                    change(graph, site.path, module)

        Toy.name, Toy.exactness = name, exactness
        monkeypatch.setitem(catalogue.REWRITES, name, Toy)

    return put


def recipe(*steps: str) -> LoadedRecipe:
    lines = "".join(f"  - {{{step}}}\n" for step in steps)
    return parse_recipe(f"input: {{size: 8}}\nrewrites:\n{lines}", "t", "t.yaml")


class Chain(nn.Module):
    """Two convolutions with a PReLU between, and a mean over the map at the end: (N, 3, H, W) to (N, 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 1, bias=False)
        self.relu = nn.PReLU()
        self.second = nn.Conv2d(4, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run them."""
        return self.second(self.relu(self.first(x))).mean((2, 3))


def chain() -> Chain:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Chain()
    nn.init.zeros_(model.second.bias)
    return model


def images(count: int = 10) -> Tensors:
    return {"input": torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))}


def scale(factor: float, only: str = "") -> Change:
    def change(_graph: GraphModule, path: str, module: nn.Module) -> None:
        if only in path:
            assert isinstance(module.weight, torch.Tensor)
            module.weight *= factor

    return change


def put(module: Callable[[], nn.Module]) -> Change:
    return lambda graph, path, _module: graph.set_submodule(path, module())


# -- drifts ------------------------------------------------------------------------------------------------------------


def test_drift_is_charged_after_the_steps_before_alone_and_so_far(register: Register) -> None:
    register("ten", nn.Conv2d, scale(1.1, "second"), Exactness.APPROXIMATE)
    register("twenty", nn.Conv2d, scale(1.2, "second"), Exactness.APPROXIMATE)
    first, second = rewrite(chain(), recipe("name: ten, max_drift: 1", "name: twenty, max_drift: 1"), images()).steps
    assert (first.drift, first.drift_alone, first.drift_so_far) == pytest.approx((0.1, 0.1, 0.1))
    assert (second.drift, second.drift_alone, second.drift_so_far) == pytest.approx((0.2, 0.2, 0.32))
    assert (second.top1_agreement, second.top1_agreement_alone) == (1.0, 1.0)


def test_a_drift_that_an_earlier_step_hides_is_charged_alone(register: Register) -> None:
    """Half the channels silenced before they are changed: nothing left to see in the chain, all of it alone."""

    def silence(_graph: GraphModule, path: str, module: nn.Module) -> None:
        if path == "second":
            assert isinstance(module, nn.Conv2d)
            module.weight[:, :2] = 0

    def change(_graph: GraphModule, path: str, module: nn.Module) -> None:
        if path == "first":
            assert isinstance(module, nn.Conv2d)
            module.weight[:2] *= 3

    register("silence", nn.Conv2d, silence, Exactness.APPROXIMATE)
    register("change", nn.Conv2d, change, Exactness.APPROXIMATE)
    steps = ("name: silence, max_drift: 9", "name: change, max_drift: 9")
    report = rewrite(chain(), recipe(*steps), images()).steps[1]
    assert report.drift == 0.0
    assert report.drift_alone is not None
    assert report.drift_alone > 0.1
    with pytest.raises(GateError, match=r"change alone changes the outputs by .* max_drift is 0.1 at t.yaml:4"):
        rewrite(chain(), recipe(steps[0], "name: change, max_drift: 0.1"), images())


def test_a_step_that_alone_matches_nothing_says_so(register: Register) -> None:
    register("silu", nn.PReLU, put(nn.SiLU), Exactness.APPROXIMATE)
    register("swish", nn.SiLU, put(nn.Hardswish), Exactness.APPROXIMATE)
    report = rewrite(chain(), recipe("name: silu, max_drift: 9", "name: swish, max_drift: 9"), images()).steps[1]
    assert report.applied == ("relu",)
    assert report.drift is not None
    assert report.drift > 0
    assert report.drift_alone is None
    assert "alone, on the model without the steps before it, it matches nothing" in report.notes


@pytest.mark.parametrize(("least", "stops"), [(0.5, True), (0.0, False)])
def test_top1_agreement_is_held_where_the_recipe_says_so(register: Register, least: float, stops: bool) -> None:
    register("turn", nn.Conv2d, scale(-1.0, "second"), Exactness.APPROXIMATE)
    step = recipe(f"name: turn, max_drift: 2.1, min_top1_agreement: {least}")
    if stops:
        with pytest.raises(GateError) as caught:
            rewrite(chain(), step, images())
        assert "the largest is the same one for 0.00% of the calibration inputs" in caught.value.what
        assert "min_top1_agreement is 0.5 at t.yaml:3." in caught.value.what
    else:
        [report] = rewrite(chain(), step, images()).steps
        assert (report.top1_agreement, report.min_top1_agreement) == (0.0, 0.0)
        assert report.drift == pytest.approx(2.0)


def test_nothing_is_held_on_request(register: Register) -> None:
    register("ten", nn.Conv2d, scale(1.1, "second"), Exactness.APPROXIMATE)
    [report] = rewrite(chain(), recipe("name: ten, max_drift: 0.01"), images(), enforce_limits=False).steps
    assert report.drift == pytest.approx(0.1)
    assert report.max_drift == 0.01


def test_drifts_of_several_outputs_are_the_worst() -> None:
    before = {"a": torch.tensor([[1.0, 0.0], [0.0, 2.0]]), "b": torch.tensor([[3.0, 4.0]])}
    after = {"a": torch.tensor([[0.0, 1.0], [0.0, 2.0]]), "b": torch.tensor([[3.0, 4.5]])}
    assert drift_between(before, after) == Drift(pytest.approx((2 / 5) ** 0.5), 0.5)
    nan = drift_between(before, {"a": before["a"], "b": torch.full((1, 2), float("nan"))})
    assert nan.relative_l2 != nan.relative_l2


def test_what_needs_retraining_promises_nothing(register: Register) -> None:
    register("ten", nn.Conv2d, scale(1.1, "second"), Exactness.NEEDS_RETRAINING)
    [report] = rewrite(chain(), recipe("name: ten, allow: true, max_drift: 0.5"), images()).steps
    assert report.drift == pytest.approx(0.1)
    assert report.max_drift is None
    assert report.is_other_function
    [refused] = rewrite(chain(), recipe("name: ten"), images()).steps
    assert not refused.is_other_function


def test_no_limit_is_derived_against_a_reference_that_computes_something_else() -> None:
    noise = FormatError(1e-6, 1e-6, 1.0, 1e-3, 1e-2, 1e-1, 1e-1)
    assert bounds_for(Stage("onnx"), noise, None, None) == ()
    assert [bound.metric for bound in bounds_for(Stage("onnx"), noise, 0.0, None)] == ["max_abs", "max_error_eps"]
    own = bounds_for(Stage("onnx"), noise, None, Limit(cosine=0.5))
    assert [(bound.metric, bound.limit) for bound in own] == [("cosine", 0.5)]


# -- proofs ------------------------------------------------------------------------------------------------------------


def test_rounding_in_float32_is_reported(register: Register) -> None:
    register("half", nn.Conv2d, scale(1.0))
    [report] = rewrite(chain(), recipe("name: half"), images(20)).steps
    assert report.float32 is not None
    assert report.float32.count == 4
    assert 0 < report.float32.max_error_eps < report.float32.limit
    assert report.to_json()["float32"]["holds"] is True
    assert report.details == ("toy", "toy")
    [without] = rewrite(chain(), recipe("name: half")).steps
    assert without.float32 is None
    assert without.proof is not None


def detour(graph: GraphModule, path: str, module: nn.Module) -> None:
    """Add a large constant and take it off again: 1e5 x 1.1e-16 in float64, 1e5 x 6e-8 in float32."""
    if path == "second":
        assert isinstance(module, nn.Conv2d)
        assert module.bias is not None
        module.bias += 1e5
        weights = torch.eye(4, dtype=torch.float64)[:, :, None, None]
        back = nn.Conv2d(4, 4, 1, dtype=torch.float64)
        back.weight.copy_(weights)
        back.bias.fill_(-1e5)  # type: ignore[union-attr]
        graph.set_submodule(path, nn.Sequential(module, back))


def test_what_is_exact_in_float64_alone_stops(register: Register) -> None:
    register("detour", nn.Conv2d, detour)
    assert rewrite(chain(), recipe("name: detour")).steps[0].proof is not None
    with pytest.raises(GateError, match=r"detour is exact in real arithmetic and not in float32: .* the limit is"):
        rewrite(chain(), recipe("name: detour"), images())


def test_after_an_approximate_step_the_budget_is_that_of_the_model_it_left(register: Register) -> None:
    register("detour", nn.Conv2d, detour, Exactness.APPROXIMATE)
    register("same", nn.Conv2d, scale(1.0))
    _, same = rewrite(chain(), recipe("name: detour, max_drift: 9", "name: same"), images()).steps
    [before] = rewrite(chain(), recipe("name: same"), images()).steps
    assert same.float32 is not None
    assert before.float32 is not None
    assert same.float32.max_error_eps > 100 * before.float32.max_error_eps
    assert same.float32.limit == 6 * same.float32.max_error_eps, "it rounds as the model before it"


def test_float32_budgets_follow_the_models_own_rounding() -> None:
    assert float32.check({"a": 10.0, "b": 0.1}, {"a": 59.0, "b": 3.9}, 20) == float32.Float32Check("a", 59.0, 60.0, 4)
    assert not float32.check({"a": 10.0, "b": 0.1}, {"a": 30.0, "b": 4.1}, 3).holds
    assert not float32.check({"a": 10.0}, {"a": float("inf")}, 3).holds


def test_a_step_is_proved_against_what_the_step_before_it_left(register: Register) -> None:
    """Be that another function, or the same but for rounding: 1e-9 is allowed to each."""
    register("soften", nn.Conv2d, scale(1.05, "first"), Exactness.APPROXIMATE)
    register("near", nn.Conv2d, scale(1 + 4e-10, "first"))
    soften, *near = rewrite(chain(), recipe("name: soften, max_drift: 9", *["name: near"] * 3), images()).steps
    assert soften.drift is not None
    assert soften.drift > 0.01
    for report in near:
        assert report.proof is not None
        assert 3.5e-10 < report.proof.relative_error < 1e-9
    register("lie", nn.Conv2d, scale(1.001, "second"))
    with pytest.raises(GateError, match="The rewrite lie says exact and is not: at second"):
        rewrite(chain(), recipe("name: soften, max_drift: 9", "name: lie"), images())


def test_the_last_image_of_a_case_shows_its_border() -> None:
    noise, border = Case((2, 3, 16, 12), 5).make()["input"]
    assert border[:, 3:-3, 3:-3].abs().max() == 0
    assert border[:, :3].std() > 4 * noise.std()
    assert noise[:, 3:-3, 3:-3].abs().min() > 0


def test_a_failed_proof_says_how_to_make_its_input_again(register: Register) -> None:
    register("lie", nn.Conv2d, scale(1.001, "second"))
    with pytest.raises(GateError) as caught:
        rewrite(chain(), recipe("name: lie"))
    call = caught.value.hint.split("The input again: ")[1]
    import mobilekit.rewrites.proof

    inputs = eval(call, {"mobilekit": mobilekit})  # noqa: S307  (our own message)
    assert torch.equal(inputs["input"], Case((2, 3, 8, 8), 0).make()["input"])
    extras, pixels = (Extra("other", (1, 2), (0.0, 1.0)),), Pixels(("input",), (0.5,), (0.25,))
    axis = Axis(6, 4, Fraction(0), Fraction(3, 2))
    framed = pixels._replace(frame=Frame(axis, axis, "bicubic"))
    for case in (Case((1, 1, 4, 4), 1, extras, each) for each in (Pixels(), pixels, framed)):
        assert eval(case.call, {"mobilekit": mobilekit}) == case  # noqa: S307


# -- order -------------------------------------------------------------------------------------------------------------


def notes(result: Rewritten) -> dict[str, tuple[str, ...]]:
    return {step.name: step.notes for step in result.steps}


def test_a_rewrite_that_matches_nothing_says_so() -> None:
    result = rewrite(chain(), recipe("name: fold-batch-norm"))
    assert notes(result) == {"fold-batch-norm": ("it matches nothing in this model",)}
    assert result.steps[0].to_json()["notes"] == ["it matches nothing in this model"]


def test_a_second_run_that_would_change_again_is_said(register: Register) -> None:
    register("again", nn.Conv2d, scale(1.0))
    register("once", nn.PReLU, put(nn.ReLU6), Exactness.APPROXIMATE)
    said = notes(rewrite(chain(), recipe("name: again", "name: once, max_drift: 9"), images()))
    assert said == {"again": ("a second run would change first and another site again",), "once": ()}


def test_an_order_that_loses_sites_is_said(register: Register) -> None:
    register("eater", nn.PReLU, put(nn.SiLU), Exactness.APPROXIMATE)
    register("eaten", nn.PReLU, put(nn.ReLU6), Exactness.APPROXIMATE)
    wrong = rewrite(chain(), recipe("name: eater, max_drift: 9", "name: eaten, max_drift: 9"), images())
    assert notes(wrong)["eaten"] == (
        "it matches nothing in this model",
        "eater runs first and removes a site that eaten would match (relu). To rewrite it with eaten, "
        "move eaten before eater",
    )


def test_an_order_that_comes_too_early_is_said(register: Register) -> None:
    register("maker", nn.PReLU, put(nn.SiLU), Exactness.APPROXIMATE)
    register("user", nn.SiLU, put(nn.Hardswish), Exactness.APPROXIMATE)
    steps = ["name: user, max_drift: 9", "name: maker, max_drift: 9"]
    wrong = rewrite(chain(), recipe(*steps), images())
    assert notes(wrong)["user"] == (
        "it matches nothing in this model",
        "maker runs later and adds a site that user would match (relu). To rewrite it with user, move user after maker",
    )
    right = notes(rewrite(chain(), recipe(*steps[::-1]), images()))
    assert right["maker"] == ()
    assert right["user"] == ("alone, on the model without the steps before it, it matches nothing",)
