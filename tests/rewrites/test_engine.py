"""The engine: it proves what claims to be exact, measures what does not, and names what it stops at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
import torch
from torch import nn
from torch.fx import GraphModule

from mobilekit.errors import GateError, UsageError
from mobilekit.jobs.adjust import adjust
from mobilekit.models.build import build_reference
from mobilekit.models.dfc import FullyConnected, SharedFullyConnected
from mobilekit.models.registry import find_model
from mobilekit.models.weights import load_weights, packaged_weights, weights_digest
from mobilekit.recipes.inputs.builtin import calibration_inputs
from mobilekit.recipes.load import LoadedRecipe, parse_recipe, recipe_for
from mobilekit.recipes.picture import Input
from mobilekit.recipes.schema import Recipe
from mobilekit.rewrites import catalogue
from mobilekit.rewrites.base import Exactness, Options, Rewrite, Site
from mobilekit.rewrites.catalogue import steps_of
from mobilekit.rewrites.engine import Rewritten, rewrite
from mobilekit.rewrites.fx.graph import module_of, node_named
from mobilekit.rewrites.proof import cases_for

# -- the shipped recipes -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["ghostnetv2_digits", "ghostnetv2"])
def shipped(request: pytest.FixtureRequest) -> tuple[nn.Module, str, Rewritten, torch.Tensor]:
    """A reference, its digest before the rewrites, the rewritten model, and a few calibration inputs."""
    loaded = recipe_for(request.param)
    inputs = torch.from_numpy(calibration_inputs(loaded.recipe)["input"])[:4]
    model = build_reference(find_model(request.param), {}, None, {"input": inputs}).model
    digest = weights_digest(model)
    return model, digest, rewrite(model, loaded), inputs


def counts(result: Rewritten) -> dict[str, tuple[int, int]]:
    return {step.name: (len(step.applied), len(step.refused)) for step in result.steps}


def test_shipped_recipes_find_every_site(shipped: tuple[nn.Module, str, Rewritten, torch.Tensor]) -> None:
    result = shipped[2]
    found = counts(result)
    assert found.pop("concat-into-sum", (2, 0)) == (2, 0)  # for large maps: not in the recipe of the digits
    assert found == {
        "dfc-shared": (28, 0),
        "gate-before-upsample": (0, 14),
        "fold-batch-norm": (122, 0),
        "noop-slice": (32, 0),
        "upsample-broadcast": (14, 0),
        "relu6-gate": (7, 0),
        "pool-as-depthwise": (14, 0),
    }
    assert {refusal.reason for refusal in result.steps[1].refused} == {"the gate is on the small map already"}
    assert "blocks.3.0.ghost1.attention.sigmoid" in {refusal.path for refusal in result.steps[1].refused}
    assert "blocks.3.0.ghost1.attention.vertical" in result.steps[0].applied
    leftovers = (FullyConnected, nn.BatchNorm2d)
    assert not any(isinstance(module, leftovers) for module in result.graph.modules())
    assert not any(node.target is torch.ops.aten.slice.Tensor for node in result.graph.graph.nodes)


def test_shipped_recipes_are_proved(shipped: tuple[nn.Module, str, Rewritten, torch.Tensor]) -> None:
    _model, _digest, result, inputs = shipped
    for step in result.steps:
        if step.name == "gate-before-upsample":
            assert step.proof is None  # nothing was done
            continue
        assert step.proof is not None
        assert step.proof.relative_error <= 1e-9
        assert len(step.proof.cases) == 2
        assert step.proof.cases[0].shape[1:] == inputs.shape[1:]
        assert step.to_json()["proof"]["holds"] is True


def test_the_rewritten_model_is_the_reference_within_float_noise(
    shipped: tuple[nn.Module, str, Rewritten, torch.Tensor],
) -> None:
    model, digest, result, inputs = shipped
    with torch.no_grad():
        before, after = model(inputs), result.graph(inputs)
    assert after.dtype == torch.float32
    assert before.abs().max() > 0.1
    assert (after - before).abs().max() <= 2e-5 * before.abs().max()
    assert weights_digest(model) == digest
    assert any(isinstance(module, SharedFullyConnected) for module in model.modules())


def digits(**options: Any) -> nn.Module:
    model = find_model("ghostnetv2_digits").create(**options)
    load_weights(model, packaged_weights("ghostnetv2_digits.safetensors"))
    return model


def test_gates_after_the_upsample_are_moved() -> None:
    result = rewrite(digits(gate="after"), recipe_for("ghostnetv2_digits"))
    assert counts(result)["gate-before-upsample"] == (14, 0)
    step = result.steps[1]
    assert step.proof is not None
    # A processor's vector and scalar sigmoids may differ in the last bits, and a map of another size is cut into other
    # vectors; 14 gates follow one another, and no step between them enlarges a relative error much.
    assert step.proof.relative_error <= 14 * 4 * 2**-52


def test_gates_after_a_bilinear_upsample_stay() -> None:
    result = rewrite(digits(gate="after", upsample="bilinear"), recipe_for("ghostnetv2_digits"), prove=False)
    assert counts(result)["gate-before-upsample"] == (0, 14)
    assert all(refusal.reason.startswith("the upsample is bilinear") for refusal in result.steps[1].refused)


def test_without_proofs_the_same_model_is_made(shipped: tuple[nn.Module, str, Rewritten, torch.Tensor]) -> None:
    model, _digest, proved, inputs = shipped
    name = "ghostnetv2_digits" if inputs.shape[1] == 1 else "ghostnetv2"
    quick = rewrite(model, recipe_for(name), prove=False)
    assert weights_digest(quick.graph) == weights_digest(proved.graph)
    assert quick.graph.code == proved.graph.code
    assert {step.proof for step in quick.steps} == {None}
    assert counts(quick) == counts(proved)


# -- rewrites that lie, drift or need retraining -----------------------------------------------------------------------


class ConvRewrite(Rewrite[Options]):
    """Changes convolutions."""

    name = "test"
    exactness = Exactness.EXACT
    summary = ""

    def find(self, graph: GraphModule) -> list[Site]:
        """Return the convolutions."""
        nodes = graph.graph.nodes
        return [Site(n.name, str(n.target)) for n in nodes if isinstance(module_of(graph, n), nn.Conv2d)]

    def apply(self, graph: GraphModule, site: Site) -> None:
        """Change one."""
        conv = module_of(graph, node_named(graph, site.node))
        assert isinstance(conv, nn.Conv2d)
        with torch.no_grad():
            self.change(graph, site, conv)

    def change(self, graph: GraphModule, site: Site, conv: nn.Conv2d) -> None:
        """Leave it as it is."""


def scaling(factor: float, only: str = "") -> type[ConvRewrite]:
    class Scaling(ConvRewrite):
        def change(self, graph: GraphModule, site: Site, conv: nn.Conv2d) -> None:
            if only in site.path:
                conv.weight *= factor

    return Scaling


Register = Callable[..., LoadedRecipe]


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Register:
    """Put a rewrite into the catalogue, and return a recipe that uses it."""

    def put(kind: type[Rewrite[Any]], exactness: Exactness = Exactness.EXACT, step: str = "") -> LoadedRecipe:
        monkeypatch.setattr(kind, "exactness", exactness)
        monkeypatch.setitem(catalogue.REWRITES, "test", kind)
        return parse_recipe(f"input: {{size: 8}}\n\nrewrites:\n  - {{name: test{step}}}\n", "t", "t.yaml")

    return put


class Chain(nn.Module):
    """A linear function of its input."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 1, bias=False)
        self.second = nn.Conv2d(4, 4, 1, bias=False)
        self.third = nn.Conv2d(4, 2, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the three."""
        out: torch.Tensor = self.third(self.second(self.first(x)))
        return out


def chain() -> Chain:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Chain()


def images() -> torch.Tensor:
    return torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("exactness", [Exactness.EXACT, Exactness.EXACT_WHEN])
@pytest.mark.parametrize("site", ["first", "second", "third"])
def test_a_lie_is_found_and_its_site_named(register: Register, exactness: Exactness, site: str) -> None:
    model = chain()
    before = weights_digest(model)
    with pytest.raises(GateError) as caught:
        rewrite(model, register(scaling(1 + 1e-6, only=site), exactness))
    text = caught.value.what
    assert f"The rewrite test says {exactness.value} and is not: at {site} the relative error is 1.0e-06" in text
    assert "normal input 2x3x8x8, seed 0" in text
    assert caught.value.exit_code == 1
    assert weights_digest(model) == before


def test_what_is_exact_in_real_arithmetic_passes(register: Register) -> None:
    [step] = rewrite(chain(), register(scaling(1 + 1e-13))).steps
    assert step.proof is not None
    assert 0 < step.proof.relative_error <= 1e-9
    assert step.applied == ("first", "second", "third")


def test_a_model_of_one_size_is_proved_in_silence(register: Register, capfd: pytest.CaptureFixture[str]) -> None:
    class OneSize(Chain):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x.reshape(-1, 3, 8, 8))

    [step] = rewrite(OneSize(), register(scaling(1.0))).steps
    assert step.proof is not None
    assert [case.shape for case in step.proof.cases] == [(2, 3, 8, 8), (1, 3, 8, 8)]
    assert capfd.readouterr().err == ""


def test_a_lie_that_takes_all_sites_is_found(register: Register) -> None:
    class Together(ConvRewrite):
        done = 0

        def change(self, graph: GraphModule, site: Site, conv: nn.Conv2d) -> None:
            self.done += 1
            if self.done == 3:
                conv.weight *= 2

    with pytest.raises(GateError, match="is not: only all sites together change the outputs"):
        rewrite(chain(), register(Together))


def test_refused_sites_are_left_alone_and_reported(register: Register) -> None:
    class Choosy(scaling(2.0)):  # type: ignore[misc]
        def why_not(self, graph: GraphModule, site: Site) -> str | None:
            return f"{site.path} is dear to me"

    model = chain()
    result = rewrite(model, register(Choosy))
    assert [(refusal.path, refusal.reason) for refusal in result.steps[0].refused][1] == (
        "second",
        "second is dear to me",
    )
    assert result.steps[0].applied == ()
    assert weights_digest(result.graph) == weights_digest(model)


@pytest.mark.parametrize(("target", "applied"), [("rknn:rk3588", ()), ("cpu", ("third",))])
def test_a_form_that_a_target_computes_wrongly_is_left_out(
    register: Register, target: str, applied: tuple[str, ...]
) -> None:
    class Only(scaling(1.0)):  # type: ignore[misc]
        wrong_on = MappingProxyType({"rknn": "its compiler adds one"})

        def find(self, graph: GraphModule) -> list[Site]:
            return super().find(graph)[2:]  # type: ignore[no-any-return]

    [step] = rewrite(chain(), adjust(register(Only), targets=[target])).steps
    assert step.applied == applied
    refused = [] if applied else [("third", "rknn:rk3588 is a target, and its compiler adds one")]
    assert [(each.path, each.reason) for each in step.refused] == refused


def test_what_was_left_alone_is_not_applied(register: Register) -> None:
    class Shy(scaling(1.0)):  # type: ignore[misc]
        def left_alone(self, graph_site: Site) -> str | None:
            return None if graph_site.path == "second" else "too little"

        def told(self, site: Site) -> str:
            return f"{site.path} was changed"

    [step] = rewrite(chain(), register(Shy)).steps
    assert (step.applied, step.details) == (("second",), ("second was changed",))
    assert [(each.path, each.reason) for each in step.refused] == [("first", "too little"), ("third", "too little")]
    assert step.proof is not None


def test_a_drift_within_the_limit_is_reported(register: Register) -> None:
    recipe = register(scaling(1.01, "third"), Exactness.APPROXIMATE, ", max_drift: 0.011")
    [step] = rewrite(chain(), recipe, {"input": images()}).steps
    assert step.drift == pytest.approx(0.01, rel=1e-6)
    assert step.max_drift == 0.011
    assert step.proof is None


def test_a_drift_above_the_limit_stops_with_both_figures(register: Register) -> None:
    recipe = register(scaling(1.0123, "third"), Exactness.APPROXIMATE, ", max_drift: 0.012")
    with pytest.raises(GateError) as caught:
        rewrite(chain(), recipe, {"input": images()})
    assert "changes the outputs by 0.0123 (relative L2" in caught.value.what
    assert "max_drift is 0.012 at t.yaml:4." in caught.value.what
    assert caught.value.hint.startswith("Raise max_drift")


def test_a_drift_that_is_not_a_number_stops(register: Register) -> None:
    with pytest.raises(GateError, match="by nan"):
        rewrite(chain(), register(scaling(float("nan")), Exactness.APPROXIMATE, ", max_drift: 5"), {"input": images()})


def test_each_step_drifts_from_the_step_before_it(register: Register) -> None:
    register(scaling(1.1, "third"), Exactness.APPROXIMATE)
    text = "input: {size: 8}\nrewrites: [{name: test, max_drift: 0.2}, {name: test, max_drift: 0.2}]"
    steps = rewrite(chain(), parse_recipe(text, "t", "t.yaml"), {"input": images()}).steps
    assert [step.drift for step in steps] == [pytest.approx(0.1), pytest.approx(0.1)]


def test_a_step_knows_its_line_where_two_are_the_same_object(register: Register) -> None:
    register(scaling(1.1, "third"), Exactness.APPROXIMATE)
    lines = "input: {size: 8}\nrewrites:\n  - {name: test, max_drift: 0.2}\n  - {name: noop-slice}\n"
    loaded = parse_recipe(lines, "t", "t.yaml")
    spec = loaded.recipe.rewrites[0]
    twice = replace(loaded, recipe=loaded.recipe.model_copy(update={"rewrites": (spec, spec)}))
    assert [(step.index, step.where) for step in steps_of(twice)] == [(0, "t.yaml:3"), (1, "t.yaml:4")]


def test_the_limit_of_a_drift_is_told_without_measuring_it(register: Register) -> None:
    [step] = rewrite(
        chain(), register(scaling(1.01, "third"), Exactness.APPROXIMATE, ", max_drift: 0.011"), prove=False
    ).steps
    assert (step.drift, step.max_drift) == (None, 0.011)


def test_who_watches_is_told_after_which_step(register: Register) -> None:
    seen: list[int | None] = []
    result = rewrite(
        chain(),
        register(scaling(2.0, "third")),
        prove=False,
        watch=lambda step, _graph: seen.append(step.index if step else None),
        keep_exact=True,
    )
    assert seen == [None, 0]
    assert result.exact is not None
    assert {tensor.dtype for tensor in result.exact.parameters()} == {torch.float64}
    assert {tensor.dtype for tensor in result.graph.parameters()} == {torch.float32}


def test_what_needs_retraining_waits_for_leave(register: Register) -> None:
    kind = scaling(1.5, "third")
    refused = rewrite(chain(), register(kind, Exactness.NEEDS_RETRAINING), {"input": images()}).steps[0]
    assert refused.applied == ()
    assert {refusal.reason for refusal in refused.refused} == {
        "it needs retraining, and the recipe does not say `allow: true`"
    }
    allowed = rewrite(
        chain(), register(kind, Exactness.NEEDS_RETRAINING, ", allow: true, max_drift: 1"), {"input": images()}
    )
    assert allowed.steps[0].applied == ("first", "second", "third")
    assert allowed.steps[0].drift == pytest.approx(0.5)


# -- recipes' steps ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ("name: fold-batchnorm", "t.yaml:3: there is no rewrite fold-batchnorm.\nDid you mean fold-batch-norm?"),
        ("name: zzz", "t.yaml:3: there is no rewrite zzz.\nKnown: "),
        (
            "{name: dfc-dense, options: {kernal_size: 5}}",
            "t.yaml:3: unknown key kernal_size. Did you mean kernel_size?",
        ),
        ("name: noop-slice\n    options:\n      force: 1", "t.yaml:5: unknown key force. Known: none."),
    ],
)
def test_wrong_steps_name_line_and_nearest_word(step: str, words: str) -> None:
    loaded = parse_recipe(f"input: {{size: 8}}\nrewrites:\n  - {step}\n", "t", "t.yaml")
    with pytest.raises(UsageError) as caught:
        steps_of(loaded)
    assert words in str(caught.value)
    with pytest.raises(UsageError):
        rewrite(chain(), loaded)


def test_a_model_that_branches_on_its_data_cannot_be_traced() -> None:
    class Branches(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(UsageError, match=r"Branches cannot be exported at .*_engine.py:\d+: return x if(.|\n)*branch"):
        rewrite(Branches(), parse_recipe("{}", "t", "t.yaml"))


# -- the proof's own arithmetic ----------------------------------------------------------------------------------------


def test_cases_are_two_images_of_the_recipes_size_and_another() -> None:
    for size in (8, 31, 224):
        first, second = cases_for(Recipe(input=Input(size=size)))
        assert (first.shape, second.shape) == ((2, 3, size, size), (1, 3, size, size))
        assert not torch.equal(first.make()["input"][:1], second.make()["input"])
