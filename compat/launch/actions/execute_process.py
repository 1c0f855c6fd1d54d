"""The action that runs a process."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import shlex
import signal
from collections.abc import Iterable, Mapping
from typing import Any

from ..action import Action
from ..conditions import WORDS
from ..event import Event
from ..event_handlers import EventHandler, OnProcessExit
from ..events import Shutdown
from ..events.process import ProcessExited, ProcessStarted, ShutdownProcess, SignalProcess
from ..launch_context import LaunchContext
from ..launch_description_entity import Entities, SomeEntitiesType, entities_of
from ..logging import get_logger, get_output_loggers
from ..processes import ProcessGroup
from ..substitution import SomeSubstitutionsType, perform
from ..substitutions import LaunchConfiguration
from ..utilities.type_utils import perform_typed_substitution

Environment = Mapping[SomeSubstitutionsType, SomeSubstitutionsType]
# seconds
SIGTERM_TIMEOUT = LaunchConfiguration("sigterm_timeout", default=5)
SIGKILL_TIMEOUT = LaunchConfiguration("sigkill_timeout", default=5)
_numbers = itertools.count(1)


class ExecuteProcess(Action):
    """Runs a process and looks after it until its end, or the end of its respawning.

    At shutdown its process group gets SIGINT, SIGTERM after `sigterm_timeout` seconds, and SIGKILL
    after `sigkill_timeout` more. `respawn` starts it again, `respawn_delay` seconds after it ended
    for whatever reason, at most `respawn_max_retries` times (negative: without limit). `on_exit`
    are the actions, or a function of event and context, for each of its ends.
    `output` says where its lines go: see `launch.logging.get_output_loggers`.
    """

    def __init__(
        self,
        *,
        cmd: Iterable[SomeSubstitutionsType],
        prefix: SomeSubstitutionsType | None = None,
        name: SomeSubstitutionsType | None = None,
        cwd: SomeSubstitutionsType | None = None,
        env: Environment | None = None,
        additional_env: Environment | None = None,
        shell: bool = False,
        sigterm_timeout: SomeSubstitutionsType = SIGTERM_TIMEOUT,
        sigkill_timeout: SomeSubstitutionsType = SIGKILL_TIMEOUT,
        emulate_tty: bool = False,
        output: SomeSubstitutionsType | dict[str, str | set[str]] = "log",
        log_cmd: bool = False,
        on_exit: SomeEntitiesType = None,
        respawn: bool | SomeSubstitutionsType = False,
        respawn_delay: float | None = None,
        respawn_max_retries: int = -1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.cmd = list(cmd)
        self._prefix = prefix
        self._name = name
        self._cwd = cwd
        self._env = env
        self._additional_env = additional_env
        self._shell = shell
        self._timeouts = (sigterm_timeout, sigkill_timeout)
        self._emulate_tty = emulate_tty
        self._output = output
        self._log_cmd = log_cmd
        self._on_exit = on_exit
        self._respawn = respawn
        self._respawn_delay = respawn_delay
        self._respawn_max_retries = respawn_max_retries
        self._retries = 0
        self._respawning = False
        self._stopping = False
        self._timers: list[asyncio.TimerHandle] = []
        self._group: ProcessGroup | None = None
        self._done: asyncio.Future[None] | None = None
        self.return_code: int | None = None
        # name, cmd, cwd, env and pid of the process, once it is known
        self.process_details: dict[str, Any] | None = None

    def get_sub_entities(self) -> Entities:
        return [] if callable(self._on_exit) else entities_of(self._on_exit)

    def get_asyncio_future(self) -> asyncio.Future[None] | None:
        return self._done

    def expand_cmd(self, context: LaunchContext) -> list[str]:
        """Return the command, without the prefix."""
        return [perform(context, part) for part in self.cmd]

    def _prefix_of(self, context: LaunchContext, cmd: list[str]) -> list[str]:
        if self._prefix is not None:
            return shlex.split(perform(context, self._prefix))
        wanted = context.launch_configurations.get("launch-prefix-filter", "")
        if not re.match(wanted, os.path.basename(cmd[0])):
            return []
        return shlex.split(context.launch_configurations.get("launch-prefix", ""))

    def _environment(self, context: LaunchContext) -> dict[str, str]:
        environment = dict(context.environment) if self._env is None else {}
        for extra in (self._env, self._additional_env):
            for key, value in (extra or {}).items():
                environment[perform(context, key)] = perform(context, value)
        return environment

    def execute(self, context: LaunchContext) -> None:
        """Start the process.

        :raises RuntimeError: it was started before, or cannot be started.
        """
        if self._done is not None:
            raise RuntimeError(f"the action of process '{self._name}' was executed twice")
        cmd = self.expand_cmd(context)
        cmd = self._prefix_of(context, cmd) + cmd
        name = os.path.basename(cmd[0]) if self._name is None else perform(context, self._name)
        name = f"{name}-{next(_numbers)}"
        self.process_details = {
            "action": self,
            "name": name,
            "cmd": cmd,
            "cwd": None if self._cwd is None else perform(context, self._cwd),
            "env": self._environment(context),
        }
        respawn: bool = perform_typed_substitution(context, self._respawn, bool)
        self._respawning = respawn
        output = os.environ.get("OVERRIDE_LAUNCH_PROCESS_OUTPUT", self._output)
        if not isinstance(output, dict):
            output = perform(context, output)
        self._logger = get_logger(name)
        self._stdout, self._stderr = get_output_loggers(name, output)
        if "emulate_tty" in context.launch_configurations:
            self._emulate_tty = WORDS[context.launch_configurations["emulate_tty"].lower()]
        sigterm, sigkill = (float(perform(context, timeout)) for timeout in self._timeouts)
        self._sigterm_after, self._sigkill_after = sigterm, sigkill
        if context.is_shutdown:
            return
        assert context.asyncio_loop is not None, "actions are executed by a running launch"
        self._context, self._loop = context, context.asyncio_loop
        self._done = self._loop.create_future()
        requests = (Shutdown, ShutdownProcess, SignalProcess)
        context.register_event_handler(
            EventHandler(
                matcher=lambda event: isinstance(event, requests), entities=self._on_request
            )
        )
        if self._on_exit is not None:
            context.register_event_handler(OnProcessExit(target_action=self, on_exit=self._on_exit))
        self._start()

    def _start(self) -> None:
        assert self.process_details is not None, "execute() sets them"
        assert self._context.processes is not None, "the launch is running"
        details = self.process_details
        if self._log_cmd:
            self._logger.info(f"process details: cmd='{self._cmd_text()}', cwd='{details['cwd']}'")
        try:
            self._group = self._context.processes.start(
                details["cmd"],
                cwd=details["cwd"],
                env=details["env"],
                shell=self._shell,
                emulate_tty=self._emulate_tty,
                on_stdout=lambda line: self._stdout.info(f"[{details['name']}] {line}"),
                on_stderr=lambda line: self._stderr.info(f"[{details['name']}] {line}"),
                on_exit=self._exited,
                on_left_behind=self._left_behind,
                on_gone=self._gone,
            )
        except OSError as error:
            self._finish()
            raise RuntimeError(f"process '{details['name']}' cannot be started: {error}") from error
        details["pid"] = self._group.pid
        self._logger.info(f"process started with pid [{self._group.pid}]")
        self._context.emit_event_sync(ProcessStarted(**details))

    def _cmd_text(self) -> str:
        assert self.process_details is not None, "execute() sets them"
        return " ".join(part for part in self.process_details["cmd"] if part.strip())

    def _exited(self, returncode: int) -> None:
        assert self.process_details is not None, "execute() sets them"
        self.return_code = returncode
        pid = self.process_details["pid"]
        if returncode == 0:
            self._logger.info(f"process has finished cleanly [pid {pid}]")
        else:
            self._logger.error(
                f"process has died [pid {pid}, exit code {returncode}, cmd '{self._cmd_text()}']."
            )
        self._context.emit_event_sync(ProcessExited(returncode=returncode, **self.process_details))

    def _left_behind(self) -> None:
        """End what the process started and did not wait for."""
        if self._stopping:
            return  # they got SIGINT with it, and the timers run
        self._logger.warning("the process left others behind, sending signal 'SIGTERM' to them")
        self._signal(signal.SIGTERM)
        self._timers.append(
            self._loop.call_later(self._sigkill_after, self._signal, signal.SIGKILL)
        )

    def _gone(self) -> None:
        self._group = None
        self._cancel_timers()
        retry = self._respawn_max_retries < 0 or self._retries < self._respawn_max_retries
        if self._stopping or self._context.is_shutdown or not (self._respawning and retry):
            self._finish()
            return
        self._retries += 1
        self._timers.append(self._loop.call_later(self._respawn_delay or 0.0, self._start))

    def _cancel_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _finish(self) -> None:
        """Tell the launch that nothing more comes from here."""
        assert self._done is not None, "execute() sets it"
        if self._done.done():
            return
        self._cancel_timers()
        self._done.set_result(None)

    def _signal(self, number: signal.Signals) -> None:
        if self._group is not None:
            self._group.signal(number)

    def _on_request(self, event: Event, context: LaunchContext) -> None:
        if isinstance(event, Shutdown):
            # The processes are not in the terminal's foreground group: Ctrl-C is passed on.
            self._stop(tell=not event.due_to_sigint)
        elif isinstance(event, ShutdownProcess) and event.process_matcher(self):
            self._stop(tell=True)
        elif isinstance(event, SignalProcess) and event.process_matcher(self):
            self._send(event.signal)

    def _send(self, number: signal.Signals) -> None:
        assert self.process_details is not None, "execute() sets them"
        if self._group is not None:
            name = self.process_details["name"]
            self._logger.info(f"sending signal '{number.name}' to process[{name}]")
            self._signal(number)

    def _stop(self, *, tell: bool) -> None:
        if self._stopping:
            return
        self._stopping = True
        self._cancel_timers()
        if self._group is None:  # between two lives
            self._finish()
            return
        if tell:
            self._send(signal.SIGINT)
        else:
            self._signal(signal.SIGINT)
        sigkill_after = self._sigterm_after + self._sigkill_after
        self._timers = [
            self._loop.call_later(
                self._sigterm_after, self._escalate, self._sigterm_after, signal.SIGINT
            ),
            self._loop.call_later(sigkill_after, self._escalate, sigkill_after, signal.SIGTERM),
        ]

    def _escalate(self, seconds: float, received: signal.Signals) -> None:
        assert self.process_details is not None, "execute() sets them"
        following = {signal.SIGINT: signal.SIGTERM, signal.SIGTERM: signal.SIGKILL}[received]
        self._logger.error(
            f"process[{self.process_details['name']}] failed to terminate '{seconds:g}' seconds "
            f"after receiving '{received.name}', escalating to '{following.name}'"
        )
        self._send(following)
