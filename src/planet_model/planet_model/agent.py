"""The agent: a belief and a planner, from observations to actions."""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt
import torch

from planet_model.config import PlannerConfig
from planet_model.planner import TimeLeft, make_planner
from planet_model.transition import Belief
from planet_model.world_model import WorldModel

IMAGINED_STEPS = 8
"""How many decisions ago the imagined row of :meth:`Agent.prediction` last saw an image."""


class Agent:
    """Acts with one set of weights. Not safe for use by two threads at once.

    Everything random is drawn from one generator seeded with `seed`.
    """

    def __init__(self, model: WorldModel, planner: PlannerConfig, seed: int) -> None:
        self.model = model.eval()
        self.planner = make_planner(model, planner)
        self._generator = torch.Generator(model.device).manual_seed(seed)
        self._history: deque[tuple[torch.Tensor, Belief]] = deque(maxlen=IMAGINED_STEPS + 1)
        self.reset()

    def adopt(self, model: WorldModel, seed: int) -> None:
        """Takes the weights of a model of the same configuration; then it is as if made anew."""
        self.model.load_state_dict(model.state_dict())
        self.planner.renew()
        self._generator.manual_seed(seed)
        self.reset()

    def reset(self) -> None:
        """Starts an episode: zero belief, no last plan."""
        self.belief = self.model.initial_belief(1)
        self.planner.reset()
        self._history.clear()
        self._seen: npt.NDArray[np.uint8] | None = None

    @torch.inference_mode()
    def observe(
        self,
        images: npt.NDArray[np.uint8],
        previous_action: npt.NDArray[np.float32],
        state: npt.NDArray[np.float32] | None = None,
    ) -> None:
        """Takes the belief on to b_t with o_t and a_{t-1}, float [A].

        o_t is images, uint8 [64, 64 N, 3], and state, float [2 J]: the joints' positions (rad) |
        velocities (rad/s), which only a model that observes them needs. Raises ValueError on arrays
        of the wrong shape.
        """
        model = self.model
        expected = (64, 64 * len(model.config.cameras), 3)
        if images.dtype != np.uint8 or images.shape != expected:
            raise ValueError(f"agent: images {images.dtype} {images.shape}, expected {expected}")
        if previous_action.shape != (model.config.action_size,):
            raise ValueError(
                f"agent: previous action of shape {previous_action.shape},"
                f" expected ({model.config.action_size},)"
            )
        joints = None
        if model.config.state_size:
            if state is None or state.shape != (model.config.state_size,):
                found = "no joint state" if state is None else f"joint state {state.shape}"
                raise ValueError(f"agent: {found}, expected ({model.config.state_size},)")
            joints = torch.tensor(state, dtype=torch.float32, device=model.device)[None]
        observation = model.preprocess(
            torch.tensor(images, device=model.device)[None], self._generator, joints
        )
        action = torch.tensor(previous_action, dtype=torch.float32, device=model.device)[None]
        noise = torch.randn(
            1, model.config.stochastic_size, generator=self._generator, device=model.device
        )
        self.belief = model.filter(self.belief, action, observation, noise)
        self._history.append((action, self.belief))
        self._seen = images

    @torch.inference_mode()
    def act(
        self,
        images: npt.NDArray[np.uint8],
        previous_action: npt.NDArray[np.float32],
        exploration_noise: float,
        state: npt.NDArray[np.float32] | None = None,
        time_left: TimeLeft | None = None,
    ) -> npt.NDArray[np.float32]:
        """Observes, plans until `time_left`'s deadline, and returns a_t, float32 [A] in [-1, 1].

        Gaussian noise of standard deviation `exploration_noise` is added to the plan, and the sum
        clipped. `previous_action` is what the robot was asked to do, zero at the first step. See
        :meth:`observe` for the rest. Raises ValueError on arrays of the wrong shape and
        :class:`planet_model.planner.PlanningError`.
        """
        self.observe(images, previous_action, state)
        action = self.planner.plan(self.belief, self._generator, time_left)
        noise = torch.randn(action.shape, generator=self._generator, device=action.device)
        action = (action + exploration_noise * noise).clamp(-1, 1)
        return np.asarray(action.cpu(), dtype=np.float32)

    @torch.inference_mode()
    def prediction(self) -> npt.NDArray[np.uint8] | None:
        """The last step as uint8 [3 * 64, 64 N, 3]: rows seen, reconstructed and imagined.

        Cameras stand side by side. Reconstructed is the decoder's mean at the state that explains
        the last step: the present belief or, of the purely deterministic model, what was expected.
        Imagined is open loop: from the belief :data:`IMAGINED_STEPS` decisions ago (or the
        episode's first, while it is younger) with the actions taken since, at the prior's mean
        states, never seeing an image in between. None when the weights hold no decoder or nothing
        has been observed.
        """
        if self._seen is None:
            return None
        steps = list(self._history)
        imagined = steps[0][1]
        if len(steps) > 1:
            actions = torch.stack([action for action, _ in steps[1:]], 1)
            path = self.model.imagine(imagined, actions, None)
            imagined = Belief(path.deterministic[:, -1], path.stochastic[:, -1])
        before = steps[-2][1] if len(steps) > 1 else self.model.initial_belief(1)
        dynamics = self.model.rssm
        explaining = dynamics.explaining(dynamics.transition(before, steps[-1][0]), self.belief)
        features = torch.cat([explaining.features, imagined.features])
        pictures = self.model.pictures(features)
        if pictures is None:
            return None
        rows = pictures.flatten(0, 1)  # [2 * 64, 64 N, 3]
        return np.concatenate([self._seen, np.asarray(rows.cpu(), dtype=np.uint8)])
