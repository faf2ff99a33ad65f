"""Words that recipes had before: they are read for one version more, as the words that took their place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

Path = tuple[str | int, ...]
Renamed = list[tuple[Path, str, str]]
"""Where an old word stands, the word, and the new one."""

_KEYS = {"input.colour": "color", "limits.*.float64_ulps": "max_error_eps"}
"""New names of keys, by patterns of their paths."""
_VALUES = {
    "input.color": {"grey": "gray"},
    "int8.keep_float": {"quotients": "division", "sums": "residual-add", "normalisations": "normalization"},
}
"""New names of values, by the new paths of their keys."""


def with_new_words(content: Any) -> tuple[Any, Renamed]:
    """Return a recipe's content in today's words, and which were old.

    Args:
        content: What the recipe's file holds; anything that is no recipe comes back as it is.
    """
    renamed: Renamed = []
    return _renewed(content, (), (), renamed), renamed


def _renewed(node: Any, place: Path, path: tuple[str, ...], renamed: Renamed) -> Any:
    """Return a part of a recipe; `place` is where it stands, `path` the new names of the keys that lead there."""
    if isinstance(node, Mapping):
        return dict(_entries(node, place, path, renamed))
    values = _rule(_VALUES, path) or {}
    if isinstance(node, list | tuple) and values:
        return [_renewed(each, (*place, number), path, renamed) for number, each in enumerate(node)]
    if isinstance(node, str) and node in values:
        renamed.append((place, node, values[node]))
        return values[node]
    return node


def _entries(
    node: Mapping[Any, Any], place: Path, path: tuple[str, ...], renamed: Renamed
) -> Iterator[tuple[Any, Any]]:
    for key, value in node.items():
        new = _rule(_KEYS, (*path, str(key)))
        if new and new not in node:
            renamed.append(((*place, key), key, new))
        else:  # both names: the old one is refused as any unknown key is
            new = key
        yield new, _renewed(value, (*place, key), (*path, str(new)), renamed)


def _rule(rules: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    """Return what the rule for a path says; None where there is none."""
    name = ".".join(path)
    return next((rule for pattern, rule in rules.items() if fnmatchcase(name, pattern)), None)
