"""The command line: parses, calls the library, prints.

Results go to stdout (with `--json`, one JSON object and nothing else), progress and warnings to stderr.
Exit codes: 0 success, 2 a user's mistake (one line that says what is wrong, where and what to do), 1 a
failure of ours, 130 interrupted. Modules that start JAX are imported by the verb that needs them, so that
`--help` and refusals are immediate.
"""

import contextlib
import errno
import json
import os
import sys
import traceback
import warnings
from collections.abc import Sequence

from jnrsfm.cli import worker
from jnrsfm.cli.answers import jsonable
from jnrsfm.cli.parsing import parse
from jnrsfm.cli.verbs import Verb
from jnrsfm.errors import InputError

# What a file system says about a path or a disk that the user chose: a mistake to mend, not our failure.
_USER_ERRNO = {
    errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.EROFS, errno.ENOSPC,
    errno.EDQUOT, errno.ENAMETOOLONG, errno.EEXIST, errno.ENOTEMPTY,
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (default `sys.argv[1:]`) and return its exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in argv
    verb: Verb | None = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("default", UserWarning)
            warnings.showwarning = _show_warning
            verb = parse(argv)
            # Whatever a library prints goes to stderr: stdout is the answer's alone.
            with contextlib.redirect_stdout(sys.stderr):
                answer = verb.run()
        print(json.dumps(jsonable(answer.data), allow_nan=False) if verb.json else answer.text, flush=True)
        return 0
    except KeyboardInterrupt:
        code = _fail(f"interrupted{verb.resume_hint() if verb else ''}", 130, debug)
        if worker.left_behind():  # it cannot be told to stop, and writes nothing before it is done
            sys.stderr.flush()
            os._exit(code)
        return code
    except InputError as error:
        return _fail(str(error), 2, debug)
    except BrokenPipeError:
        # The reader of our output went away (`jnrsfm info x | head -1`): the closing flush must not fail too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno not in _USER_ERRNO:
            return _fail(_ours(error), 1, debug)
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror}: check the path, its permissions and the free space", 2, debug)
    except Exception as error:
        return _fail(_ours(error), 1, debug)


def _show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    """A warning is one line on stderr, without our source line."""
    print(f"jnrsfm: warning: {_flat(str(message))}", file=sys.stderr)


def _flat(text: str) -> str:
    return " ".join(text.split())


def _ours(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:300]} (a failure of ours: --debug shows where)"


def _fail(message: str, code: int, debug: bool) -> int:
    """One line on stderr, led by the traceback where it was asked for."""
    if debug:
        traceback.print_exc()
    print(f"jnrsfm: {_flat(message)}", file=sys.stderr)
    return code
