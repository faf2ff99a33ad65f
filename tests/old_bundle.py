"""The bundle that version 0.1 wrote; this file imports nothing heavy, as processes of a sweep's tests read it too."""

from pathlib import Path

OLD_BUNDLE = Path(__file__).parent / "data" / "written_by_0_1" / "bundle"
