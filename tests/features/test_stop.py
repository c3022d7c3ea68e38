from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GROUP = """
import os, signal, sys
from torch.utils.data import DataLoader
from features.stop import StopRequest, end_with_parent

class Numbers:
    def __getitem__(self, index):
        if index == 5:
            os.killpg(0, int(sys.argv[1]))  # to this worker and its parent alike
        return index
    def __len__(self):
        return 12

with StopRequest() as stop:
    loader = DataLoader(Numbers(), batch_size=None, num_workers=2, worker_init_fn=end_with_parent,
                        multiprocessing_context="fork")
    print(sum(loader), stop.signal)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group_ends_no_worker_before_its_parent(number: signal.Signals) -> None:
    child = subprocess.run(
        [sys.executable, "-c", GROUP, str(int(number))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        start_new_session=True,
    )
    assert child.stdout.split() == [str(sum(range(12))), str(int(number))], child.stderr
    assert child.returncode == 0


TWICE = """
import os, signal, sys, time
import features.stop
features.stop.SAME_WISH_SECONDS = float(sys.argv[1])
with features.stop.StopRequest() as stop:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGTERM)
    print("saved", stop.signal)
"""


@pytest.mark.parametrize(
    ("seconds", "code", "said"), [("60", 0, ["saved", "15"]), ("0.001", -signal.SIGTERM, [])]
)
def test_a_signal_that_comes_by_two_ways_is_one_and_a_later_one_ends_the_process(
    seconds: str, code: int, said: list[str]
) -> None:
    child = subprocess.run(
        [sys.executable, "-c", TWICE, seconds], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert (child.returncode, child.stdout.split()) == (code, said), child.stderr


ORPHANS = """
import os, signal
from multiprocessing import active_children
from torch.utils.data import DataLoader
from features.stop import end_with_parent
loader = iter(DataLoader(range(10**9), batch_size=None, num_workers=2, worker_init_fn=end_with_parent,
                         multiprocessing_context="fork"))
next(loader)
print(*(child.pid for child in active_children()), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_workers_end_with_a_parent_that_was_killed() -> None:
    # They hold the other end of this pipe: it closes, and run() comes back, when the last of them is gone.
    child = subprocess.run([sys.executable, "-c", ORPHANS], cwd=ROOT, stdout=subprocess.PIPE, timeout=120)
    assert child.returncode == -signal.SIGKILL
    assert len(child.stdout.split()) == 2
