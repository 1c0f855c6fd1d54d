"""Draw an experiment: one HTML page with its pictures in it, and the same pictures as a PNG.

    python -m experiments.report DIR

DIR is what `python -m experiments.run` wrote; the page is DIR/report.html, the picture
DIR/report.png.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from experiments import figures
from experiments.comparison import compare
from experiments.definition import Definition, DefinitionError
from experiments.results import CompleteRun, Method, Run, by_method, read
from experiments.words import duration, listed


def write(folder: Path) -> Path:
    """Write the page and the picture; raises DefinitionError with one sentence."""
    experiment, runs = read(folder)
    methods = by_method(experiment, runs)
    shown = [method for method in methods if method.runs]
    if shown:
        figures.overview(shown, folder / "report.png")
    path = folder / "report.html"
    path.write_text(page(experiment.title, runs, methods, shown), encoding="utf-8")
    return path


def page(
    title: str, runs: Sequence[Run], methods: Sequence[Method], shown: Sequence[Method]
) -> str:
    """The HTML page.

    Args:
        title: of the experiment.
        runs: all of it.
        methods: all of it.
        shown: those with at least one run, which are drawn.
    """
    complete = [run for run in runs if isinstance(run, CompleteRun)]
    common = min((run.definition.minutes for run in complete), default=math.nan)
    definition = runs[0].definition
    evaluation = definition.evaluation
    return _template().render(
        title=title,
        lede=_lede(runs, len(complete)),
        notes=[
            *_missing(runs, len(complete)),
            *_commits(complete),
            *_deaths(complete),
            *_early_ends(complete),
        ],
        pictures=figures.pictures(shown) if shown else [],
        methods=methods,
        rows=compare(methods, common),
        runs=runs,
        common=common,
        evaluation=evaluation,
        last_seed=evaluation.seed + max(evaluation.episodes, evaluation.final_episodes) - 1,
        paced=any(run.definition.real_time_factor > 0 for run in runs),
        settings={run.definition.method: _settings(run.definition) for run in runs},
        versions=sorted({_versions(run) for run in runs if run.values}),
    )


def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(colour=figures.colour, duration=duration)
    environment.tests["finite"] = math.isfinite
    environment.tests["complete"] = lambda run: isinstance(run, CompleteRun)
    return environment.get_template("report.html.j2")


def _lede(runs: Sequence[Run], complete: int) -> str:
    minutes = sorted({run.definition.minutes for run in runs})
    machines = sorted({_machine(run) for run in runs if run.values})
    lengths = listed([f"{value:g}" for value in minutes], "or")
    text = f"{complete} of {len(runs)} runs, {lengths} minutes of wall-clock time each"
    return f"{text}, on {listed(machines, 'and')}." if machines else f"{text}."


# What a reader must know before comparing: each yields at most one note.


def _missing(runs: Sequence[Run], complete: int) -> list[str]:
    missing = len(runs) - complete
    if not missing:
        return []
    return [
        f"{missing} of {len(runs)} runs {'is' if missing == 1 else 'are'} not complete, and not in "
        "the pictures and the comparison; the list of runs says which."
    ]


def _commits(complete: Sequence[CompleteRun]) -> list[str]:
    """Where the runs were not all made and evaluated with the same known code."""
    made: Counter[str] = Counter()
    for run in complete:
        trained_with = run.values["versions"].get("commit") or "an unknown one"
        made.update({trained_with, *run.values.get("evaluated_with", [])})
    changed = any(commit.endswith("-dirty") for commit in made)
    if len(made) < 2 and not changed:
        return []
    counts = [f"{commit} ({count})" for commit, count in sorted(made.items())]
    text = (
        "The runs were made or evaluated with different commits, so more than the methods may "
        f"differ between them: {listed(counts, 'and')}."
        if len(made) > 1
        else f"The runs were made with {listed(counts, 'and')}."
    )
    return [text + " What is called dirty had changes that no commit holds." * changed]


def _deaths(complete: Sequence[CompleteRun]) -> list[str]:
    """Where nodes died."""
    found = [
        f"{node} of {run.definition.title}: {count}"
        for run in complete
        for node, count in run.values.get("died", {}).items()
    ]
    if not found:
        return []
    return [
        f"Nodes died in training and were started again, which takes time ({'; '.join(found)})."
    ]


def _early_ends(complete: Sequence[CompleteRun]) -> list[str]:
    """Where the last checkpoint is much older than the end."""
    found = [
        f"{run.definition.title}: minute {run.evaluated[-1]:.1f} of {run.definition.minutes:g}"
        for run in complete
        if run.evaluated[-1] < run.definition.minutes - run.definition.evaluation.every
    ]
    if not found:
        return []
    return [
        f"What is called final is older, since no update was saved after it ({'; '.join(found)})."
    ]


def _machine(run: Run) -> str:
    machine = run.values["machine"]
    unit = "core" if machine["cores"] == 1 else "cores"
    text = f"{machine['cores']} {unit} of {machine['cpu']}"
    parts = [
        f"{part} in {run.values[part]}" for part in ("planner", "learner") if run.values.get(part)
    ]
    return f"{text} ({', '.join(parts)})" if parts else text


def _versions(run: Run) -> str:
    return ", ".join(f"{name} {value}" for name, value in run.values["versions"].items() if value)


def _settings(definition: Definition) -> str:
    """The launch's arguments, and the parameters that lie over the profile."""

    def flat(prefix: str, value: object) -> list[str]:
        if not isinstance(value, dict):
            return [f"{prefix}={value}"]
        start = f"{prefix}." if prefix else ""
        return [text for name, inner in value.items() for text in flat(f"{start}{name}", inner)]

    arguments = [f"{name}:={value}" for name, value in definition.launch.items()]
    parameters = [
        f"{node} {text}" for node, own in definition.parameters.items() for text in flat("", own)
    ]
    return "; ".join([" ".join(arguments), *parameters] if arguments else parameters)


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the page; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.report",
        description=__doc__.splitlines()[0] if __doc__ else None,
    )
    parser.add_argument(
        "folder", metavar="DIR", type=Path, help="Folder that experiments.run wrote."
    )
    folder: Path = parser.parse_args(arguments).folder
    try:
        print(write(folder))
    except (DefinitionError, OSError) as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
