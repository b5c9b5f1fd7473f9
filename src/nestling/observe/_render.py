"""`render`: a tree as text."""

from __future__ import annotations

from typing import cast

from nestling._kernel._checks import check_choice, describe_value
from nestling._kernel._runnable import Description

FORMATS = ("text",)


def render(tree: Description, format: str = "text") -> str:  # noqa: A002 - the name is public
    """Draw a tree.

    Args:
        tree: what `describe` returns.
        format: ``"text"``: a line for each node, with box-drawing characters.

    Returns:
        The drawing, whose last line ends with a line break.

    Example::

        >>> print(render(describe(shop)), end="")
        shop (chain)
        ├── db (resource)
        └── parallel
            ├── http (leaf)
            └── mailer (worker)

    Raises:
        ValueError: there is no such format.
    """
    if not isinstance(cast("object", tree), Description):
        raise TypeError(
            f"tree of render() must be what describe() returns, not {describe_value(tree)}"
        )
    check_choice(format, "format of render()", FORMATS)
    lines = [_title(tree)]
    # A stack and no recursion: a composition may be deeper than the interpreter's stack.
    todo = _branches(tree, "")
    while todo:
        node, before, elbow, indent = todo.pop()
        lines.append(f"{before}{elbow}{_title(node)}")
        todo += _branches(node, before + indent)
    return "\n".join(lines) + "\n"


def _branches(node: Description, before: str) -> list[tuple[Description, str, str, str]]:
    """Return the children of ``node`` with what stands before them, the last one first."""
    last, *others = reversed(node.children) if node.children else (None,)
    if last is None:
        return []
    branches = [(last, before, "└── ", "    ")]
    return branches + [(child, before, "├── ", "│   ") for child in others]


def _title(node: Description) -> str:
    return node.kind if node.name is None else f"{node.name} ({node.kind})"
