"""What coroutines of a node can wait for."""

from __future__ import annotations

from collections.abc import Generator


class OthersFirst:
    """Awaited, it lets the executor run whatever else is ready, and then goes on."""

    def __await__(self) -> Generator[None, None, None]:
        yield
