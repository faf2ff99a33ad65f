"""What a recipe may demand of the files."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from mobilekit.errors import nearest
from mobilekit.recipes.part import Part
from mobilekit.store.stages import FORM_STAGES, PRECISIONS, Form, Precision, Stage

App = Literal["android", "browser", "mediapipe", "opencv", "tf"]
"""Software by which apps scale pictures; `recipes/inputs/apps.py` says how each does."""


class FormGate(Part):
    """What a file must be like, besides giving the right outputs."""

    max_partitions: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Parts in which XNNPACK runs the graph; 1 is all of it, with nothing left."
    )
    max_size_mb: Annotated[float, Field(gt=0)] | None = Field(None, description="Size of the file in MB (10^6 bytes).")


class Gate(FormGate):
    """What a TFLite file must be like."""

    forbid_ops: tuple[str, ...] = Field((), description="Ops that must not be in it, as TFLite names them.")

    @field_validator("forbid_ops")
    @classmethod
    def _ops_exist(cls, ops: tuple[str, ...]) -> tuple[str, ...]:
        from ai_edge_litert.schema_py_generated import BuiltinOperator  # takes a moment, and few recipes need it

        known = [name for name in vars(BuiltinOperator) if name.isupper()]
        for op in ops:
            if op not in known:
                raise ValueError(f"TFLite has no op {op}. {nearest(op, known)}")
        return ops


class AccuracyGate(Part):
    """How much of the reference's top-1 on labeled inputs a file may lose."""

    max_top1_drop: Annotated[float, Field(ge=0, le=1)] = Field(
        description="Largest share of the inputs by which a file may be right less often than the reference."
    )
    precision: tuple[Precision, ...] = Field((), description="Files that are held to it; all that are made without.")


class TargetGate(Part):
    """How a target must run the files that it reads, by its own compiler."""

    precision: tuple[Precision, ...] = Field((), description="TFLite files that are held to it; all without.")
    whole: bool = Field(False, description="It takes every op, in one part, and computes none of them wrongly.")
    max_partitions: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Parts in which it runs the graph; the processor may run others."
    )

    def holds(self, stage: Stage) -> bool:
        """Return whether the file of a stage is held to it: an ONNX file always, as precisions name TFLite files."""
        return not self.precision or stage.precision in self.precision or stage.file_format == "onnx"

    @model_validator(mode="after")
    def _asks_for_something(self) -> TargetGate:
        if not self.whole and self.max_partitions is None:
            raise ValueError("it asks for nothing: give `whole: true`, or `max_partitions`")
        return self


_KEYS = {
    form: form.replace("-", "_")
    for form, stage in FORM_STAGES.items()
    if form in PRECISIONS or stage.file_format == "pte"
}
"""The field of `Gates` for each word of a recipe's `precision` that has one."""


class AppGate(Part):
    """How much of the reference's classes must stay where an app scales the pictures."""

    agreement: Annotated[float, Field(ge=0, le=1)] = Field(
        description="Smallest share of the pictures whose largest output stays the same one."
    )


class Gates(Part):
    """What each file must be like, by its precision, on targets and in apps, and what accuracy it may lose."""

    float32: Gate | None = None
    float16: Gate | None = None
    dynamic: Gate | None = None
    int8: Gate | None = None
    int16x8: Gate | None = None
    pte_float32: FormGate | None = Field(None, alias=Stage.PTE_FLOAT32.value)
    pte_float16: FormGate | None = Field(None, alias=Stage.PTE_FLOAT16.value)
    pte_int8: FormGate | None = Field(None, alias=Stage.PTE_INT8.value)
    accuracy: AccuracyGate | None = None
    targets: dict[str, TargetGate] | None = Field(
        None, description="By target, such as `gpu` or `qnn:SM8650`: `mobilekit inspect --target` asks the same."
    )

    app: dict[App, AppGate] | None = Field(
        None, description="By the software that scales an app's pictures: `mobilekit diff --app` shows all figures."
    )

    @property
    def files(self) -> dict[Form, FormGate]:
        """The gates on a file's form, by the word of a recipe's `precision`."""
        return {word: gate for word, key in _KEYS.items() if (gate := getattr(self, key)) is not None}

    @property
    def places(self) -> dict[tuple[str, ...], Form]:
        """Each precision that they name, by where that stands."""
        found: dict[tuple[str, ...], Form] = {(name,): name for name in self.files}
        lists = {("targets", word): gate.precision for word, gate in (self.targets or {}).items()}
        lists |= {("accuracy", "precision"): self.accuracy.precision} if self.accuracy else {}
        return found | {
            (*path, "precision", str(at)): name for path, names in lists.items() for at, name in enumerate(names)
        }

    @model_serializer(mode="wrap")
    def _without_none(self, to_json: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = to_json(self)
        words: dict[str, str] = {key: word for word, key in _KEYS.items()}
        return {words.get(name, name): gate for name, gate in content.items() if gate is not None}
