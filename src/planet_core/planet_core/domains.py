"""ROS domains of this computer: a run has one to itself, for two in one would mix their data.

Whoever holds a domain holds the lock of a file, which says who it is; the kernel frees a lock,
however its holder ends.

    python -m planet_core.domains      prints the domain of the run that is active, if there is one
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import MutableMapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

VARIABLE = "ROS_DOMAIN_ID"
FOLLOWED = "ROBO_PLANET_FOLLOWED_DOMAIN"
"""Set by .venv/setup.bash to the domain that it has chosen, not the user."""
LAST = 10  # of the domains that are tried where the user asks for none


class DomainTakenError(Exception):
    """Another run is in the domain; one sentence names it and the way out."""


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
        DomainTakenError: the domain that the user asks for is another run's, or all are taken.
    """
    asked = environment.get(VARIABLE, "")
    if asked.isdecimal() and asked != environment.get(FOLLOWED):
        claim = _claim(int(asked), data_dir)
        if claim is None:
            other = _holder(int(asked))
            who = f"the run in {other.data_dir} (process {other.process})" if other else "a run"
            raise DomainTakenError(
                f"{VARIABLE} is {asked}, but {who} is in that domain: end it, or choose another "
                f"{VARIABLE}, or none"
            )
        return claim
    for domain in range(LAST + 1):
        claim = _claim(domain, data_dir)
        if claim is not None:
            environment[VARIABLE] = str(domain)
            return claim
    raise DomainTakenError(f"the ROS domains 0 to {LAST} are all taken by other runs: end one")


def active() -> list[Holder]:
    """Return who holds domains now, by domain."""
    found = (_holder(domain) for domain in range(LAST + 1) if _is_held(domain))
    return [holder for holder in found if holder is not None]


def _path(domain: int) -> Path:
    base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    folder = Path(base) / f"robo_planet_{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / f"domain_{domain}.lock"


def _claim(domain: int, data_dir: Path) -> Claim | None:
    """The domain, unless another process has it."""
    file = _path(domain).open("a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    holder = Holder(domain, str(data_dir), os.getpid())
    file.truncate(0)
    file.write(json.dumps(asdict(holder)))
    file.flush()
    return Claim(holder, file)


def _is_held(domain: int) -> bool:
    path = _path(domain)
    if not path.exists():
        return False
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _holder(domain: int) -> Holder | None:
    """Who says to hold the domain; None while that is being written."""
    try:
        return Holder(**json.loads(_path(domain).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def main() -> None:
    """Print the one active run's domain."""
    holders = active()
    if len(holders) == 1:
        print(holders[0].domain)


if __name__ == "__main__":
    main()
