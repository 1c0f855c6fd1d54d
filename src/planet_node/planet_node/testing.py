"""For tests with real nodes: a node in this process, and others in processes of their own."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import IO, Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

PATIENCE = 20.0  # s


def own_domain(number: int = 0) -> int:
    """A ROS_DOMAIN_ID of this process, 20 to 79; those of numbers below 60 differ.

    Apart from the default one and from those of experiments (from 80 on).
    """
    return 20 + (os.getpid() + number) % 60


class Bench:
    """A node, and the processes of those it speaks to, on a domain of their own.

    Callbacks run while `until` or `call` waits, and between two of them it looks at its condition:
    no state is missed for being short, and nothing changes while a test looks at it.
    """

    def __init__(self, namespace: str = "", name: str = "test", domain: int | None = None) -> None:
        """`namespace` is that of the node and of all that is started."""
        self.domain = own_domain() if domain is None else domain
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=self.domain)
        self.node = rclpy.create_node(name, context=self.context, namespace=namespace)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.processes: list[subprocess.Popen[str]] = []
        self._beside: list[Node] = []
        self._remap = ["-r", f"__ns:={namespace}"] if namespace else []

    @property
    def process(self) -> subprocess.Popen[str]:
        """The one that was started last."""
        return self.processes[-1]

    def start(
        self,
        module: str,
        *arguments: str,
        stderr: int | IO[str] | None = subprocess.PIPE,
        **parameters: object,
    ) -> subprocess.Popen[str]:
        """Start a node's module with ROS `arguments`, such as ``-r __node:=camera_front``.

        `stderr` is as Popen takes it.
        """
        given = [part for key, value in parameters.items() for part in ("-p", f"{key}:={value}")]
        process = subprocess.Popen(
            [sys.executable, "-m", module, "--ros-args", *self._remap, *arguments, *given],
            env={**os.environ, "ROS_DOMAIN_ID": str(self.domain), "OMP_NUM_THREADS": "1"},
            stderr=stderr,
            text=True,
        )
        self.processes.append(process)
        return process

    def end(
        self, number: signal.Signals, process: subprocess.Popen[str] | None = None
    ) -> tuple[int, str]:
        """Signal `process`, the last one if none is given, and wait for its end.

        Returns:
            Its exit code, and what it said on stderr if that is a pipe.
        """
        process = process or self.process
        process.send_signal(number)
        said = process.communicate(timeout=PATIENCE)[1]
        return process.returncode, said or ""

    def beside(self, name: str) -> Node:
        """Return a further node in this process, whose callbacks run as those of `node`."""
        node = rclpy.create_node(name, context=self.context)
        self.executor.add_node(node)
        self._beside.append(node)
        return node

    def until(self, condition: Callable[[], object], what: str, timeout: float = PATIENCE) -> float:
        """Wait until `condition` holds and return how long that took, s.

        Raises:
            AssertionError: `what` did not come within `timeout` s.
        """
        begin = time.monotonic()
        while not condition():
            assert time.monotonic() - begin < timeout, f"waited {timeout} s for {what}"
            self.executor.spin_once(timeout_sec=0.01)
        return time.monotonic() - begin

    def call(self, client: Any, request: Any, again: float = math.inf) -> Any:
        """Return the answer, asking every `again` s: a killed server seems to be there for a while.

        Raises:
            AssertionError: there is no such service, or no answer.
        """
        self.until(client.service_is_ready, client.service_name)
        deadline = time.monotonic() + 1.5 * PATIENCE
        while (left := deadline - time.monotonic()) > 0.0:
            future = client.call_async(request)
            self.executor.spin_until_future_complete(future, timeout_sec=min(again, left))
            if future.done():
                return future.result()
            client.remove_pending_request(future)
        raise AssertionError(f"{client.service_name} did not answer")

    def close(self) -> None:
        """End every process as Ctrl-C would, then the node.

        Fast DDS has crashed here, taking a participant down just after a peer had vanished: so a
        process is killed only if it does not end, and that is an error.

        Raises:
            AssertionError: a process had to be killed.
        """
        for process in self.processes:
            process.send_signal(signal.SIGINT)
        killed = [process.args for process in self.processes if not _ended(process)]
        self.executor.shutdown()
        for node in (self.node, *self._beside):
            node.destroy_node()
        rclpy.shutdown(context=self.context)
        assert not killed, f"these had to be killed: {killed}"


def _ended(process: subprocess.Popen[str]) -> bool:
    try:
        process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return False
    return True
