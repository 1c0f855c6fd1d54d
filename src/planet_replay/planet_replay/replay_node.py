"""The replay node: takes episodes in, keeps them, and hands them out.

Services
    /replay/add_episode (planet_msgs/AddEpisode): answered once the episode is on the disk.
    /replay/get_episodes (planet_msgs/GetEpisodes): the oldest episodes after a sequence.

Topics
    /replay/status (planet_msgs/ReplayStatus, latched): on every change.
    /diagnostics

Files, under the parameter data_dir
    episodes/, metrics/episodes.csv
"""

from __future__ import annotations

import array
import sys
import time
from pathlib import Path

from planet_msgs.msg import Episode as EpisodeMessage
from planet_msgs.msg import ReplayStatus
from planet_msgs.srv import AddEpisode, GetEpisodes
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node

from planet_core.durable import DirectoryError
from planet_core.episode import Episode
from planet_core.run_id import RunFilter
from planet_node.diagnostics import Diagnostics
from planet_node.exclusive import Exclusive
from planet_node.logs import forward
from planet_node.main import StartupError, run
from planet_node.parameters import declare
from planet_node.qos import LATCHED
from planet_replay.config import ReplayConfig
from planet_replay.episode_log import EpisodeLog
from planet_replay.store import EpisodeStore, RefusedError, StoredEpisode


class ReplayNode(Node):
    """See the module's docstring."""

    def __init__(self) -> None:
        super().__init__("replay")
        config = declare(self, ReplayConfig)
        self._diagnostics = Diagnostics(self)
        self._run_id = config.run_id
        self._run = RunFilter(config.run_id, self._diagnostics.report)
        self._status_publisher = self.create_publisher(ReplayStatus, "/replay/status", LATCHED)
        data_dir = Path(config.data_dir).expanduser()
        log = forward("planet_replay", self)
        try:
            self._store = EpisodeStore(
                data_dir / "episodes", config.capacity_steps, log, self._publish_status
            )
            self._log = EpisodeLog(data_dir / "metrics" / "episodes.csv")
        except DirectoryError as error:
            raise StartupError(f"{self.get_name()}: {error}.") from error
        self._store.remember(self._log.training_episodes)
        self._complete_log()
        # Reading for the learner must not keep a robot's episode waiting.
        adding = self.create_service(
            AddEpisode,
            "/replay/add_episode",
            self._add_episode,
            callback_group=MutuallyExclusiveCallbackGroup(),
        )
        getting = self.create_service(
            GetEpisodes,
            "/replay/get_episodes",
            self._get_episodes,
            callback_group=MutuallyExclusiveCallbackGroup(),
        )
        self._exclusive = Exclusive(
            self, self._diagnostics.report, self._status_publisher, adding, getting
        )
        self._publish_status()
        status = self._store.status()
        self.get_logger().info(
            f"{status.episodes} episodes, {status.steps} steps in {data_dir / 'episodes'}"
        )

    def close(self) -> None:
        """Release the directory."""
        self._store.close()

    def _add_episode(
        self, request: AddEpisode.Request, response: AddEpisode.Response
    ) -> AddEpisode.Response:
        refusal = self._run.refusal(f"episode '{request.id}'", request.run_id)
        if refusal is not None:
            response.accepted = False
            response.message = refusal
            return response
        try:
            added = self._store.add(
                bytes(request.safetensors),
                id=request.id,
                robot=request.robot,
                policy=request.policy,
                weights_version=request.weights_version,
            )
        except RefusedError as error:
            response.accepted = False
            response.message = str(error)
            self._diagnostics.report("episodes", "warn", f"refused: {error}")
            return response
        if added.new:
            self._log_episode(added.entry, added.episode, time.time())
        response.accepted = True
        response.sequence = added.entry.sequence
        response.message = "stored" if added.new else "was stored already"
        return response

    def _get_episodes(
        self, request: GetEpisodes.Request, response: GetEpisodes.Response
    ) -> GetEpisodes.Response:
        found, status = self._store.get(request.after_sequence, request.max_bytes)
        response.run_id = self._run_id
        response.episodes = [
            EpisodeMessage(
                sequence=entry.sequence,
                id=entry.header.id,
                robot=entry.header.robot,
                policy=entry.header.policy,
                weights_version=entry.header.weights_version,
                safetensors=array.array("B", data),
            )
            for entry, data in found
        ]
        response.oldest_sequence = status.oldest_sequence
        response.newest_sequence = status.newest_sequence
        return response

    def _log_episode(self, entry: StoredEpisode, episode: Episode, wall_time: float) -> None:
        try:
            self._log.append(entry.sequence, wall_time, episode)
        except OSError as error:  # the episode is safe, and its row is written at the next start
            self._diagnostics.report("episodes", "warn", f"episodes.csv lacks a row: {error}")
        else:
            self._diagnostics.report("episodes", "ok", "storing episodes")

    def _complete_log(self) -> None:
        """Write the rows of episodes that were stored just before this process's last end."""
        for entry in self._store.entries():
            if entry.header.id in self._log:
                continue
            episode = self._store.read(entry)
            if episode is not None:
                self._log_episode(entry, episode, entry.path.stat().st_mtime)

    def _publish_status(self) -> None:
        status = self._store.status()
        self._status_publisher.publish(
            ReplayStatus(
                run_id=self._run_id,
                episodes=status.episodes,
                steps=status.steps,
                training_episodes=status.training_episodes,
                oldest_sequence=status.oldest_sequence,
                newest_sequence=status.newest_sequence,
            )
        )
        self._diagnostics.report(
            "replay", "ok", "serving", episodes=status.episodes, steps=status.steps
        )


def main() -> int:
    """Run the node; the exit code is for the launch file."""
    return run(ReplayNode)


if __name__ == "__main__":
    sys.exit(main())
