"""The process that does a delivery's work, as the child of a supervisor or by itself."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

from agents.delivery.round import DeliveryCount
from agents.delivery.service import run_delivery
from agents.letters.dkim_signing import Signer
from agents.letters.render import Letters
from agents.monitoring import Kafka, MailServer, Waiting, postgres
from cli.services.supervise import stop_without_parent
from runtime import metrics
from runtime.clock import SystemClock
from runtime.configuration import Configuration
from runtime.inside import monitored
from runtime.settings import Settings
from store.database import Role


async def serve(
    settings: Settings,
    configuration: Configuration,
    told: Callable[[DeliveryCount], None],
    *,
    once: bool,
    wait: bool,
    is_child: bool,
) -> None:
    """Deliver until told to stop, or `once`; `told` hears of every round in which something happened.

    `wait`: for what is away at the start. `is_child`: of a supervisor, whose end is a wish to stop.
    """
    Signer.from_settings(settings)  # complain before anything connects
    policy, letters = configuration.policy, Letters.of(configuration)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if once:
        await run_delivery(settings, SystemClock(), policy, stop, told, once=True, letters=letters)
        return
    watch = asyncio.create_task(stop_without_parent(os.getppid(), stop)) if is_child else None
    kafka, mail_server = Kafka(settings), MailServer(settings.smtp_url)
    parts = {"kafka": kafka, **postgres(settings, Role.WRITER), "smtp": mail_server}
    try:
        async with monitored(settings, metrics.DELIVER, parts, Waiting(settings, SystemClock())):
            await run_delivery(
                settings,
                SystemClock(),
                policy,
                stop,
                told,
                wait=wait,
                letters=letters,
                before=configuration,
            )
    finally:
        await kafka.aclose()
        if watch is not None:
            watch.cancel()
