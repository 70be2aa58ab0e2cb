"""Work that Ctrl-C ends at once, whatever it is doing: a solver compiles and computes for seconds without listening."""

import threading
from collections.abc import Callable
from typing import Any

_LISTEN = 0.1  # seconds
_LEFT: list[threading.Event] = []  # of each work at hand, set when it is done


def run(work: Callable[[], Any]) -> Any:
    """What `work()` returns or raises, computed on another thread while this one listens.

    On Ctrl-C the KeyboardInterrupt is raised here within a tenth of a second; the thread goes on until the process
    ends (`left_behind`), so that only work that writes nothing until it is done belongs here.
    """
    answer: dict[str, Any] = {}
    done = threading.Event()

    def body() -> None:
        try:
            answer["value"] = work()
        except BaseException as error:  # raised again where it is waited for
            answer["error"] = error
        finally:
            done.set()

    _LEFT.append(done)
    threading.Thread(target=body, daemon=True).start()
    # Not `Thread.join`: where Ctrl-C ends it, Python 3.11 takes the thread for ended.
    while not done.wait(_LISTEN):
        pass
    _LEFT.remove(done)
    if "error" in answer:
        raise answer["error"]
    return answer["value"]


def left_behind() -> bool:
    """Whether an interrupted thread is still at work: the process must then end without waiting for it."""
    return any(not done.is_set() for done in _LEFT)
