"""Where a launch description comes from."""

from __future__ import annotations

from .launch_context import LaunchContext
from .launch_description import LaunchDescription
from .substitution import (
    SomeSubstitutionsType,
    SubstitutionFailure,
    describe,
    normalize_to_list_of_substitutions,
    perform_substitutions,
)


class LaunchDescriptionSource:
    """A launch description, or the place from which it is to be loaded."""

    def __init__(
        self,
        launch_description: LaunchDescription | None = None,
        location: SomeSubstitutionsType = "<string>",
    ) -> None:
        self._launch_description = launch_description
        self._location = normalize_to_list_of_substitutions(location)
        self._expanded_location: str | None = None

    @property
    def location(self) -> str:
        """The place: its path once loaded, before that how it was written."""
        return self._expanded_location or describe(self._location)

    def get_launch_description(self, context: LaunchContext) -> LaunchDescription:
        """Return the launch description, loaded at the first call."""
        if self._expanded_location is None:
            self._expanded_location = perform_substitutions(context, self._location)
        if self._launch_description is None:
            self._launch_description = self._load(self._expanded_location)
        return self._launch_description

    def try_get_launch_description_without_context(self) -> LaunchDescription | None:
        """Return the launch description, or None where its place is known only at launch."""
        if self._launch_description is None:
            try:
                return self._load(perform_substitutions(LaunchContext(), self._location))
            except SubstitutionFailure:
                return None
        return self._launch_description

    def _load(self, location: str) -> LaunchDescription:
        raise NotImplementedError(f"nothing knows how to load {location}")
