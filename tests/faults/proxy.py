"""A way to the server on which some replies to pushes and pops get lost: the connection breaks instead."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from pathlib import Path

_CHUNK_BYTES = 1 << 16
_COUNTED = (b"LPUSH", b"RPUSH", b"BRPOP", b"RPOP", b"BLPOP", b"LPOP")
_NOTHING = (b"*-1\r\n", b"$-1\r\n")
_MAX_NAME = 16


class LossyProxy:
    """Runs in a thread; a reply that is lost was carried out by the server."""

    def __init__(self, server: Path, share: float, seed: int) -> None:
        self._server = server
        self._share = share
        self._chance = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self.lost = 0
        self.counted = 0

    def start(self) -> int:
        """The port on 127.0.0.1."""
        self._thread.start()
        serving = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop)
        return int(serving.result(10).sockets[0].getsockname()[1])

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(_cancel_others(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            theirs, ours = await asyncio.open_unix_connection(str(self._server))
            asked = _Asked()
            ways = [self._requests(reader, ours, asked), self._replies(theirs, writer, asked)]
            tasks = [asyncio.ensure_future(way) for way in ways]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            for end in (writer, ours):
                end.close()

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: _Asked) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK_BYTES):
                asked.note(data)
                writer.write(data)
                await writer.drain()

    async def _replies(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: _Asked) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK_BYTES):
                if asked.take() and data not in _NOTHING:
                    self.counted += 1
                    if self._chance.random() < self._share:
                        self.lost += 1
                        return
                writer.write(data)
                await writer.drain()


async def _cancel_others() -> None:
    """Connections that are still open."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


class _Asked:
    """Whether a push or pop is under way on a connection; a name that is cut by a chunk's end is seen too."""

    def __init__(self) -> None:
        self._is_counted = False
        self._tail = b""

    def note(self, data: bytes) -> None:
        seen = self._tail + data
        self._is_counted = self._is_counted or any(b"\r\n" + name + b"\r\n" in seen for name in _COUNTED)
        self._tail = data[-_MAX_NAME:]

    def take(self) -> bool:
        counted, self._is_counted = self._is_counted, False
        return counted
