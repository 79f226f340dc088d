"""What long commands print: a progress bar on a terminal, one line per step otherwise."""

import json
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from gridledger.errors import GridLedgerError, Unavailable

__all__ = ["OnProgress", "OutputUnwritable", "console", "fail", "interrupts", "progress", "say", "write_json"]

OnProgress = Callable[[int, int, str], None]
console = Console(stderr=True, highlight=False)
_LINES_PER_TASK = 12


@dataclass(kw_only=True, eq=False)
class OutputUnwritable(Unavailable):
    """The result cannot be written."""

    path: str
    problem: str


def say(text: str) -> None:
    """One line for the user."""
    console.print(text, soft_wrap=True)


class Interrupts:
    """Ctrl-C as a lasting fact: should the exception be lost inside a library, the next progress report raises it."""

    def __init__(self) -> None:
        self._asked = False

    def install(self) -> None:
        """Handle SIGINT from now on; main thread only."""
        signal.signal(signal.SIGINT, self._handle)

    def check(self) -> None:
        """Raise KeyboardInterrupt if it was asked for."""
        if self._asked:
            raise KeyboardInterrupt

    def _handle(self, _signal: int, _frame: object) -> None:
        self._asked = True
        raise KeyboardInterrupt


interrupts = Interrupts()


@contextmanager
def progress(title: str) -> Iterator[OnProgress]:
    """A callback (done, total, text) that draws a bar on a terminal and prints about a dozen lines elsewhere."""
    if not console.is_terminal:
        yield _line_printer(title)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(title, total=None)

        def update(done: int, total: int, text: str) -> None:
            interrupts.check()
            bar.update(task, completed=done, total=total, description=f"{title}: {text}" if text else title)

        yield update


def write_json(path: Path | None, values: Mapping[str, Any]) -> None:
    """Write a result to a file, or without one to standard output. Raises OutputUnwritable."""
    text = json.dumps(values, indent=1) + "\n"
    if path is None:
        sys.stdout.write(text)
        return
    try:
        path.write_text(text)
    except OSError as problem:
        raise OutputUnwritable(path=str(path), problem=str(problem)) from problem


def fail(error: GridLedgerError) -> None:
    """Say what went wrong, in one line."""
    console.print(f"[bold red]error[/] {error.code()}: ", end="")
    console.print(str(error), markup=False, soft_wrap=True)


def _line_printer(title: str) -> OnProgress:
    printed = -1

    def update(done: int, total: int, text: str) -> None:
        nonlocal printed
        interrupts.check()
        step = done * _LINES_PER_TASK // max(total, 1)
        if step != printed:
            printed = step
            console.print(f"{title} {done}/{total} {text}".rstrip(), markup=False, soft_wrap=True)

    return update
