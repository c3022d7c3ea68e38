"""A run that ends cleanly on Ctrl-C and SIGTERM, and its worker processes with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

__all__ = ["StopRequest", "end_with_parent"]


SAME_WISH_SECONDS = 1.0


class StopRequest:
    """Notes SIGINT and SIGTERM instead of dying of them; a second one ends the process at once.

    What comes within a second of the first is the same wish: a scheduler that signals every process reaches
    one directly and through torchrun, which passes signals on.

    Only in the main thread, where Python handles signals: in an actor of Ray they are Ray's.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._noted = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._before = {
                number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)
            }
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self.signal is None:
            self.signal, self._noted = number, time.monotonic()
        elif time.monotonic() - self._noted > SAME_WISH_SECONDS:
            for other in self._before:
                signal.signal(other, signal.SIG_DFL)
            signal.raise_signal(number)


def end_with_parent(_worker: int = 0) -> None:
    """In a worker process, as the ``worker_init_fn`` of a DataLoader: end when the parent does, not before.

    Ctrl-C reaches the whole process group, and so does SIGTERM from torchrun and from schedulers. A worker
    that died of it would take the parent along while that is still saving. A second signal ends the worker
    as it ends the parent. A worker whose parent was killed would else wait for ever that somebody takes what
    it made.
    """
    StopRequest().__enter__()
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # noqa: S101  (this is a worker)
    parent.join()
    os._exit(1)
