"""Keeps the line numbers in the documentation's links true.

    python tools/doc_links.py

A link such as [`RSSM.prior`](../src/planet_model/planet_model/transition.py#L111) says in its text
what stands at its line: in Python a class, function, method, field or constant by its qualified
name; elsewhere, and for what has no name, a piece of text that stands in one line only. A link
without a line number leads to a file or folder.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))

# Addresses of other sites have a colon, places of the same page no path: both are left alone.
_LINK = re.compile(r"\[(?P<text>`[^`]*`|[^\[\]]*)\]\((?P<path>[^()\s#:]+)(?P<line>#L\d+)?\)")


class LinkError(ValueError):
    """A link that leads nowhere; one sentence says which."""


def corrected(page: Path) -> str:
    """The page's text with every line number as it is now; raises LinkError."""

    def link(match: re.Match[str]) -> str:
        text, path = match["text"], match["path"]
        target = page.parent / path
        if not target.exists():
            raise LinkError(f"{page.name}: there is no {path}")
        if match["line"] is None:
            return match[0]
        return f"[{text}]({path}#L{line_of(text.strip('`'), target)})"

    return _LINK.sub(link, page.read_text())


def line_of(name: str, path: Path) -> int:
    """The line, counted from 1, at which `name` stands in a file; raises LinkError."""
    text = path.read_text()
    if path.suffix == ".py":
        line = dict(_definitions(ast.parse(text).body)).get(name)
        if line is not None:
            return line
    lines = [number for number, line in enumerate(text.splitlines(), 1) if name in line]
    if len(lines) != 1:
        raise LinkError(f"'{name}' stands in {len(lines)} lines of {path.name}, expected one")
    return lines[0]


def _definitions(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, int]]:
    """Qualified names and lines of what a module or a class defines."""
    for node in body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            yield prefix + node.name, node.lineno
        if isinstance(node, ast.ClassDef):
            yield from _definitions(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from ((prefix + t.id, node.lineno) for t in targets if isinstance(t, ast.Name))


def main() -> None:
    """Write every page anew."""
    try:
        for page in PAGES:
            page.write_text(corrected(page))
    except LinkError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
