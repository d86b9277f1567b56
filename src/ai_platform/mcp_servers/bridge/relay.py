"""Starts the server and forwards bytes between it and the host, in threads: reads that block, nothing in between.

Towards the host bytes are forwarded before they are read here. Towards the server a line is held until it is whole,
because its trace context may be set; one that grows beyond 4 MiB is forwarded as it comes.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType

from ai_platform.domain.errors import ConfigError
from ai_platform.mcp_servers.bridge.watch import Watch

CHUNK = 1 << 16
LONGEST_QUESTION = 4 << 20
LONGEST_ANSWER = 32 << 20
_LAST_WORDS_SECONDS = 2.0


class Liner:
    """Cuts a stream into whole lines. One above `longest` goes to `overlong` in pieces. overlong_lines: counter."""

    def __init__(self, longest: int, line: Callable[[bytes], None], overlong: Callable[[bytes], None]) -> None:
        self._longest = longest
        self._line = line
        self._overlong = overlong
        self._pieces: list[bytes] = []
        self._size = 0
        self._passing = False
        self.overlong_lines = 0

    def feed(self, chunk: bytes) -> None:
        *whole, rest = chunk.split(b"\n")
        for piece in whole:
            self._add(piece + b"\n")
            self._flush()
            self._passing = False
        if rest:
            self._add(rest)

    def end(self) -> None:
        """What has no line end is not a message, but still forwarded."""
        for piece in self._pieces:
            self._overlong(piece)
        self._pieces.clear()

    def _add(self, piece: bytes) -> None:
        if self._passing:
            self._overlong(piece)
            return
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size > self._longest:
            self._passing = True
            self.overlong_lines += 1
            self.end()
            self._size = 0

    def _flush(self) -> None:
        if not self._passing:
            self._line(b"".join(self._pieces))
            self._pieces.clear()
        self._size = 0


def relay(command: Sequence[str], watch: Watch) -> int:
    """Run until the server ends. Returns its exit code, or 128 + the signal that ended it.

    Raises:
        ConfigError: it cannot be started.

    """
    try:
        server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)  # noqa: S603 - the host's own command
    except OSError as error:
        raise ConfigError(f"{command[0]} cannot be started: {error.strerror or error}.") from error
    assert server.stdin is not None
    assert server.stdout is not None

    def pass_on(number: int, _frame: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            server.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, pass_on)
    questions = threading.Thread(
        target=_questions, args=(server.stdin.fileno(), server.stdin.close, watch), daemon=True
    )
    answers = threading.Thread(target=_answers, args=(server.stdout.fileno(), watch), daemon=True)
    questions.start()
    answers.start()
    code = server.wait()
    answers.join(_LAST_WORDS_SECONDS)  # a child of the server may hold its output open
    watch.over()
    return code if code >= 0 else 128 - code


def _questions(to: int, close: Callable[[], None], watch: Watch) -> None:
    def forward(data: bytes) -> None:
        _write(to, data)

    liner = Liner(LONGEST_QUESTION, lambda line: forward(watch.asked(line)), forward)
    with suppress(OSError):  # the server is gone: its end is noticed by the one who waits for it
        while chunk := os.read(sys.stdin.fileno(), CHUNK):
            liner.feed(chunk)
        liner.end()
    with suppress(OSError):
        close()


def _answers(source: int, watch: Watch) -> None:
    liner = Liner(LONGEST_ANSWER, watch.answered, lambda _piece: None)
    listening = True
    with suppress(OSError):
        while chunk := os.read(source, CHUNK):
            if listening:
                listening = _written(sys.stdout.fileno(), chunk)
            liner.feed(chunk)


def _written(to: int, data: bytes) -> bool:
    """False when the host is gone; the server is still read, so that it can end by itself."""
    try:
        _write(to, data)
    except OSError:
        return False
    return True


def _write(to: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(to, left) :]
