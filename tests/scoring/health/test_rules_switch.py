"""A switch of rules: what a naive reading of the whole history says, at any moment of any history."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scoring.health import machine
from scoring.health.rules import SHIPPED, Rules
from scoring.health.rules_file import parse
from scoring.health.rules_switch import switch
from scoring.health.signals import CONDITION_MET, MILESTONE_ACHIEVED, RISK_CHANGED, Signal
from scoring.health.snapshot import changes_as_json, snapshot
from scoring.health.state import State, decode, encode
from tests.forms import LONG
from tests.reference.compare import difference, plain
from tests.reference.events import event
from tests.reference.histories import Step, histories
from tests.reference.history import DAY, HOUR
from tests.reference.naive_switch import SwitchedSupplier
from tests.scoring.health.test_rules import conditions

profile = settings(
    max_examples=5_000 if LONG else 60,
    derandomize=not LONG,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
SUPPLIER = "7d0f4c1e-5a0b-4a8e-9b57-0c6f6a1f2d10"
LEVELS = ((40, 70, 3), (30, 60, 0), (50, 80, 10), (20.5, 71, 3))
POINTS = ((30, 25, 25, 10, 10), (20, 35, 25, 10, 10), (0, 0, 50, 50, 0), (12.5, 12.5, 25, 25, 25))
FEATURES = (
    'name = "sends"\nnumber = 5\nevents = ["form.sent"]',
    'name = "paid"\nnumber = 6\nevents = ["payment.received"]',
)
MILESTONES = (
    'name = "first_form"\nnumber = 0\nevent = "form.created"',
    'name = "ten_clients"\nnumber = 1\nclients = 10',
    'name = "second_form"\nnumber = 4\nevent = "form.created"\nnth = 2',
    'name = "five_clients"\nnumber = 5\nclients = 5',
)
RATIOS = ("", 'count = ["form.completed", "template.used"]\nof = ["form.sent", "form.created"]')
AT = 1_767_603_600_000


@st.composite
def files(draw: st.DrawFn) -> str:
    """A whole rules file: other levels, points, features, milestones, ratios and conditions."""
    at_risk, healthy, margin = draw(st.sampled_from(LEVELS))
    login, features, clients, forms, journeys = draw(st.sampled_from(POINTS))
    lines = [f"[levels]\nat_risk = {at_risk}\nhealthy = {healthy}\nmargin = {margin}"]
    bands = [("2d", login), ("9d", login / 2)] if draw(st.booleans()) else [("3d", login), ("30d", login / 4)]
    listed = ", ".join(f'{{ below = "{below}", points = {worth} }}' for below, worth in bands)
    lines.append(f"[components.loginFrequency]\npoints = {login}\nbands = [{listed}]")
    lines += [
        f"[components.featureAdoption]\npoints = {features}",
        f"[components.clientActivity]\npoints = {clients}",
        f"[components.formCompletion]\npoints = {forms}\n{draw(st.sampled_from(RATIOS))}",
        f"[components.journeyPerformance]\npoints = {journeys}",
    ]
    kept = [
        f'name = "{one.name}"\nnumber = {one.number}\nevents = ["{one.events[0]}"]'
        for one in SHIPPED.file.feature
    ]
    lines += [f"[[feature]]\n{one}" for one in (*kept, *draw(st.sets(st.sampled_from(FEATURES))))]
    lines += [
        f"[[milestone]]\n{one}" for one in sorted(draw(st.sets(st.sampled_from(MILESTONES), min_size=1)))
    ]
    lines += [draw(conditions(number)) for number in range(draw(st.integers(1, 4)))]
    return "\n\n".join(lines)


def compared(found: list[Signal], expected: list[object], where: str) -> None:
    differs = difference(plain(found), plain(expected))
    assert differs is None, f"{where}: {differs}"


@profile
@given(
    st.lists(files(), min_size=2, max_size=3),
    histories(longest=30),
    st.lists(st.tuples(st.integers(0, 60), st.integers(-40 * DAY, 40 * DAY)), min_size=2, max_size=2),
)
def test_any_switch_in_any_history_gives_what_a_naive_reading_gives(
    texts: list[str], steps: list[Step], places: list[tuple[int, int]]
) -> None:
    versions = [Rules(parse(text), version=number) for number, text in enumerate(texts)]
    at_step = {place % (len(steps) + 1): offset for place, offset in places[: len(versions) - 1]}
    state, naive, current, last = State(), SwitchedSupplier(SUPPLIER, versions[0].file), 0, AT
    for number, step in enumerate([*steps, Step("advance", to=0)]):
        if number in at_step and state.seq and current + 1 < len(versions):
            old, new = versions[current], versions[current + 1]
            through, current = last + at_step[number], current + 1
            state = decode(encode(state))
            found = switch(state, SUPPLIER, old, new, through)
            expected = naive.switch(new.file, through, current)
            compared(found, expected, f"{texts[current]}\nswitch through {through}")
            differs = difference(snapshot(state, new, SUPPLIER)["breakdown"], naive.snapshot()["breakdown"])
            assert differs is None
        to = step.to or last + 200 * DAY
        if step.event is not None:
            last = max(last, step.event.at)
            found = machine.apply(state, SUPPLIER, step.event, versions[current])
            compared(found, naive.apply(step.event), f"{texts[current]}\n{step}")
        elif step.kind == "advance":
            found = machine.advance(state, SUPPLIER, to, versions[current])
            compared(found, naive.advance(to), f"{texts[current]}\n{step}")


def rules(text: str, version: int = 1) -> Rules:
    return Rules(parse(text), version=version)


def supplier(*events: tuple[str, int, dict[str, object]]) -> State:
    """A state after these (type, time after the start, data)."""
    state = State()
    for number, (kind, at, data) in enumerate(events):
        machine.apply(state, SUPPLIER, event(kind, AT + at, f"e{number}", **data))
    return state


def test_the_level_is_the_plain_one_and_the_cause_names_the_version() -> None:
    state = supplier(("supplier.signed_up", 0, {"plan": "free"}), ("supplier.logged_in", 0, {}))
    assert state.level == "critical"
    seq = state.seq
    (changed,) = switch(
        state, SUPPLIER, SHIPPED, rules("[levels]\nat_risk = 10\nhealthy = 29\n", 7), AT + HOUR
    )
    assert (changed.type, changed.at, changed.data["level"]) == (RISK_CHANGED, AT + HOUR, "healthy")
    assert (changed.data["cause"], changed.data["config_version"]) == ("rules:7", 7)
    assert (state.clock, state.rules) == (AT + HOUR, 7)
    assert state.seq == seq + 1  # the sum is what it was; the level's change is a row of history of its own
    changes = changes_as_json(SUPPLIER, state.changes)
    assert len({change["id"] for change in changes}) == len(changes)


def test_a_sum_that_changes_counts_as_an_evaluation_and_says_why() -> None:
    state = supplier(("supplier.logged_in", 0, {}))
    halved = SHIPPED.with_setting("weights.login", 15)
    new = Rules(halved.file, version=2)
    seq = state.seq
    switch(state, SUPPLIER, SHIPPED, new, AT)
    assert (state.seq, state.sum, state.clock) == (seq + 1, 15, AT)
    assert state.changes[-1].causes == [(0, 30.0, 15.0, "rules:2")]


def test_a_step_due_by_then_fires_by_the_old_rules_and_never_by_the_new() -> None:
    state = supplier(("supplier.signed_up", 0, {}))
    daily = '[[condition]]\nname = "daily"\nnumber = 9\nsince = "signed_up"\nafter = "1d"\nrepeat = "1d"\ntimes = 30\n'
    fired = switch(state, SUPPLIER, SHIPPED, rules(daily), AT + 4 * DAY)
    assert [(one.data["condition"], one.at - AT) for one in fired] == [("zero_clients_imported", 3 * DAY)]
    later = machine.advance(state, SUPPLIER, AT + 6 * DAY, rules(daily))
    assert [(one.data["condition"], one.at - AT) for one in later] == [("daily", 5 * DAY), ("daily", 6 * DAY)]


def test_what_is_reached_already_counts_as_met_and_is_not_said() -> None:
    state = supplier(("form.created", 0, {}), ("form.created", 0, {}))
    forms = rules('[[condition]]\nname = "forms"\nnumber = 9\nreaches = "form_created >= 2"\n')
    assert [one for one in switch(state, SUPPLIER, SHIPPED, forms, AT) if one.type == CONDITION_MET] == []
    assert machine.apply(state, SUPPLIER, event("form.created", AT + 1, "more"), forms) == []


def test_a_milestone_that_was_reached_long_ago_is_said_with_the_switch_as_its_cause() -> None:
    state = supplier(("form.sent", 0, {}), ("form.sent", 0, {}))
    sent = rules('[[milestone]]\nname = "second_send"\nnumber = 9\nevent = "form.sent"\nnth = 2\n', 3)
    (achieved,) = [
        one for one in switch(state, SUPPLIER, SHIPPED, sent, AT) if one.type == MILESTONE_ACHIEVED
    ]
    assert (achieved.data["milestone"], achieved.data["cause_type"]) == ("second_send", "rules:3")
    assert switch(state, SUPPLIER, sent, rules("", 4), AT) == []


def test_a_feature_of_a_type_that_was_always_counted_is_used_at_once() -> None:
    state = supplier(("payment.received", 0, {}))
    features = '[[feature]]\nname = "paid"\nnumber = 8\nevents = ["payment.received"]\n'
    paid = rules(features + '[[condition]]\nname = "a"\nnumber = 0\nreaches = "signed_up"\n')
    switch(state, SUPPLIER, SHIPPED, paid, AT)
    assert state.points[1] == 25


def test_what_was_usual_for_them_goes_along_with_the_weights() -> None:
    state = supplier(("supplier.logged_in", 0, {}), ("form.created", DAY, {}), ("form.created", 2 * DAY, {}))
    before = snapshot(decode(encode(state)), SHIPPED)["churn_signals"]
    new = Rules(
        SHIPPED.with_setting("weights.login", 15).with_setting("weights.features", 50).file, version=1
    )
    switch(state, SUPPLIER, SHIPPED, new, state.clock)
    assert snapshot(state, new)["churn_signals"] == before
