"""The whole database: dump, check and backup, and the examination of everything."""

import asyncio
import time
from typing import Any

from gateway.heketi.dump.checking import check_object
from gateway.heketi.dump.exporting import exported
from gateway.heketi.dump.rendering import write_dump, write_indented
from gateway.heketi.http import Answer, Request, json_answer
from gateway.heketi.router import Route
from gateway.heketi.state_examination import examination
from gateway.usecases.state import StateUseCases

BACKUP_NAME = "brickyard-topology.backup"
_BACKUP_HEADERS = (
    (b"content-type", b"application/octet-stream"),
    (b"content-disposition", f'attachment; filename="{BACKUP_NAME}"'.encode()),
)


def routes(use_cases: StateUseCases) -> tuple[Route, ...]:
    """The routes over these use cases. What is computed takes a second with thousands of volumes, in another thread."""

    async def dump(_request: Request, _context: Any) -> Answer:
        """GET /db/dump."""
        records = await use_cases.export_records()
        return json_answer(await asyncio.to_thread(lambda: write_dump(exported(records, time.time())[0])))

    async def check(_request: Request, _context: Any) -> Answer:
        """GET /db/check."""
        records = await use_cases.export_records()

        def checked() -> bytes:
            found, beyond_kib = exported(records, time.time())
            return write_indented(check_object(found, beyond_kib=beyond_kib))

        return json_answer(await asyncio.to_thread(checked))

    async def backup(_request: Request, _context: Any) -> Answer:
        """GET /backup/db."""
        return Answer(200, await use_cases.back_up(), _BACKUP_HEADERS)

    async def examine(_request: Request, _context: Any) -> Answer:
        """GET /internal/state/examine/gluster; it asks all nodes now."""
        look = await use_cases.look()
        return json_answer(await asyncio.to_thread(lambda: write_indented(examination(look, time.time()))))

    return (
        Route("GET", "/db/dump", dump),
        Route("GET", "/db/check", check),
        Route("GET", "/backup/db", backup),
        Route("GET", "/internal/state/examine/gluster", examine),
    )
