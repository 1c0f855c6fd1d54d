"""The action that runs a process."""

from __future__ import annotations

import asyncio
import itertools
import os
import shlex
import signal
from collections.abc import Iterable, Mapping

from .entities import Action
from .event_handlers import EventHandler
from .events import Shutdown
from .events.process import ProcessExited
from .launch_context import LaunchContext
from .logging import get_logger, get_output_loggers
from .processes import ProcessGroup
from .substitutions import LaunchConfiguration, SomeSubstitutionsType, perform

SIGTERM_TIMEOUT = LaunchConfiguration("sigterm_timeout", default="5")
SIGKILL_TIMEOUT = LaunchConfiguration("sigkill_timeout", default="5")
_numbers = itertools.count(1)


class ExecuteProcess(Action):
    """Runs a process and looks after it until its end, or the end of its respawning.

    At shutdown its process group gets SIGINT, SIGTERM after `sigterm_timeout` seconds, and SIGKILL
    after `sigkill_timeout` more. `respawn` starts it again, `respawn_delay` seconds after it ended
    for whatever reason. `output` says where its lines go: see `launch.logging.get_output_loggers`.
    """

    def __init__(
        self,
        *,
        cmd: Iterable[SomeSubstitutionsType],
        prefix: SomeSubstitutionsType = "",
        name: SomeSubstitutionsType | None = None,
        additional_env: Mapping[str, SomeSubstitutionsType] | None = None,
        output: str = "log",
        sigterm_timeout: SomeSubstitutionsType = SIGTERM_TIMEOUT,
        sigkill_timeout: SomeSubstitutionsType = SIGKILL_TIMEOUT,
        respawn: bool = False,
        respawn_delay: float = 0.0,
    ) -> None:
        self._cmd_parts = list(cmd)
        self._prefix = prefix
        self._given_name = name
        self._additional_env = additional_env or {}
        self._output = output
        self._timeouts = (sigterm_timeout, sigkill_timeout)
        self._respawn = respawn
        self._respawn_delay = respawn_delay
        self._stopping = False
        self._timers: list[asyncio.TimerHandle] = []
        self._group: ProcessGroup | None = None
        self._done: asyncio.Future[None] | None = None
        self._traceback: list[str] = []

    def get_asyncio_future(self) -> asyncio.Future[None] | None:
        return self._done

    def expand_cmd(self, context: LaunchContext) -> list[str]:
        """Return the command, without the prefix."""
        return [perform(context, part) for part in self._cmd_parts]

    def execute(self, context: LaunchContext) -> None:
        """Start the process.

        :raises RuntimeError: it cannot be started.
        """
        cmd = self.expand_cmd(context)
        self._cmd = [*shlex.split(perform(context, self._prefix)), *cmd]
        given = self._given_name
        name = os.path.basename(self._cmd[0]) if given is None else perform(context, given)
        self._name = f"{name}-{next(_numbers)}"
        extra = {key: perform(context, value) for key, value in self._additional_env.items()}
        self._env = {**os.environ, **extra}
        self._logger = get_logger(self._name)
        self._stdout, self._stderr = get_output_loggers(self._name, self._output)
        sigterm, sigkill = (float(perform(context, timeout)) for timeout in self._timeouts)
        self._sigterm_after, self._sigkill_after = sigterm, sigkill
        if context.is_shutdown:
            return
        assert context.asyncio_loop is not None, "actions are executed by a running launch"
        self._context, self._loop = context, context.asyncio_loop
        self._done = self._loop.create_future()
        context.register_event_handler(EventHandler(Shutdown, self._on_shutdown))
        self._start()

    def _start(self) -> None:
        assert self._context.processes is not None, "the launch is running"
        try:
            self._group = self._context.processes.start(self._cmd, self._env, self)
        except OSError as error:
            self._finish()
            raise RuntimeError(f"process '{self._name}' cannot be started: {error}") from error
        self._logger.info(f"process started with pid [{self._group.pid}]")

    def on_stdout(self, line: str) -> None:
        self._stdout.info(f"[{self._name}] {line}")

    def on_stderr(self, line: str) -> None:
        if self._stopping and (self._traceback or line.startswith("Traceback ")):
            self._traceback.append(line)
        else:
            self._stderr.info(f"[{self._name}] {line}")

    def on_exit(self, returncode: int) -> None:
        assert self._group is not None, "it has run"
        # A Python that still imports answers Ctrl-C with a traceback, which tells nobody anything.
        if returncode != -signal.SIGINT:
            for line in self._traceback:
                self._stderr.info(f"[{self._name}] {line}")
        pid = self._group.pid
        if returncode == 0:
            self._logger.info(f"process has finished cleanly [pid {pid}]")
        else:
            command = " ".join(self._cmd)
            self._logger.error(
                f"process has died [pid {pid}, exit code {returncode}, cmd '{command}']."
            )
        event = ProcessExited(process_name=self._name, pid=pid, returncode=returncode)
        self._context.emit_event_sync(event)

    def on_left_behind(self) -> None:
        """End what the process started and did not wait for."""
        if self._stopping:
            return  # they got SIGINT with it, and the timers run
        self._logger.warning("the process left others behind, sending signal 'SIGTERM' to them")
        self._signal(signal.SIGTERM)
        self._timers.append(
            self._loop.call_later(self._sigkill_after, self._signal, signal.SIGKILL)
        )

    def on_gone(self) -> None:
        """Start the process again where it is to be."""
        self._group = None
        self._cancel_timers()
        if self._stopping or self._context.is_shutdown or not self._respawn:
            self._finish()
        else:
            self._timers = [self._loop.call_later(self._respawn_delay, self._start)]

    def _cancel_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _finish(self) -> None:
        """Tell the launch that nothing more comes from here."""
        assert self._done is not None, "execute() sets it"
        if not self._done.done():
            self._done.set_result(None)

    def _signal(self, number: signal.Signals) -> None:
        if self._group is not None:
            self._group.signal(number)

    def _send(self, number: signal.Signals) -> None:
        self._logger.info(f"sending signal '{number.name}' to process[{self._name}]")
        self._signal(number)

    def _on_shutdown(self, event: Shutdown, context: LaunchContext) -> None:
        if self._stopping:
            return
        self._stopping = True
        self._cancel_timers()
        if self._group is None:  # between two lives
            self._finish()
            return
        if event.due_to_sigint:
            # The processes are not in the terminal's foreground group: Ctrl-C is passed on.
            self._signal(signal.SIGINT)
        else:
            self._send(signal.SIGINT)
        sigkill_after = self._sigterm_after + self._sigkill_after
        self._timers = [
            self._loop.call_later(
                self._sigterm_after, self._escalate, self._sigterm_after, signal.SIGINT
            ),
            self._loop.call_later(sigkill_after, self._escalate, sigkill_after, signal.SIGTERM),
        ]

    def _escalate(self, seconds: float, received: signal.Signals) -> None:
        following = {signal.SIGINT: signal.SIGTERM, signal.SIGTERM: signal.SIGKILL}[received]
        self._logger.error(
            f"process[{self._name}] failed to terminate '{seconds:g}' seconds "
            f"after receiving '{received.name}', escalating to '{following.name}'"
        )
        self._send(following)
