"""A video of episodes: what the cameras saw, how the model explains it, what it had imagined."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from planet_core.episode import Episode
from planet_core.episode_format import IMAGE_SIZE
from planet_core.method import Actor, Inputs, Observation, find, method_of
from planet_core.weights import Weights

SECONDS = 30.0
"""A video begins no further episode after so long."""

Picture = npt.NDArray[np.uint8]

_SCALE = 4
_MARGIN, _GAP = 24, 12  # pixels around the pictures and between them
_HEAD, _FOOT = 44, 56  # pixels of the lines of text above and below
_SPEED = 0.5  # of the robot's own: a touch takes it half a second
_PAUSE = 0.8  # s that the last picture of an episode stays
_PAPER, _INK, _PALE, _TOUCH = (24, 22, 20), (235, 235, 235), (150, 150, 150), (95, 200, 120)  # RGB
_FONT, _SIZE = cv2.FONT_HERSHEY_DUPLEX, 0.55


class VideoError(Exception):
    """A video cannot be written; one sentence says why."""


def duration(episode: Episode) -> float:
    """The seconds that an episode takes in a video, with the pause after it."""
    return episode.frame_count / _rate(episode) + _PAUSE


def write(path: Path, weights: Weights, episodes: list[tuple[int, Episode]]) -> None:
    """Write episodes, each with its number, as VP8 in a WebM file, at half the robot's pace.

    Raises:
        VideoError: it cannot be written.
        WeightsError: no actor can be made of the weights.
    """
    first = episodes[0][1]
    if not first.cameras:
        raise VideoError(f"the robot '{first.robot}' has no camera to be seen by")
    robot = Inputs(first.cameras, first.action.shape[1], 2 * first.position.shape[1])
    actor = find(method_of(weights)).load_actor(weights, {}, robot, "cpu", 0, None)
    rate = _rate(first)
    pause = round(_PAUSE * rate)
    writer: cv2.VideoWriter | None = None
    for number, episode in episodes:
        pictures = list(frames(number, episode, actor))
        if writer is None:
            height, width, _ = pictures[0].shape
            with _silence():
                code = cv2.VideoWriter.fourcc(*"VP80")
                writer = cv2.VideoWriter(str(path), code, rate, (width, height))
            if not writer.isOpened():
                raise VideoError(f"{path} cannot be written by this OpenCV as VP8 in WebM")
        for picture in [*pictures, *pictures[-1:] * pause]:
            writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    if writer is not None:
        writer.release()


def frames(number: int, episode: Episode, actor: Actor) -> Iterator[Picture]:
    """Yield a picture for each observation of an episode, uint8 [H, W, 3] RGB.

    The actor takes notice of what was seen and done, and plans nothing.
    """
    actor.reset()
    reward = np.where(episode.reward_valid, episode.reward, 0.0).cumsum()
    touched = np.logical_or.accumulate(episode.touched)
    for step in range(episode.frame_count):
        state = np.concatenate([episode.position[step], episode.velocity[step]])
        actor.observe(Observation(episode.images[step], state), episode.action[step])
        rows = actor.prediction()
        if rows is None:  # nothing is predicted
            rows = episode.images[step]
        facts = f"episode {number}    decision {step}    return {reward[step]:.2f}"
        past = "imagined"
        yield _page(rows, ("seen", "reconstructed", past), facts, bool(touched[step]))


def _page(rows: Picture, titles: tuple[str, ...], facts: str, touched: bool) -> Picture:
    """Lay out the rows of an actor's prediction as columns, the cameras below each other."""
    cameras = rows.shape[1] // IMAGE_SIZE
    columns = rows.shape[0] // IMAGE_SIZE
    size = IMAGE_SIZE * _SCALE
    height = _HEAD + cameras * (size + _GAP) - _GAP + _FOOT
    width = 2 * _MARGIN + columns * (size + _GAP) - _GAP
    page = np.full((height + height % 2, width + width % 2, 3), _PAPER, np.uint8)
    for column in range(columns):
        left = _MARGIN + column * (size + _GAP)
        cv2.putText(page, titles[column], (left, 29), _FONT, _SIZE, _PALE, 1, cv2.LINE_AA)
        for camera in range(cameras):
            picture = rows[
                column * IMAGE_SIZE : (column + 1) * IMAGE_SIZE,
                camera * IMAGE_SIZE : (camera + 1) * IMAGE_SIZE,
            ]
            top = _HEAD + camera * (size + _GAP)
            page[top : top + size, left : left + size] = picture.repeat(_SCALE, 0).repeat(_SCALE, 1)
    base = height - 21
    cv2.putText(page, facts, (_MARGIN, base), _FONT, _SIZE, _INK, 1, cv2.LINE_AA)
    if touched:
        (wide, _), _ = cv2.getTextSize("TOUCHED", _FONT, _SIZE, 1)
        place = (width - _MARGIN - wide, base)
        cv2.putText(page, "TOUCHED", place, _FONT, _SIZE, _TOUCH, 1, cv2.LINE_AA)
    return page


def _rate(episode: Episode) -> float:
    """Decisions per second of video."""
    period = float(episode.metadata["control_period"]) * int(episode.metadata["action_repeat"])
    return _SPEED / period


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """FFmpeg remarks on VP8 in every WebM file, straight to the terminal."""
    sys.stderr.flush()
    kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)
