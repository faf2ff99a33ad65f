"""OpenVINO without its own arithmetic in 8 bits, which clips sums on processors without VNNI."""

from __future__ import annotations

from functools import partial

from benchmarks.consumers.openvino_consumer import open_file
from benchmarks.peers.worker import serve

if __name__ == "__main__":
    serve(None, partial(open_file, LP_TRANSFORMS_MODE="NO"))
