"""coremltools, as our own processes import it."""

from __future__ import annotations

import sys
import warnings
from typing import Any


def imported() -> Any:
    """Return coremltools, imported without TensorFlow, which takes seconds and which nothing here needs."""
    sys.modules.setdefault("tensorflow", None)  # type: ignore[arg-type]
    warnings.simplefilter("ignore")  # that versions of torch were not tested with it
    import coremltools

    return coremltools
