"""Names of nodes and namespaces."""

from __future__ import annotations

import re


def join_namespace(base: str | None, namespace: str | None) -> str | None:
    """Return `namespace` under `base` (unless it is absolute) as an absolute one.

    :raises ValueError: it is not valid.
    """
    if not base and namespace is None:
        return None
    if namespace is None or (base and not namespace.startswith("/")):
        namespace = f"{(base or '').rstrip('/')}/{namespace or ''}"
    absolute = "/" + namespace.strip("/")
    if absolute != "/" and not re.fullmatch(r"(/[A-Za-z_][A-Za-z0-9_]*)+", absolute):
        raise ValueError(f"'{namespace}' is not a valid namespace")
    return absolute


def check_node_name(name: str) -> str:
    """Return `name`.

    :raises ValueError: it is not valid.
    """
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError(f"'{name}' is not a valid node name")
    return name
