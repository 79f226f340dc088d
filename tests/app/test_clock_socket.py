"""The private socket that moves a simulated clock: one line in, one line out, for the folder's owner only."""

import json
import os
import socket
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from gridledger.app.clock_socket import AdvanceFailed, advance_clock, serve_clock
from gridledger.clock import ClockMovedBackwards


def told(path: Path, line: bytes) -> dict[str, object]:
    """The answer to a raw line."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(line)
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as file:
            answer: dict[str, object] = json.loads(file.readline())
    return answer


def never(moment: int) -> int:
    raise AssertionError(moment)


def test_the_clock_is_moved_and_the_present_time_comes_back(tmp_path: Path) -> None:
    asked: list[int] = []

    def advance(moment: int) -> int:
        asked.append(moment)
        return moment + 1

    with serve_clock(tmp_path / "clock.sock", advance):
        assert advance_clock(tmp_path / "clock.sock", 1_465_776_000) == 1_465_776_001
        assert advance_clock(tmp_path / "clock.sock", -5) == -4
    assert asked == [1_465_776_000, -5]


def test_a_refusal_is_told_and_the_socket_goes_on(tmp_path: Path) -> None:
    def advance(moment: int) -> int:
        if moment < 100:
            raise ClockMovedBackwards(now=100, requested=moment)
        return moment

    with serve_clock(tmp_path / "clock.sock", advance):
        with pytest.raises(AdvanceFailed) as refused:
            advance_clock(tmp_path / "clock.sock", 7)
        assert refused.value.reason == "A simulated clock never runs backwards (now=100, requested=7)"
        assert advance_clock(tmp_path / "clock.sock", 101) == 101


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"{}\n",
        b"[]\n",
        b"nonsense\n",
        b'{"advance_to": "5"}\n',
        b'{"advance_to": 5.0}\n',
        b'{"advance_to": true}\n',
        b'{"advance_to": null}\n',
        b'{"advance_to": ' + b"1" * 300 + b"}\n",
    ],
)
def test_a_line_that_is_no_request_moves_nothing(tmp_path: Path, line: bytes) -> None:
    with serve_clock(tmp_path / "clock.sock", never):
        assert list(told(tmp_path / "clock.sock", line)) == ["error"]


def test_only_the_owner_may_use_the_socket_and_it_goes_with_the_server(tmp_path: Path) -> None:
    path = tmp_path / "clock.sock"
    with serve_clock(path, never):
        assert stat.S_ISSOCK(path.stat().st_mode)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()


def test_a_socket_a_killed_node_left_behind_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "clock.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert path.exists()
    with pytest.raises(AdvanceFailed):
        advance_clock(path, 1)
    with serve_clock(path, lambda moment: moment):
        assert advance_clock(path, 5) == 5


@pytest.mark.parametrize("name", ["clock.sock", "nowhere/clock.sock"])
def test_without_a_node_the_failure_is_typed(tmp_path: Path, name: str) -> None:
    with pytest.raises(AdvanceFailed) as refused:
        advance_clock(tmp_path / name, 1)
    assert refused.value.reason.startswith("FileNotFoundError")


def test_a_node_that_dies_on_the_way_is_a_typed_failure(tmp_path: Path) -> None:
    path = tmp_path / "clock.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def hang_up() -> None:
            connection, _ = listener.accept()
            connection.recv(200)
            connection.close()

        dying = threading.Thread(target=hang_up)
        dying.start()
        with pytest.raises(AdvanceFailed) as refused:
            advance_clock(path, 1)
        dying.join()
    assert refused.value.reason == "the node ended"


def test_the_folder_may_lie_deeper_than_a_socket_s_name_is_long(tmp_path: Path) -> None:
    deep = tmp_path
    while len(os.fsencode(deep)) < 200:
        deep /= "a folder with a long name"
    deep.mkdir(parents=True)
    echo: Callable[[int], int] = lambda moment: moment  # noqa: E731 - one word
    with serve_clock(deep / "clock.sock", echo):
        assert advance_clock(deep / "clock.sock", 9) == 9
