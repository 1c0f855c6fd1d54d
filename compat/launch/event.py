"""Base of all events."""


class Event:
    """Something that happened, or that somebody asks for."""

    name = "launch.Event"
