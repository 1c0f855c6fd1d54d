"""Kaixhin/PlaNet, which Robo-PlaNet was built on, from a checkout that the user names.

Its `MPCPlanner` and modules are imported, and the training step is the body of the loop in its
main.py: nothing of it is in here.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

ACTION_SIZE = 6
_SIZES = {"belief_size": 200, "state_size": 30, "hidden_size": 200, "embedding_size": 1024}


def check(folder: Path) -> Path:
    """The checkout's absolute path; exits with a sentence when it is none."""
    missing = [
        n
        for n in ("main.py", "models.py", "planner.py", "memory.py", "env.py")
        if not (folder / n).is_file()
    ]
    if missing:
        sys.exit(f"{folder} is no checkout of Kaixhin/PlaNet: it lacks {', '.join(missing)}")
    return folder.resolve()


def _modules(folder: Path) -> tuple[Any, Any]:
    """Its `models`, and a namespace of its four networks at the paper's sizes."""
    sys.path.insert(0, str(folder))
    import models  # type: ignore[import-not-found]

    s = SimpleNamespace(**_SIZES)
    return models, SimpleNamespace(
        transition_model=models.TransitionModel(
            s.belief_size, s.state_size, ACTION_SIZE, s.hidden_size, s.embedding_size
        ),
        observation_model=models.ObservationModel(
            False, None, s.belief_size, s.state_size, s.embedding_size
        ),
        reward_model=models.RewardModel(s.belief_size, s.state_size, s.hidden_size),
        encoder=models.Encoder(False, None, s.embedding_size),
    )


def planner(folder: Path, horizon: int, iterations: int, candidates: int, elites: int) -> Any:
    """A decision of its MPCPlanner, as a function without arguments."""
    _, networks = _modules(folder)
    from planner import MPCPlanner  # type: ignore[import-not-found]

    mpc = MPCPlanner(
        ACTION_SIZE,
        horizon,
        iterations,
        candidates,
        elites,
        networks.transition_model,
        networks.reward_model,
        -1.0,
        1.0,
    )
    belief, state = torch.zeros(1, _SIZES["belief_size"]), torch.zeros(1, _SIZES["state_size"])

    def decide() -> None:
        with torch.no_grad():
            mpc(belief, state)

    return decide


def training_step(folder: Path, batch: int, length: int) -> Callable[[], None]:
    """One update of its training loop, data drawing included."""
    import numpy as np
    from torch.nn import functional as F  # noqa: N812

    models, networks = _modules(folder)
    from memory import ExperienceReplay  # type: ignore[import-not-found]

    replay = ExperienceReplay(1000, False, None, ACTION_SIZE, 5, torch.device("cpu"))
    rng = np.random.default_rng(0)
    replay.observations = rng.integers(0, 256, replay.observations.shape, np.uint8)
    replay.actions = rng.uniform(-1, 1, replay.actions.shape).astype(np.float32)
    replay.rewards = rng.uniform(0, 1, replay.rewards.shape).astype(np.float32)
    replay.nonterminals = np.ones_like(replay.nonterminals)
    replay.full = True
    parameters = [p for m in vars(networks).values() for p in m.parameters()]
    # The defaults of its command line.
    args = SimpleNamespace(
        batch_size=batch,
        chunk_size=length,
        device=torch.device("cpu"),
        symbolic_env=False,
        global_kl_beta=0,
        overshooting_kl_beta=0,
        overshooting_distance=length,
        overshooting_reward_scale=0,
        learning_rate_schedule=0,
        learning_rate=1e-3,
        grad_clip_norm=1000,
        **_SIZES,
    )
    names = {
        **vars(networks),
        "args": args,
        "D": replay,
        "bottle": models.bottle,
        "torch": torch,
        "nn": nn,
        "F": F,
        "Normal": torch.distributions.Normal,
        "kl_divergence": torch.distributions.kl_divergence,
        "free_nats": torch.full((1,), 3.0),
        "param_list": parameters,
        "optimiser": torch.optim.Adam(parameters, lr=1e-3, eps=1e-4),
        "losses": [],
    }
    code = compile(_loop_body(folder / "main.py"), str(folder / "main.py"), "exec")

    def step() -> None:
        names["losses"] = []
        exec(code, names)

    return step


def _loop_body(path: Path) -> ast.Module:
    """The statements of `for s in tqdm(range(args.collect_interval))`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.For) and "collect_interval" in ast.unparse(node.iter):
            return ast.Module(node.body, [])
    raise ValueError(f"{path} has no loop over args.collect_interval")
