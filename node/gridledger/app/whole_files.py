"""Files that appear whole or not at all: written beside their place, and moved there at the end."""

import gzip
import io
import os
import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO, TextIO, cast

from gridledger.cli.output import OutputUnwritable

__all__ = ["whole_files"]


@contextmanager
def whole_files(*paths: Path) -> Iterator[tuple[TextIO, ...]]:
    """Text files (UTF-8; gzip where the name ends in .gz) that replace those at `paths` when the block ends well.

    They are moved one after the other, the last path last. After an error, or the end of the process, the places are
    untouched. Raises OutputUnwritable.
    """
    parts: list[Path] = []
    try:
        with ExitStack() as stack:
            texts = tuple(stack.enter_context(_part(path, parts)) for path in paths)
            yield texts
        for part, path in zip(parts, paths, strict=True):
            part.replace(path)
        for folder in {path.parent for path in paths}:
            _sync_folder(folder)
    except OSError as problem:
        name = problem.filename if isinstance(problem.filename, str) else str(paths[-1])
        raise OutputUnwritable(path=name, problem=problem.strerror or str(problem)) from problem
    finally:
        for part in parts:
            part.unlink(missing_ok=True)


@contextmanager
def _part(path: Path, parts: list[Path]) -> Iterator[TextIO]:
    part = path.with_name(f".{path.name[:100]}.{secrets.token_hex(8)}.part")
    with part.open("xb") as raw:
        parts.append(part)
        with _packed(path, raw) as content:
            text = io.TextIOWrapper(content, encoding="utf-8", newline="\n")
            yield text
            text.detach()
        raw.flush()
        os.fsync(raw.fileno())


def _packed(path: Path, raw: BinaryIO) -> AbstractContextManager[BinaryIO]:
    if path.suffix != ".gz":
        return nullcontext(raw)
    return cast("AbstractContextManager[BinaryIO]", gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
