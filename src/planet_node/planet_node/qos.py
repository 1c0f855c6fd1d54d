"""The quality of service of each kind of topic: one place, so that both ends agree."""

from __future__ import annotations

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy


def _profile(
    reliability: ReliabilityPolicy, durability: DurabilityPolicy, depth: int
) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        reliability=reliability,
        durability=durability,
        depth=depth,
    )


# A late joiner gets the last message. A volatile end on either side would deliver nothing.
LATCHED = _profile(ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL, 1)
# For a reader who has to hear each publisher: with a depth of 1 the last one to be heard is all.
LATCHED_BY_ANY = _profile(ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL, 10)
# The newest image counts; an older one is of no use.
IMAGE = _profile(ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE, 1)
# Joined by stamp later, so none may be lost to a slow reader.
STREAM = _profile(ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE, 50)
# The newest command counts. No deadline: it would refuse ordinary publishers.
COMMAND = _profile(ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE, 1)
# For looking at: never slows its publisher down.
PREVIEW = _profile(ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE, 1)
