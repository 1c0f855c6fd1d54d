"""Ways of Fast DDS from one process to another: their delay, their cost, and who can block whom.

    python -m benchmarks.transport [--transports UDPv4 SHM] [--seconds 10] [--json FILE]

One process publishes images and commands as the robot's nodes do, others listen. In `stopped` a
listener is stopped (SIGSTOP) for half of the time, in `killed` it is killed: a transport is of use
if the publisher and the listener beside it do not notice. `episode` is a service call with 2.5 MB,
`weights` 24 MB that were published before their reader came. All of it is rclpy in processes of
their own, as in a launch.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from planet_msgs.msg import Weights
from planet_msgs.srv import AddEpisode
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState

from benchmarks.timing import ROOT, finish, machine, table
from planet_node.qos import COMMAND, IMAGE, LATCHED
from planet_node.testing import own_domain

RATE = 30.0  # Hz
PATIENCE = 60.0  # s; of discovery, and longer than any case
SIZES = {"320x240": (240, 320), "640x480": (480, 640)}
EPISODE, WEIGHTS = 2_500_000, 24_000_000  # bytes
BUILTIN = "FASTDDS_BUILTIN_TRANSPORTS"
PROFILES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")


def environment(transport: str) -> dict[str, str]:
    """The environment for one of Fast DDS' builtin transports, a file of profiles, or both."""
    found = {k: v for k, v in os.environ.items() if k not in (BUILTIN, *PROFILES)}
    for part in transport.split(","):
        if part.endswith(".xml"):
            found |= dict.fromkeys(PROFILES, str(Path(part).absolute()))
        else:
            found[BUILTIN] = part
    return found


class Role:
    """A process of this module that plays one role until `end`.

    Args:
        arguments: of the role's function.
    """

    def __init__(self, transport: str, role: str, **arguments: Any) -> None:
        given = ["--role", role, "--arguments", json.dumps(arguments)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.transport", *given],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(transport),
            cwd=ROOT,
        )
        self.said()  # it is ready

    def said(self) -> Any:
        """What it says next; an error if that takes longer than PATIENCE."""
        assert self.process.stdout is not None
        patience = threading.Timer(PATIENCE, self.process.kill)
        patience.start()
        line = self.process.stdout.readline()
        patience.cancel()
        if not line:
            raise RuntimeError(f"a role ended with {self.process.wait()}: see its error")
        return json.loads(line)

    def end(self) -> Any:
        """What it says at its end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        said = self.said()
        self.process.wait()
        return said


@contextmanager
def roles(transport: str, *wanted: tuple[str, Mapping[str, Any]]) -> Iterator[list[Role]]:
    """Processes with roles and their arguments, the last of which is started last."""
    running: list[Role] = []
    try:
        for role, arguments in wanted:
            running.append(Role(transport, role, **arguments))
        yield running
    finally:
        for each in running:
            each.process.kill()
            each.process.wait()


def stream(transport: str, size: str, seconds: float, disturb: str = "") -> dict[str, float]:
    """Images of `size` and commands for `seconds`; see the module's docstring for `disturb`."""
    listeners: list[tuple[str, dict[str, Any]]] = [("listen", {})] * (2 if disturb else 1)
    publisher = {"size": size, "seconds": seconds, "listeners": len(listeners)}
    with roles(transport, *listeners, ("publish", publisher)) as (healthy, *others):
        begin = others[-1].said()["begin"]
        if disturb:
            victim = others[0].process
            time.sleep(max(0.0, begin + seconds / 4 - time.monotonic()))
            victim.send_signal(signal.SIGKILL if disturb == "killed" else signal.SIGSTOP)
            time.sleep(seconds / 2)
            if disturb == "stopped":
                victim.send_signal(signal.SIGCONT)
        sent = others[-1].said()
        heard = healthy.end()
    result: dict[str, float] = {"publish_max": 1e3 * max(sent["times"])}
    for name in ("image", "command"):
        delays = 1e3 * np.array(heard[name])
        result[f"{name}_lost"] = 100.0 * (1.0 - len(delays) / sent["count"])
        result[f"{name}_median"], result[f"{name}_p99"] = np.percentile(delays, [50, 99]).tolist()
        result[f"{name}_max"] = float(delays.max())
    return result | {"publisher_cpu": sent["cpu"], "listener_cpu": heard["cpu"]}


def episode(transport: str, calls: int) -> dict[str, float]:
    """Service calls with an episode's bytes, ms."""
    with roles(transport, ("serve", {}), ("call", {"calls": calls})) as (_, client):
        times = 1e3 * np.array(client.said()["times"])
    return {"episode_median": float(np.median(times)), "episode_max": float(times.max())}


def weights(transport: str, readers: int) -> dict[str, float]:
    """From the reader's subscription to what had been published before, ms; each a new process."""
    times = []
    with roles(transport, ("keep", {})):
        for _ in range(readers):
            with roles(transport, ("join", {})) as (reader,):
                times.append(1e3 * reader.said()["time"])
    return {"weights_median": float(np.median(times)), "weights_max": max(times)}


def run(transport: str, seconds: float) -> dict[str, dict[str, float]]:
    """All of it with one transport."""
    print(f"{transport} ...", file=sys.stderr, flush=True)
    found = {size: stream(transport, size, seconds) for size in SIZES}
    for disturb in ("stopped", "killed"):
        found[disturb] = stream(transport, "640x480", seconds, disturb)
    return found | {"large": episode(transport, 10) | weights(transport, 5)}


# The roles, each in a process of its own.


def say(**values: Any) -> None:
    print(json.dumps(values), flush=True)


def cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def now(message: Image | JointState) -> None:
    """Stamp `message` with the steady clock, which all processes share."""
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(time.monotonic_ns(), 10**9)


def age(message: Image | JointState) -> float:
    seconds: float = message.header.stamp.sec + 1e-9 * message.header.stamp.nanosec
    return time.monotonic() - seconds


def until(condition: Any, node: Node) -> None:
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    while not condition():
        executor.spin_once(timeout_sec=0.1)


def listen(node: Node) -> None:
    delays: dict[str, list[float]] = {"image": [], "command": []}
    node.create_subscription(Image, "image", lambda m: delays["image"].append(age(m)), IMAGE)
    node.create_subscription(
        JointState, "command", lambda m: delays["command"].append(age(m)), COMMAND
    )
    ended = threading.Event()

    def await_end() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=await_end, daemon=True).start()
    say()
    begin = cpu()
    until(ended.is_set, node)
    say(**delays, cpu=cpu() - begin)


def publish(node: Node, size: str, seconds: float, listeners: int) -> None:
    height, width = SIZES[size]
    data = np.random.default_rng(0).integers(0, 256, height * width * 3, np.uint8)
    image = Image(height=height, width=width, encoding="rgb8", step=3 * width)
    image.data.frombytes(data.tobytes())
    command = JointState(name=["m1", "m2", "m3", "m5"], effort=[0.0] * 4)
    images = node.create_publisher(Image, "image", IMAGE)
    commands = node.create_publisher(JointState, "command", COMMAND)
    say()
    while min(p.get_subscription_count() for p in (images, commands)) < listeners:
        time.sleep(0.05)
    time.sleep(1.0)  # the listeners know of the publishers, too
    begin, used, times = time.monotonic(), cpu(), []
    say(begin=begin)
    count = int(seconds * RATE)
    for n in range(count):
        time.sleep(max(0.0, begin + n / RATE - time.monotonic()))
        for publisher, message in ((images, image), (commands, command)):
            now(message)
            start = time.monotonic()
            publisher.publish(message)
            times.append(time.monotonic() - start)
    used = cpu() - used
    time.sleep(1.0)
    say(times=times, count=count, cpu=used)


def serve(node: Node) -> None:
    def answer(request: AddEpisode.Request, response: AddEpisode.Response) -> AddEpisode.Response:
        response.accepted = len(request.safetensors) == EPISODE
        return response

    node.create_service(AddEpisode, "add_episode", answer)
    say()
    until(lambda: False, node)


def call(node: Node, calls: int) -> None:
    client = node.create_client(AddEpisode, "add_episode")
    say()
    client.wait_for_service()
    request = AddEpisode.Request()
    request.safetensors.frombytes(bytes(EPISODE))
    times = []
    for _ in range(calls):
        start = time.monotonic()
        future = client.call_async(request)
        until(future.done, node)
        times.append(time.monotonic() - start)
        assert future.result().accepted
    say(times=times)


def keep(node: Node) -> None:
    message = Weights()
    message.safetensors.frombytes(bytes(WEIGHTS))
    node.create_publisher(Weights, "weights", LATCHED).publish(message)
    say()
    until(lambda: False, node)


def join(node: Node) -> None:
    got = threading.Event()
    start = time.monotonic()
    node.create_subscription(Weights, "weights", lambda _: got.set(), LATCHED)
    say()
    until(got.is_set, node)
    say(time=time.monotonic() - start)


ROLES = {f.__name__: f for f in (listen, publish, serve, call, keep, join)}


def play(role: str, arguments: Mapping[str, Any]) -> None:
    rclpy.init()
    node = rclpy.create_node(role)
    ROLES[role](node, **arguments)
    node.destroy_node()
    rclpy.shutdown()


def rows(found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[list[object]]:
    """Of the table: transport, case and figures of the streams."""
    return [
        [name, case, *(values[head] for head in STREAM)]
        for name, cases in found.items()
        for case, values in cases.items()
        if case != "large"
    ]


STREAM = (
    *("image_median", "image_p99", "image_lost", "command_median", "command_p99", "command_max"),
    *("publish_max", "publisher_cpu", "listener_cpu"),
)
LARGE = ("episode_median", "episode_max", "weights_median", "weights_max")


def report(found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    large = [[n, *(cases["large"][h] for h in LARGE)] for n, cases in found.items()]
    return (
        "ms; lost: %; cpu: s\n\n"
        + table(["transport", "case", *STREAM], rows(found))
        + "\n\n"
        + table(["transport", *LARGE], large)
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser("benchmarks.transport", description=__doc__)
    parser.add_argument(
        "--transports",
        nargs="+",
        default=["DEFAULT", "LARGE_DATA", "UDPv4"],
        help="values of FASTDDS_BUILTIN_TRANSPORTS, files of profiles (*.xml), or both: A,B.xml",
    )
    parser.add_argument(
        "--range",
        default="SUBNET",
        choices=["SUBNET", "LOCALHOST"],
        help="how far nodes look for each other; with LOCALHOST, ROS chooses shared memory and UDP "
        "whatever the transport is, and only a file of profiles has a say",
    )
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--json", type=Path, help="write the result there; - prints only that")
    parser.add_argument("--role", choices=sorted(ROLES), help=argparse.SUPPRESS)
    parser.add_argument("--arguments", type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.role:
        play(given.role, given.arguments)
        return
    os.environ["ROS_DOMAIN_ID"] = str(own_domain())
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = given.range
    found = {name: run(name, given.seconds) for name in given.transports}
    finish({"machine": machine(), "transports": found}, report(found), given.json)


if __name__ == "__main__":
    main()
