"""ROS domains of this computer: a run has one to itself, for two in one would mix their data.

Whoever holds a domain holds the lock of a file, which says who it is; the kernel frees a lock,
however its holder ends.

    python -m planet_core.domains      prints what .venv/setup.bash does to follow the active run
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import tempfile
import time
from collections.abc import MutableMapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

VARIABLE = "ROS_DOMAIN_ID"
FOLLOWED = "ROBO_PLANET_FOLLOWED_DOMAIN"
"""Set by .venv/setup.bash to the domain that it has chosen, not the user."""
LAST = 10  # of the domains that are tried where the user asks for none
RUN = "run"
"""The purpose that a run holds its domain for; whoever plans runs holds domains for another."""
_TRIES, _PAUSE = 3, 0.01  # of a lock, s: who only looks whether it is held has it for an instant


class DomainError(RuntimeError):
    """No run can be in the domain that it wants; one sentence says why, and the way out."""


@dataclass(frozen=True)
class Holder:
    """Who holds a domain."""

    domain: int
    data_dir: str
    process: int


@dataclass
class Claim:
    """A domain that is held until the claim is closed or the process ends."""

    holder: Holder
    _file: IO[str]

    def close(self) -> None:
        """Let another run have the domain."""
        self._file.close()


def enter(environment: MutableMapping[str, str], data_dir: Path) -> Claim:
    """Hold the domain that `environment` names, or the first free one, which it then names.

    Raises:
        DomainError: the domain that the user asks for is another run's or none, or all are taken.
    """
    asked = environment.get(VARIABLE, "")
    if asked and asked != environment.get(FOLLOWED):
        if not asked.isdecimal():
            raise DomainError(f"{VARIABLE} is '{asked}', but must be a whole number.")
        found = claim(int(asked), data_dir)
        if found is None:
            other = _holder(_path(int(asked), RUN))
            who = f"the run in {other.data_dir} (process {other.process})" if other else "a run"
            raise DomainError(
                f"{VARIABLE} is {asked}, but {who} is in that domain: end it, or choose another "
                f"{VARIABLE}, or none."
            )
        return found
    for domain in range(LAST + 1):
        found = claim(domain, data_dir)
        if found is not None:
            environment[VARIABLE] = str(domain)
            return found
    raise DomainError(f"the ROS domains 0 to {LAST} are all taken by other runs: end one.")


def claim(domain: int, data_dir: Path, purpose: str = RUN) -> Claim | None:
    """Hold a domain, unless another process holds it for the same purpose.

    Raises:
        DomainError: the folder of the locks cannot be written.
    """
    path = _path(domain, purpose)
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise DomainError(f"{path} cannot be written: {error.strerror}.") from error
    for _ in range(_TRIES):
        if _lock(file):
            holder = Holder(domain, str(data_dir), os.getpid())
            file.truncate(0)
            file.write(json.dumps(asdict(holder)))
            file.flush()
            return Claim(holder, file)
        time.sleep(_PAUSE)
    file.close()
    return None


def active() -> list[Holder]:
    """Return the runs that hold domains now, by domain."""
    paths = _path(0, RUN).parent.glob(f"{RUN}_*.lock")
    found = (_holder(path) for path in paths if _is_held(path))
    return sorted((one for one in found if one is not None), key=lambda one: one.domain)


def _path(domain: int, purpose: str) -> Path:
    base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    return Path(base) / f"robo_planet_{os.getuid()}" / f"{purpose}_{domain}.lock"


def _lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_held(path: Path) -> bool:
    with path.open("a+", encoding="utf-8") as file:
        return not _lock(file)


def _holder(path: Path) -> Holder | None:
    """Who says to hold a lock; None while that is being written."""
    try:
        return Holder(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def main() -> None:
    """Print the shell's command that leads a terminal into the one active run's domain."""
    holders = active()
    if len(holders) == 1:
        domain = holders[0].domain
        print(f"export {VARIABLE}={domain} {FOLLOWED}={domain}")
        return
    print(f"unset {VARIABLE} {FOLLOWED}")
    if holders:
        listed = ", ".join(f"{one.domain} ({one.data_dir})" for one in holders)
        print(f"Runs are active in the domains {listed}: set {VARIABLE} to one.", file=sys.stderr)


if __name__ == "__main__":
    main()
