"""Which run a message is of: what joins the parts of a run carries the run's id."""

from __future__ import annotations

import secrets

from planet_core.config import setting
from planet_core.report import Report


def new() -> str:
    """Return the id of a new run."""
    return secrets.token_hex(8)


def run_id_setting() -> str:
    """The field `run_id` of a node's configuration."""
    return setting("", "Id of the run that this node is a part of; empty: a part of any run.")


class RunFilter:
    """Tells the messages of a node's run from those of another run in the same ROS domain.

    An empty id, the node's or a message's, is of any run: nodes that were started by hand have one.

    Args:
        run_id: the node's.
        report: is told of each message that is refused.
    """

    def __init__(self, run_id: str, report: Report) -> None:
        self._run_id = run_id
        self._report = report

    def refusal(self, what: str, run_id: str) -> str | None:
        """Return why a message is refused, one sentence; None if it is of this run.

        Args:
            what: names the message or who sent it, such as "/replay/status".
            run_id: the message's.
        """
        if not self._run_id or not run_id or run_id == self._run_id:
            return None
        sentence = (
            f"{what} is refused: it is of run {run_id}, but this is run {self._run_id}; "
            "give one of the two another ROS_DOMAIN_ID"
        )
        self._report("run", "warn", sentence)
        return sentence
