"""What this process may compute with, in faked trees of /proc and /sys, and how it is shared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planet_bringup import cores
from planet_bringup.cores import Machine, Times

V2 = "31 23 0:28 {root} {mount} rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = "32 31 0:29 {root} {mount} rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
PLAIN_2 = Machine(((0,), (1,)))
HYPERTHREADS = Machine(((0, 1),))
LARGE = Machine(tuple((cpu, cpu + 64) for cpu in range(64)))


class Tree:
    """A faked root folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("proc/self/cgroup", "0::/\n")
        self.write("proc/self/mountinfo", "23 1 0:20 / /proc rw - proc proc rw\n")

    def write(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def mount(self, line: str, root: str = "/", mount: str = "/sys/fs/cgroup") -> None:
        with (self.root / "proc/self/mountinfo").open("a") as file:
            file.write(line.format(root=root, mount=mount))

    def quota(self) -> float:
        return cores.quota(self.root)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def nothing(plan: Sequence[int], update: Sequence[int]) -> tuple[Times, Times]:
    pytest.fail("it was measured, though there is no choice")


def scaling(plan: float, update: float) -> object:
    """A measurement in which these parts of plan and update do not get faster."""

    def measure(k: Sequence[int], m: Sequence[int]) -> tuple[Times, Times]:
        return (
            {n: 0.03 * (plan + (1 - plan) / n) for n in k},
            {n: 0.12 * (update + (1 - update) / n) for n in m},
        )

    return measure


def threads(machine: Machine, together: bool = True, fixed=(None, None), measure=nothing):
    acting, training = cores.share(machine, together=together, fixed=fixed, measure=measure)
    return acting.threads, training.threads


# The quota.


def test_the_quota_of_a_container_with_a_namespace_of_its_own_is_seen(tree: Tree) -> None:
    tree.mount(V2)
    tree.write("sys/fs/cgroup/cpu.max", "150000 100000\n")
    assert tree.quota() == 1.5


def test_the_quota_of_the_own_cgroup_is_seen_below_the_mount(tree: Tree) -> None:
    tree.mount(V2)
    tree.write("proc/self/cgroup", "0::/user.slice/poke.scope\n")
    tree.write("sys/fs/cgroup/user.slice/poke.scope/cpu.max", "200000 100000\n")
    assert tree.quota() == 2.0


def test_the_tightest_quota_of_all_ancestors_counts(tree: Tree) -> None:
    tree.mount(V2)
    tree.write("proc/self/cgroup", "0::/a/b/c\n")
    tree.write("sys/fs/cgroup/a/cpu.max", "300000 100000\n")
    tree.write("sys/fs/cgroup/a/b/cpu.max", "50000 50000\n")
    tree.write("sys/fs/cgroup/a/b/c/cpu.max", "max 100000\n")
    assert tree.quota() == 1.0


def test_a_neighbour_s_quota_is_not_ours(tree: Tree) -> None:
    tree.mount(V2)
    tree.write("proc/self/cgroup", "0::/a\n")
    tree.write("sys/fs/cgroup/b/cpu.max", "100000 100000\n")
    assert tree.quota() == math.inf


@pytest.mark.parametrize(("amount", "cpus"), [("-1", math.inf), ("200000", 2.0)])
def test_the_quota_of_version_1_is_seen(tree: Tree, amount: str, cpus: float) -> None:
    mount = "/sys/fs/cgroup/cpu,cpuacct"
    tree.mount(V1, mount=mount)
    tree.write("proc/self/cgroup", "4:memory:/\n3:cpu,cpuacct:/docker/abc\n0::/\n")
    tree.write(f"{mount[1:]}/docker/abc/cpu.cfs_quota_us", f"{amount}\n")
    tree.write(f"{mount[1:]}/docker/abc/cpu.cfs_period_us", "100000\n")
    assert tree.quota() == cpus


def test_a_mount_that_begins_at_the_own_cgroup_is_not_looked_through_again(tree: Tree) -> None:
    tree.mount(V1, root="/docker/abc", mount="/sys/fs/cgroup/cpu")
    tree.write("proc/self/cgroup", "3:cpu,cpuacct:/docker/abc\n")
    tree.write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "250000\n")
    tree.write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")
    assert tree.quota() == 2.5


@pytest.mark.parametrize("own", ["/../../outside", "/elsewhere"])
def test_a_cgroup_beyond_what_is_mounted_has_the_mount_s_quota(tree: Tree, own: str) -> None:
    tree.mount(V2, root="/here" if own == "/elsewhere" else "/")
    tree.write("proc/self/cgroup", f"0::{own}\n")
    tree.write("sys/fs/cgroup/cpu.max", "100000 100000\n")
    tree.write("sys/fs/cpu.max", "10000 100000\n")
    assert tree.quota() == 1.0


