"""How the method learns to push a point to a goal, its ablations, and a figure of it.

    python -m experiments.point_push run --out DIR --jobs 2
    python -m experiments.point_push report --runs DIR --out experiments/point_push

Modules: ``environment`` (the task and its oracle), ``rollout`` (episodes of a policy), ``training``
(one run: a variant and a seed), ``report`` (statistics and pictures), ``__main__`` (the commands).
"""
