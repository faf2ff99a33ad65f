#!/usr/bin/env bash
# TensorFlow 2.21.0's int8 quantizer gives the scale of a maximum's, minimum's, choice's or join's result to what it takes,
# also for others who read that: a branch that has nothing to do with the maximum is cut.
#
# In TFLite these ops have one scale for all tensors. A convolution reads a map that a maximum reads as well: without the
# maximum its int8 result is off by 2 %, beside it by 61 %, as the map's values below the maximum's lowest are gone for
# both. The converter could give the maximum a copy in the other scale (QUANTIZE), as it does where scales cannot agree.
#
# Seen on 2026-11-30 with tensorflow-cpu 2.21.0, full int8 from representative inputs. Relative L2 error of the convolution
# that reads the map too: alone 0.021, beside tf.maximum(a, |b| + 1) 0.607, tf.where(a > 0, a, sigmoid(b)) 0.607,
# tf.concat([a, 30 b]) 0.306, tf.minimum(a, |b| - 3) 0.071.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tensorflow-cpu==2.21.0 numpy==2.2.6
TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import numpy as np
import tensorflow as tf

print({name: version(name) for name in ("tensorflow-cpu", "numpy")})
INPUTS = [np.random.default_rng(seed).standard_normal((1, 16, 16, 3)).astype(np.float32) for seed in range(24)]


def weights(seed, *shape):
    return tf.constant(np.random.default_rng(seed).standard_normal(shape).astype(np.float32) * 0.3)


MADE_A, MADE_B, READ = weights(1, 3, 3, 3, 4), weights(2, 3, 3, 3, 4), weights(3, 1, 1, 4, 4)


def converted(beside, is_int8):
    """Return a file with two outputs: a convolution of the map a, and what `beside` makes of a and b."""

    @tf.function(input_signature=[tf.TensorSpec((1, 16, 16, 3))])
    def net(x):
        a, b = (tf.nn.conv2d(x, kernel, 1, "SAME") for kernel in (MADE_A, MADE_B))
        return tf.nn.conv2d(a, READ, 1, "SAME"), beside(a, b)

    converter = tf.lite.TFLiteConverter.from_concrete_functions([net.get_concrete_function()])
    if is_int8:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([x] for x in INPUTS)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    return converter.convert()


def outputs(content):
    plain = tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = tf.lite.Interpreter(model_content=content, experimental_op_resolver_type=plain)
    interpreter.allocate_tensors()
    taken = interpreter.get_input_details()[0]["index"]
    read = min(interpreter.get_output_details(), key=lambda each: each["name"])["index"]
    made = []
    for x in INPUTS:
        interpreter.set_tensor(taken, x)
        interpreter.invoke()
        made.append(interpreter.get_tensor(read))
    return np.stack(made)


def error(beside):
    exact, made = (outputs(converted(beside, is_int8)) for is_int8 in (False, True))
    return float(np.linalg.norm(made - exact) / np.linalg.norm(exact))


found = {
    "alone": error(lambda a, b: b),
    "maximum": error(lambda a, b: tf.maximum(a, tf.abs(b) + 1)),
    "where": error(lambda a, b: tf.where(a > 0, a, tf.sigmoid(b))),
    "concat": error(lambda a, b: tf.concat([a, 30 * b], 3)),
    "minimum": error(lambda a, b: tf.minimum(a, tf.abs(b) - 3)),
}
print({name: round(value, 3) for name, value in found.items()})
assert found["alone"] < 0.03
assert found["maximum"] > 0.5 and found["where"] > 0.5 and found["concat"] > 0.2 and found["minimum"] > 0.05
print("as described")
PYTHON
