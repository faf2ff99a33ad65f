"""What benchmark_model, shells, linkers and taskset say when something goes wrong, and what helps: data alone."""

from __future__ import annotations

import re

GPU_INTERFACES = {
    "LITERT_CL": "OpenCL",
    "LITERT_OPENGL": "OpenGL",
    "LITERT_VULKAN": "Vulkan",
    "LITERT_WEBGPU": "WebGPU",
    "LITERT_METAL": "Metal",
}
"""What LiteRT hands a graph for a GPU to (ml_drift_delegate/delegate), and the interface to the GPU that it uses."""
NPU_DELEGATE = "DispatchDelegate"
"""What LiteRT hands a graph for an NPU to."""
FLAG_HINTS = {
    "enable_op_profiling": "take TensorFlow Lite's benchmark_model, which has a profiler, or a LiteRT that has one",
    "use_": "take a build that has this delegate",
    "result_file_path": "take a newer build",
}
"""By the beginning of a flag that a build does not know."""
GENERIC = ("Benchmarking failed", "usage:")
"""What says that something failed, and not what."""
TROUBLE = re.compile(
    r"Benchmarking failed|Failed to (?:apply|load|parse|initialize|allocate|resize|construct|invoke)|Could not open"
    r"|is not a valid Flatbuffer|model allocation is null|Please specify the name|Disallowed CPU fallback"
    r"|CANNOT LINK EXECUTABLE|error while loading shared libraries|Exec format error|not executable|Permission denied"
    r"|No such file or directory|not found|Segmentation fault|Illegal instruction|Bus error|Aborted|Killed"
    r"|^error: "  # bionic's linker, before the program begins
    r"|^(?:\S+/)?taskset: "  # toybox, util-linux, busybox
    r"|Operation not permitted|Read-only file system"
)
"""What says that something went wrong, in programs that print no level before it."""
NO_TROUBLE = re.compile(r"^WARNING: linker: |^warning: ")
"""Lines of which the rest may look like trouble: what the linkers of Android 5 to 7 say of any program."""
SIGNAL_HINTS = {
    "SIGKILL": "the device may be out of memory: close apps, or take a smaller model",
    "SIGILL": "the binary has instructions that this processor lacks: take the one for its ABI",
    "SIGSEGV": "take another version of benchmark_model, and leave out delegates whose library is not on the device",
    "SIGTERM": "something ended it from outside: run again",
}
PINNING = "taskset: "
PINNING_HINTS = {
    "Invalid argument": "cores of this mask are off, or kept from adb's shell: name others with --cpus",
    "not permitted": "this device lets adb's shell choose no cores: leave --cpus out",
}
"""What helps where taskset refused to pin the tool to cores."""
HINTS = {
    "Could not open": "check that the file is on the device and may be read",
    "not a valid Flatbuffer": "check that the file is a whole TFLite model, with `mobilekit inspect`",
    "find op for builtin opcode": "the tool is older than the file: take a newer benchmark_model",
    "Failed to parse flag": "correct the flag's value",
    "CANNOT LINK": "bring the library that is missing with --push-lib, or take a build that is linked statically",
    "shared libraries": "bring the library that is missing with --push-lib, or take a build that is linked statically",
    "program alignment": "the device has pages of 16 KB: take a newer build, or one linked with max-page-size=16384",
    "position independent": "the build is older than this Android: take a newer benchmark_model",
    "Permission denied": "keep the binary where programs may run, as /data/local/tmp, and let it be executable",
    "Exec format": "the binary is for another ABI: take the one that `mobilekit devices` names",
    "not executable": "the binary is for another ABI: take the one that `mobilekit devices` names",
}
"""By a part of what the tool, a shell or a linker says."""
