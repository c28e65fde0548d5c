"""Activity events in bulk, the same for the same seed: made for load, not to be believed."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from uuid import UUID

from topics.time import format_time

CLIENTS_OF_A_SUPPLIER = 30
JITTER_MS = 30_000
"""Events come out of order by up to this, which is within the grace."""

WEIGHTS = {
    "supplier.logged_in": 16,
    "client.active": 22,
    "client.imported": 10,
    "client.removed": 1,
    "form.created": 3,
    "form.sent": 10,
    "form.completed": 8,
    "journey.created": 2,
    "journey.activated": 1,
    "journey.email_sent": 14,
    "journey.email_opened": 9,
    "template.used": 2,
    "payment.received": 1,
    "plan.changed": 1,
}
PLANS = ("free", "starter", "professional")


def supplier_ids(count: int, seed: int) -> list[str]:
    """So many supplier ids."""
    rng = Random(f"suppliers/{seed}")  # noqa: S311 - load, not a secret
    return [str(UUID(int=rng.getrandbits(128), version=4)) for _ in range(count)]


def activity(
    events: int, suppliers: int, seed: int, start_ms: int, span_ms: int
) -> Iterator[tuple[bytes, bytes]]:
    """Yield (key, value) of so many events, spread evenly over `span_ms` from `start_ms`."""
    rng = Random(seed)  # noqa: S311 - load, not a secret
    ids = supplier_ids(suppliers, seed)
    kinds = list(WEIGHTS)
    drawn = rng.choices(kinds, list(WEIGHTS.values()), k=events)
    signed_up: set[str] = set()
    for number, drawn_kind in enumerate(drawn):
        supplier = ids[rng.randrange(suppliers)]
        kind = drawn_kind
        if supplier not in signed_up:
            signed_up.add(supplier)
            kind = "supplier.signed_up"
        at = start_ms + span_ms * number // events - rng.randrange(JITTER_MS)
        data = _data(kind, rng)
        yield (
            supplier.encode(),
            (
                f'{{"specversion":"1.0","id":"{seed}-{number}","source":"/bench","type":"{kind}",'
                f'"subject":"{supplier}","time":"{format_time(at)}","data":{{{data}}}}}'
            ).encode(),
        )


def _data(kind: str, rng: Random) -> str:
    client = f"c{rng.randrange(CLIENTS_OF_A_SUPPLIER)}"
    journey, form = f"j{rng.randrange(3)}", f"f{rng.randrange(5)}"
    fields = {
        "supplier.signed_up": f'"plan":"{PLANS[rng.randrange(len(PLANS))]}"',
        "plan.changed": f'"plan":"{PLANS[rng.randrange(len(PLANS))]}"',
        "journey.email_sent": f'"journey_id":"{journey}","message_id":"m{rng.randrange(10**9)}"',
        "journey.email_opened": f'"journey_id":"{journey}","message_id":"m{rng.randrange(10**9)}"',
        "template.used": f'"template_id":"t{rng.randrange(5)}"',
        "payment.received": f'"payment_id":"p{rng.randrange(10**9)}","amount_minor":12500,"currency":"GBP"',
        "supplier.logged_in": "",
    }
    by_family = {
        "client": f'"client_id":"{client}"',
        "form": f'"form_id":"{form}","client_id":"{client}"',
        "journey": f'"journey_id":"{journey}"',
    }
    return fields.get(kind, by_family.get(kind.partition(".")[0], ""))
