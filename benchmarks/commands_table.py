"""Write the table of commands into docs/commands.md, from the commands themselves.

.venv/bin/python -m benchmarks.commands_table
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from typer.core import TyperArgument
from typer.main import get_command

from benchmarks.tables import DOCS, markdown, write
from mobilekit.cli.app import COMMANDS, application


def commands() -> Iterator[tuple[str, Any]]:
    """Yield each command's words and itself, in the order of the help; those that only hold others are left out."""
    found = get_command(application()).commands  # type: ignore[attr-defined]
    for name in COMMANDS:
        command = found[name]
        inner = getattr(command, "commands", {})
        if not inner or command.invoke_without_command:
            yield name, command
        yield from ((f"{name} {word}", each) for word, each in inner.items())


def table() -> str:
    """Return the table as Markdown: what each command takes, and the first sentence of its help."""
    rows = []
    for words, command in commands():
        arguments = [one for one in command.params if isinstance(one, TyperArgument)]
        takes = [one.name.upper() if one.required else f"[{one.name.upper()}]" for one in arguments]
        help_text = " ".join(command.help.split("\n\n")[0].split())
        rows.append([f"`{' '.join([words, *takes])}`", re.split(r"(?<=\w)\. ", help_text)[0].rstrip(".")])
    return markdown(["command", "what it does"], rows)


def main() -> None:
    """Write the table."""
    write(DOCS / "commands.md", "commands_table", table())


if __name__ == "__main__":
    main()
