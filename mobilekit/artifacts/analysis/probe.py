"""Whether LiteRT survives a file that was made elsewhere: it is opened in a process of its own first.

`damage_in` finds what is wrong with a file's structure; what LiteRT does with wrong parameters of an op only LiteRT
knows, and it may end the process, or fill the memory for minutes.
"""

from __future__ import annotations

from pathlib import Path

from mobilekit.errors import ToolError
from mobilekit.store.worker import WorkerError, run_json_worker
from mobilekit.store.worker_loop import serve

_SECONDS = 60
"""To open a file, which takes LiteRT less than a second for the largest network here."""


def check_survives(path: Path) -> None:
    """See that LiteRT can open a file and lives on. What it refuses in its own words is left to who opens the file.

    Args:
        path: A .tflite file; others, and what is no file, are passed over.

    Raises:
        ToolError: LiteRT crashed, or came to no end.
    """
    if path.suffix != ".tflite" or not path.is_file():
        return
    try:
        run_json_worker("mobilekit.artifacts.analysis.probe", str(path.resolve()), seconds=_SECONDS)
    except WorkerError as error:
        if error.is_late or error.signal:
            ending = f"took more than {_SECONDS} s to open it" if error.is_late else error.ending
            raise ToolError(
                f"{path} cannot be opened: LiteRT {ending}.", "The file is damaged: convert or export it again."
            ) from error


def _open(path: str) -> None:
    from mobilekit.artifacts.inspect import inspect

    inspect(Path(path))


if __name__ == "__main__":
    serve(_open)
