"""The tables of a .pte file, and of what it holds for XNNPACK, as far as they are read here.

Source: `schema/program.fbs` and `backends/xnnpack/serialization/schema.fbs` of ExecuTorch 1.5.1. Each class has its
schema's fields, in their order, up to the last one that is read.
"""

from __future__ import annotations

from dataclasses import dataclass

from mobilekit.artifacts.flat_tables import Bool, Byte, Int, Table, Ubyte, Uint, Ulong

PROGRAM = b"ET12"
"""The identifier of a .pte file."""
XNN_GRAPH = b"XN01"
"""That of a graph of XNNPACK's."""
XNN_HEADER = b"XH00"
"""What a graph of XNNPACK's begins with where its weights stand behind it."""

XNN_KINDS = (
    *("add", "linear", "softmax", "sigmoid", "permute", "clamp", "conv2d", "div", "upsample_bilinear2d", "pad"),
    *("avg_pool2d", "minimum", "depthwise_conv2d", "max_pool2d", "mul", "sub", "floor", "convert", "mean", "reshape"),
    *("arg_max_pool2d", "sqrt", "ceil", "hardswish", "leaky_relu", "maximum", "neg", "square", "elu", "abs", "prelu"),
    *("cat", "cat", "cat", "slice", "scaled_dot_product_attention", "bmm", "cat", "conv_transpose2d", "rsqrt", "log"),
    *("gelu", "tanh", "exp", "sin", "copy", "cos"),
)
"""The members of XNodeUnion in its order, as ATen names what they do."""
DTYPES = dict(enumerate(("uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"))) | {11: "bool"}
"""NumPy's names of the numbers that `scalar_type.fbs` gives to number formats, of those that NumPy has."""


@dataclass(frozen=True)
class Null(Table):
    """No value."""


@dataclass(frozen=True)
class Number(Table):
    """A number, which is not read."""


@dataclass(frozen=True)
class Tensor(Table):
    """A tensor among the values."""

    scalar_type: Byte = 0
    storage_offset: Int = 0
    sizes: tuple[Int, ...] = ()


@dataclass(frozen=True)
class Text(Table):
    """A text among the values."""

    string_val: str = ""


@dataclass(frozen=True)
class Truth(Table):
    """True or false."""

    bool_val: Bool = False


@dataclass(frozen=True)
class Double(Table):
    """A number with a point, which is not read."""


@dataclass(frozen=True)
class Value(Table):
    """What an instruction takes or makes."""

    val: Null | Number | Truth | Double | Tensor | Text | None = None


@dataclass(frozen=True)
class KernelCall(Table):
    """A call of an operator."""

    op_index: Int = 0
    args: tuple[Int, ...] = ()


@dataclass(frozen=True)
class DelegateCall(Table):
    """A call of what a backend runs."""

    delegate_index: Int = 0
    args: tuple[Int, ...] = ()


@dataclass(frozen=True)
class Instruction(Table):
    """A step."""

    instr_args: KernelCall | DelegateCall | None = None


@dataclass(frozen=True)
class Chain(Table):
    """Steps one after another."""

    inputs: tuple[Int, ...] = ()
    outputs: tuple[Int, ...] = ()
    instructions: tuple[Instruction, ...] = ()


@dataclass(frozen=True)
class Operator(Table):
    """An operator by name, such as `aten::cat`, and overload."""

    name: str = ""
    overload: str = ""


@dataclass(frozen=True)
class DataReference(Table):
    """Where the data of a delegate are: inside (0) or in a segment (1), and under which number."""

    location: Byte = 0
    index: Uint = 0


@dataclass(frozen=True)
class Delegate(Table):
    """What a backend runs."""

    id: str = ""
    processed: DataReference | None = None


@dataclass(frozen=True)
class ContainerMetadata(Table):
    """How inputs and outputs are nested, which is not read."""


@dataclass(frozen=True)
class Plan(Table):
    """A method."""

    name: str = ""
    container_meta_type: ContainerMetadata = ContainerMetadata()
    values: tuple[Value, ...] = ()
    inputs: tuple[Int, ...] = ()
    outputs: tuple[Int, ...] = ()
    chains: tuple[Chain, ...] = ()
    operators: tuple[Operator, ...] = ()
    delegates: tuple[Delegate, ...] = ()


@dataclass(frozen=True)
class Buffer(Table):
    """Constants inside the tables, which are not read."""


@dataclass(frozen=True)
class InlineData(Table):
    """A delegate's data inside the tables."""

    data: tuple[Ubyte, ...] = ()


@dataclass(frozen=True)
class Segment(Table):
    """Bytes behind the tables, counted from where the first segment begins."""

    offset: Ulong = 0
    size: Ulong = 0


@dataclass(frozen=True)
class Program(Table):
    """The root of a .pte file."""

    version: Uint = 0
    execution_plan: tuple[Plan, ...] = ()
    constant_buffer: tuple[Buffer, ...] = ()
    backend_delegate_data: tuple[InlineData, ...] = ()
    segments: tuple[Segment, ...] = ()


@dataclass(frozen=True)
class XNNNode(Table):
    """A step of XNNPACK's: which member of XNodeUnion it is, counted from 1."""

    kind: Ubyte = 0


@dataclass(frozen=True)
class XNNGraph(Table):
    """The root of what XNNPACK runs."""

    version: str = ""
    xnodes: tuple[XNNNode, ...] = ()
