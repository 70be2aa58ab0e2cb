"""Work that Ctrl-C ends at once, whatever it is doing: a solver compiles and computes for seconds without listening."""

import threading
from collections.abc import Callable
from typing import Any

_LISTEN = 0.1  # seconds
_LEFT: list[threading.Thread] = []


def run(work: Callable[[], Any]) -> Any:
    """What `work()` returns or raises, computed on another thread while this one listens.

    On Ctrl-C the KeyboardInterrupt is raised here within a tenth of a second; the thread goes on until the process
    ends (`left_behind`), so that only work that writes nothing until it is done belongs here.
    """
    answer: dict[str, Any] = {}

    def body() -> None:
        try:
            answer["value"] = work()
        except BaseException as error:  # raised again where it is waited for
            answer["error"] = error

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    _LEFT.append(thread)
    while thread.is_alive():
        thread.join(_LISTEN)
    _LEFT.remove(thread)
    if "error" in answer:
        raise answer["error"]
    return answer["value"]


def left_behind() -> bool:
    """Whether an interrupted thread is still at work: the process must then end without waiting for it."""
    return any(thread.is_alive() for thread in _LEFT)
