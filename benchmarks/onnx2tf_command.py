"""onnx2tf as a user calls it: words of its command line."""

from __future__ import annotations

from mobilekit.store.versions import installed_version

PROGRAM = "import sys; from onnx2tf import main; sys.exit(main())"
"""For `python -c`, where its script is not on PATH."""
UNCHANGED = ("[[[[0, 0, 0]]]]", "[[[[1, 1, 1]]]]")
"""Mean and deviation, for `-cind`, of inputs that are normalized already."""
BY_TENSORFLOW = ("-tb", "tf_converter") if int((installed_version("onnx2tf") or "1").partition(".")[0]) >= 2 else ()
"""Own int8 and dynamic files of version 2 are refused or wrong, but for those that it makes by TensorFlow."""
