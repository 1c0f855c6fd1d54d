"""The files of launch/config are what their readers expect."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import numpy as np

from planet_core.method import Inputs, Observation, find, method_of
from planet_learner import evaluation

CAMERAS = ("camera_front", "camera_side")
CONFIG = Path(__file__).resolve().parents[1] / "config"


def test_the_rqt_perspective_has_settings_for_each_plugin_that_it_opens():
    data = json.loads((CONFIG / "robot.perspective").read_text())
    manager = data["groups"]["pluginmanager"]
    running = ast.literal_eval(manager["keys"]["running-plugins"]["repr"])
    opened = {
        f"plugin__{name.replace('/', '__')}__{serial}"
        for name, serials in running.items()
        for serial in serials
    }
    assert opened == set(manager["groups"])
    topics = []
    for group in manager["groups"].values():
        for key, value in group["groups"].get("plugin", {"keys": {}})["keys"].items():
            read = ast.literal_eval(value["repr"])
            topics += [read] if key == "topic" else read if key == "topics" else []
    cameras = [f"/ergojr/{name}/{kind}" for name in CAMERAS for kind in ("image_raw", "annotated")]
    assert sorted(topics) == sorted(
        [
            *cameras,
            "/ergojr/prediction/image_raw",
            "/ergojr/transition/reward",
            "/ergojr/transition/episode_return",
        ]
    )


def test_the_rqt_perspective_has_a_place_for_each_plugin_that_it_opens():
    data = json.loads((CONFIG / "robot.perspective").read_text())
    state = data["groups"]["mainwindow"]["keys"]["state"]["repr(QByteArray.hex)"]
    layout = bytes.fromhex(state.split("'")[1])
    for group in data["groups"]["pluginmanager"]["groups"]:
        assert group.removeprefix("plugin__").encode("utf-16-be") in layout


def test_the_shipped_model_is_small_and_of_this_release():
    path = CONFIG.parent / "demo" / "poke.safetensors"
    assert path.stat().st_size < 3_000_000
    weights = evaluation.read(path).weights
    robot = Inputs(CAMERAS, action_size=4, state_size=12)
    actor = find(method_of(weights)).load_actor(weights, {}, robot, "cpu", 0, None)
    actor.observe(Observation(np.zeros((64, 128, 3), np.uint8)), np.zeros(4, np.float32))
    assert actor.prediction() is not None  # the video shows it
