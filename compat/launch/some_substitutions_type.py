"""The type of an argument that may be a text or a substitution."""

from .substitution import SomeSubstitutionsType

__all__ = ["SomeSubstitutionsType"]
