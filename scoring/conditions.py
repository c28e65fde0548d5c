"""The conditions that silence or usage meets (contract section 6), each with its due times.

A due time at or behind the supplier's clock when its cause arrives is skipped, never made up for.
"""

from __future__ import annotations

from scoring.metrics import KEY_FEATURES
from scoring.state import State
from scoring.time import DAY, HOUR, NEVER, WEEK

NO_LOGIN = "no_login_7_days"
ZERO_CLIENTS = "zero_clients_imported"
STUCK = "stuck_onboarding"
LOW_ADOPTION = "low_client_adoption"
HIGH_USAGE = "high_usage_free_tier"
SIGNED_UP = "signed_up"
ONBOARDING_ENDED = "onboarding_ended"

LOGIN_REMINDERS = 4
IMPORT_REMINDERS = 3
IMPORT_WAIT = 72 * HOUR
STUCK_AFTER = 7 * DAY
ONBOARDING = 14 * DAY
STUCK_FEATURES = 1
LOW_ADOPTION_CLIENTS = range(1, 10)

FREE_PLAN = "free"
FREE_PLAN_CLIENTS_NEARLY_FULL = 20
"""80 % of the free plan's 25 clients."""
FREE_PLAN_FORMS_NEARLY_FULL = 4
"""80 % of the free plan's 5 forms."""

STUCK_BIT, LOW_ADOPTION_BIT, ENDED_BIT = 1, 2, 4
IMPORTED_BIT = 1 << KEY_FEATURES.index("clients_imported")


def _next_step(base: int, clock: int, every: int, times: int) -> int:
    """The first of `times` steps after `base` that lies ahead of the clock; 0 when none does."""
    step = max(1, (clock - base) // every + 1)
    return step if step <= times else 0


def login_base(state: State) -> int | None:
    """What the 7-day series counts from: the last login, or sign-up if never."""
    return state.signed_up_at if state.last_login is None else state.last_login


def restart_login_series(state: State) -> None:
    """Begin the 7-day series anew from its base and note when it is next due."""
    base = login_base(state)
    if base is not None:
        state.login_reminder = _next_step(base, state.clock, WEEK, LOGIN_REMINDERS)
        state.due = min(state.due, login_reminder_due(state))


def start_onboarding(state: State) -> None:
    """Arm what sign-up sets off; what is already behind the clock stays silent."""
    signed_up_at = state.signed_up_at
    if signed_up_at is None:
        return
    state.import_reminder = _next_step(signed_up_at, state.clock, IMPORT_WAIT, IMPORT_REMINDERS)
    if signed_up_at + STUCK_AFTER > state.clock:
        state.onboarding |= STUCK_BIT
    if signed_up_at + ONBOARDING > state.clock:
        state.onboarding |= LOW_ADOPTION_BIT | ENDED_BIT
    if state.last_login is None:
        restart_login_series(state)
    state.due = min(state.due, next_condition_due(state))


def login_reminder_due(state: State) -> int:
    """When `no_login_7_days` is next due, or NEVER."""
    base = login_base(state)
    if base is None or not state.login_reminder:
        return NEVER
    return base + state.login_reminder * WEEK


def import_reminder_due(state: State) -> int:
    """When `zero_clients_imported` is next due, or NEVER."""
    if state.signed_up_at is None or not state.import_reminder or state.features & IMPORTED_BIT:
        return NEVER
    return state.signed_up_at + state.import_reminder * IMPORT_WAIT


def next_condition_due(state: State) -> int:
    """When the next condition is due, or NEVER; one that no longer can be met is not due."""
    due = min(login_reminder_due(state), import_reminder_due(state))
    if state.signed_up_at is not None and state.onboarding:
        if state.onboarding & STUCK_BIT and state.features.bit_count() <= STUCK_FEATURES:
            due = min(due, state.signed_up_at + STUCK_AFTER)
        if state.onboarding & (LOW_ADOPTION_BIT | ENDED_BIT):
            due = min(due, state.signed_up_at + ONBOARDING)
    return due


def met_by_time(state: State, at: int) -> list[str]:
    """The conditions due at exactly `at` that hold; their timers move on."""
    met = []
    if login_reminder_due(state) == at:
        state.login_reminder = (state.login_reminder + 1) % (LOGIN_REMINDERS + 1)
        met.append(NO_LOGIN)
    if import_reminder_due(state) == at:
        state.import_reminder = (state.import_reminder + 1) % (IMPORT_REMINDERS + 1)
        met.append(ZERO_CLIENTS)
    if state.onboarding and state.signed_up_at is not None:
        met.extend(_met_in_onboarding(state, at - state.signed_up_at))
    return met


def _met_in_onboarding(state: State, age: int) -> list[str]:
    met = []
    if state.onboarding & STUCK_BIT and age == STUCK_AFTER:
        state.onboarding &= ~STUCK_BIT
        if state.features.bit_count() <= STUCK_FEATURES:  # the instant may be due for another reason
            met.append(STUCK)
    if state.onboarding & ENDED_BIT and age == ONBOARDING:
        state.onboarding &= ~(LOW_ADOPTION_BIT | ENDED_BIT)
        if len(state.clients) in LOW_ADOPTION_CLIENTS:
            met.append(LOW_ADOPTION)
        met.append(ONBOARDING_ENDED)
    return met


def reaches_free_limit(state: State) -> bool:
    """Whether `high_usage_free_tier` is met now and was not yet during this stay; notes that it was."""
    if state.limit_reported or state.plan != FREE_PLAN:
        return False
    if (
        len(state.clients) < FREE_PLAN_CLIENTS_NEARLY_FULL
        and state.forms_created < FREE_PLAN_FORMS_NEARLY_FULL
    ):
        return False
    state.limit_reported = True
    return True
