"""YAML with the line of every key, so that an error can point at it."""

from __future__ import annotations

from typing import Any

import yaml

Path = tuple[str | int, ...]


class DuplicateKeyError(ValueError):
    """A mapping names a key twice; YAML itself would silently take the last."""

    def __init__(self, key: str, line: int) -> None:
        super().__init__(f"the key {key} stands twice")
        self.line = line


class _Loader(yaml.SafeLoader):
    """Takes no aliases, and tells where a scalar is that looks like a number or a date and is none, as 0x_ is."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="aliases are not taken", problem_mark=mark)
        return super().compose_node(parent, index)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError) as error:
            problem = f"{node.value!s:.40} is not of the type {node.tag.rsplit(':', 1)[-1]}"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark) from error


def load_with_lines(text: str) -> tuple[Any, dict[Path, int]]:
    """Parse YAML without running anything it names.

    Args:
        text: The document.

    Returns:
        The data, and the 1-based line of each key and list item by its path.

    Raises:
        yaml.YAMLError: The text is not YAML, a mapping names a key twice, or there is an alias: aliases can be
            circular, or expand without end.
    """
    lines: dict[Path, int] = {}
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None, lines
        _collect(node, (), lines)
        return loader.construct_document(node), lines
    except RecursionError as error:
        raise yaml.YAMLError("it is nested too deeply") from error
    finally:
        loader.dispose()


def line_of(lines: dict[Path, int], path: Path) -> int:
    """Return the line of the longest known beginning of `path`."""
    words = tuple(map(str, path))  # an error's path has a key that is a number as one
    for length in range(len(words), -1, -1):
        if words[:length] in lines:
            return lines[words[:length]]
    return 1


def _collect(node: yaml.Node, path: Path, lines: dict[Path, int]) -> None:
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            below = (*path, str(key.value))
            if below in lines:
                raise DuplicateKeyError(str(key.value), key.start_mark.line + 1)
            lines[below] = key.start_mark.line + 1
            _collect(value, below, lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _collect(value, (*path, str(index)), lines)
