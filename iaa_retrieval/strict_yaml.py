"""YAML in which no key may stand twice in a mapping."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml

from iaa_retrieval.errors import IaaRetrievalError


def read_yaml(text: str) -> Any:
    """Plain values, as ``yaml.safe_load`` gives them.

    Raises:
        IaaRetrievalError: a key is there twice, of which YAML would silently take the last.
        yaml.YAMLError: it is no YAML.
    """
    return yaml.load(text, Loader=_UniqueKeyLoader)


class _UniqueKeyLoader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            name = (key.tag, str(key.value))
            if name in seen:
                raise IaaRetrievalError(f"line {key.start_mark.line + 1}: {key.value!r} is there twice")
            seen.add(name)
        return super().construct_mapping(node, deep)