def test_where_both_versions_are_mounted_the_one_with_the_controller_counts(tree: Tree) -> None:
    tree.mount(V1, mount="/sys/fs/cgroup/cpu")
    tree.mount(V2, mount="/sys/fs/cgroup/unified")
    tree.write("proc/self/cgroup", "1:cpu,cpuacct:/job\n0::/job\n")
    tree.write("sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "400000\n")
    tree.write("sys/fs/cgroup/cpu/job/cpu.cfs_period_us", "100000\n")
    (tree.root / "sys/fs/cgroup/unified/job").mkdir(parents=True)
    assert tree.quota() == 4.0


def test_a_mount_with_a_blank_in_its_name_is_found(tree: Tree) -> None:
    tree.mount(V2, mount=r"/mnt/control\040groups")
    tree.write("mnt/control groups/cpu.max", "100000 100000\n")
    assert tree.quota() == 1.0


def test_without_cgroups_there_is_no_quota(tmp_path: Path) -> None:
    assert cores.quota(tmp_path) == math.inf


# The cores.


def siblings(tree: Tree, groups: dict[int, str]) -> None:
    for cpu, text in groups.items():
        path = f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"
        tree.write(path, f"{text}\n")


@pytest.mark.parametrize(
    ("groups", "found"),
    [
        ({0: "0,2", 1: "1,3", 2: "0,2", 3: "1,3"}, ((0, 2), (1, 3))),
        ({0: "0-1", 1: "0-1", 2: "2-3", 3: "2-3"}, ((0, 1), (2, 3))),
        ({0: "0", 1: "1"}, ((0,), (1,))),
    ],
)
def test_hyperthreads_are_of_one_core(tree: Tree, groups, found) -> None:
    siblings(tree, groups)
    assert cores.read(tree.root, groups).cores == found


def test_of_a_core_only_what_is_allowed_counts(tree: Tree) -> None:
    siblings(tree, {cpu: f"{cpu % 4},{cpu % 4 + 4}" for cpu in range(8)})
    assert cores.read(tree.root, [1, 5, 6]).cores == ((1, 5), (6,))


def test_where_the_kernel_is_silent_each_cpu_is_a_core(tree: Tree) -> None:
    assert cores.read(tree.root, [0, 1]) == PLAIN_2


def test_this_machine_can_be_read() -> None:
    assert cores.read().budget >= 1


# Sharing.


def test_a_quota_of_two_on_a_large_host_gives_a_thread_each() -> None:
    machine = Machine(LARGE.cores, 2.0)
    acting, training = cores.share(machine, together=True, fixed=(None, None), measure=nothing)
    assert str(acting) == "1 thread on CPUs 0-31,64-95, since the quota is 2 CPUs"
    assert str(training) == "1 thread on CPUs 32-63,96-127, since the quota is 2 CPUs"
    assert threads(machine, together=False) == (2, 2)


def test_two_hyperthreads_of_a_core_are_one_thread_each() -> None:
    acting, training = cores.share(HYPERTHREADS, together=True, fixed=(None, None), measure=nothing)
    reason = "since 2 CPUs are hyperthreads of 1 core"
    assert str(acting) == f"1 thread on CPU 0, {reason}"
    assert str(training) == f"1 thread on CPU 1, {reason}"
    assert threads(HYPERTHREADS, together=False) == (1, 1)


def test_two_cores_are_one_each_or_in_turns_both() -> None:
    acting, training = cores.share(PLAIN_2, together=True, fixed=(None, None), measure=nothing)
    assert (acting.cpus, training.cpus) == ((0,), (1,))
    assert threads(PLAIN_2, together=False) == (2, 2)


def test_less_than_two_cpus_of_quota_still_let_both_run() -> None:
    assert threads(Machine(PLAIN_2.cores, 0.5)) == (1, 1)


def test_a_single_cpu_is_for_both() -> None:
    acting, training = cores.share(
        Machine(((3,),)), together=True, fixed=(None, None), measure=nothing
    )
    assert acting.cpus == training.cpus == (3,)


def test_threads_go_where_they_are_worth_most() -> None:
    machine = Machine(tuple((cpu,) for cpu in range(8)))
    assert threads(machine, measure=scaling(1.0, 0.1)) == (1, 7)
    assert threads(machine, measure=scaling(0.1, 1.0)) == (7, 1)
    assert threads(machine, measure=scaling(0.2, 0.2)) == (4, 4)
    assert threads(machine, together=False, measure=scaling(1.0, 0.1)) == (1, 8)


def test_threads_that_do_not_pay_are_not_used_and_their_cpus_are_room_for_others() -> None:
    machine = Machine(tuple((cpu,) for cpu in range(16)))

    def measure(plan: Sequence[int], update: Sequence[int]) -> tuple[Times, Times]:
        return {1: 0.03}, {1: 0.12, 2: 0.08, 3: 0.06}

    acting, training = cores.share(machine, together=True, fixed=(None, None), measure=measure)
    assert (acting.threads, training.threads) == (1, 3)
    assert acting.cpus == (0, 1, 2, 3)
    assert training.cpus == tuple(range(4, 16))
    assert training.why == "measured: 120 ms with 1, 80 ms with 2, 60 ms with 3"


def test_where_more_threads_do_not_pay_it_is_said_so() -> None:
    machine = Machine(tuple((cpu,) for cpu in range(4)))
    found = cores.share(
        machine, together=True, fixed=(None, None), measure=lambda *_: ({1: 0.03}, {1: 0.12})
    )
    assert [share.why for share in found] == ["measured: more do not pay"] * 2


def test_what_is_asked_for_is_given_and_not_measured() -> None:
    machine = Machine(tuple((cpu,) for cpu in range(8)))
    asked = ((3, "as asked"), (4, "as asked"))
    acting, training = cores.share(machine, together=True, fixed=asked, measure=nothing)
    assert str(acting) == "3 threads on CPUs 0-2, as asked"
    assert str(training) == "4 threads on CPUs 3-7, as asked"


def test_what_is_not_asked_for_is_chosen_out_of_what_is_left() -> None:
    machine = Machine(tuple((cpu,) for cpu in range(8)))

    def measure(plan: Sequence[int], update: Sequence[int]) -> tuple[Times, Times]:
        assert list(plan) == []
        assert max(update) == 5
        return {}, dict.fromkeys(update, 0.1) | {5: 0.01}

    assert threads(machine, fixed=((3, "as asked"), None), measure=measure) == (3, 5)


def test_more_threads_than_there_are_get_all_cpus() -> None:
    acting, training = cores.share(
        PLAIN_2, together=True, fixed=((2, "as asked"), None), measure=nothing
    )
    assert (acting.threads, training.threads) == (2, 1)
    assert acting.cpus == training.cpus == (0, 1)


@given(
    st.integers(1, 70), st.integers(1, 2), st.floats(0.1, 80.0), st.floats(0, 1), st.floats(0, 1)
)
def test_both_have_cpus_of_their_own_and_no_more_threads_than_there_is_time_for(
    count: int, hyperthreads: int, quota: float, plan: float, update: float
) -> None:
    machine = Machine(
        tuple(tuple(cpu + i * count for i in range(hyperthreads)) for cpu in range(count)), quota
    )
    acting, training = cores.share(
        machine, together=True, fixed=(None, None), measure=scaling(plan, update)
    )
    assert acting.threads + training.threads <= max(2, machine.budget)
    if count > 1:
        assert not set(acting.cpus) & set(training.cpus)
        assert len(set(acting.cpus) | set(training.cpus)) == count * hyperthreads
        assert acting.threads * hyperthreads <= len(acting.cpus)
        assert training.threads * hyperthreads <= len(training.cpus)


# Parts, for several runs at once.


def test_runs_at_once_split_no_core() -> None:
    machine = Machine(((0, 4), (1, 5), (2, 6), (3, 7)))
    assert machine.parts(2) == [(0, 1, 4, 5), (2, 3, 6, 7)]


def test_runs_at_once_split_a_core_where_there_are_too_few() -> None:
    assert HYPERTHREADS.parts(2) == [(0,), (1,)]


def test_runs_at_once_have_their_parts_of_the_quota() -> None:
    assert Machine(LARGE.cores, 4.0).parts(2) == [(0, 1, 64, 65), (2, 3, 66, 67)]


def test_a_run_alone_has_less_than_a_cpu_of_quota() -> None:
    assert Machine(PLAIN_2.cores, 0.5).parts(1) == [(0,)]


def test_too_many_runs_at_once_are_refused_in_one_sentence() -> None:
    with pytest.raises(
        ValueError, match=r"^3 runs at once are too many, since there are 2 cores.$"
    ):
        PLAIN_2.parts(3)


@pytest.mark.parametrize(
    ("cpus", "text"), [([0], "0"), ([3, 1, 2, 8], "1-3,8"), ([0, 2], "0,2"), (range(64), "0-63")]
)
def test_cpus_are_written_as_linux_does(cpus, text: str) -> None:
    assert cores.cpu_list(cpus) == text
