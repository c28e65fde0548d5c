"""A wire between deliveries and the mail folder that can misbehave: the folder says what a mail server really had."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from enum import StrEnum
from typing import Self


class Mood(StrEnum):
    """How the mail server behaves."""

    WELL = "well"
    REFUSES = "refuses"
    """It says that it is not available, at once."""
    STALLS = "stalls"
    """It takes connections and says nothing, until it is well again."""
    DROPS_AFTER_DATA = "drops after DATA"
    """It has the whole message, and hangs up before it says so."""


END_OF_DATA = b"\r\n.\r\n"


class MailTap:
    """Listens on a port of its own and passes everything on, as its mood is."""

    def __init__(self, behind: int) -> None:
        self._behind = behind
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = {}
        self.mood = Mood.WELL
        self._answers_again = asyncio.Event()
        self._answers_again.set()
        self.dropped = 0
        """Messages whose sender did not hear that they were taken."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        ending = [task for task in self._open.values() if task is not None]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    @property
    def url(self) -> str:
        """The address, `smtp://…`."""
        assert self._server is not None
        return f"smtp://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def set_mood(self, mood: Mood) -> None:
        """Change it; connections that were stalled are served once it is another."""
        self.mood = mood
        if mood is Mood.STALLS:
            self._answers_again.clear()
        else:
            self._answers_again.set()
        if mood is not Mood.WELL:  # connections are kept open between messages
            for each in list(self._open):
                each.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open[writer] = asyncio.current_task()
        try:
            with suppress(OSError, asyncio.CancelledError):
                await self._pass_on(reader, writer)
        finally:
            del self._open[writer]
            writer.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.mood is Mood.REFUSES:
            writer.write(b"421 4.3.2 not available now\r\n")
            await writer.drain()
            return
        # For the whole of the 300 s that a server may take to greet, an email stays `sending` otherwise.
        await self._answers_again.wait()
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._behind)
        mute = asyncio.Event()
        back = asyncio.create_task(self._answers(server_reader, writer, mute))
        try:
            seen = b""
            while chunk := await reader.read(65536):
                seen = (seen + chunk)[-len(END_OF_DATA) :]
                drops = self.mood is Mood.DROPS_AFTER_DATA and seen == END_OF_DATA
                if drops:
                    mute.set()
                server_writer.write(chunk)
                await server_writer.drain()
                if drops:
                    await back  # its answer is the mail server's yes, which nobody hears
                    self.dropped += 1
                    return
        finally:
            server_writer.close()
            back.cancel()

    async def _answers(
        self, server: asyncio.StreamReader, client: asyncio.StreamWriter, mute: asyncio.Event
    ) -> None:
        with suppress(OSError):
            while chunk := await server.read(65536):
                if mute.is_set():
                    return
                client.write(chunk)
                await client.drain()
