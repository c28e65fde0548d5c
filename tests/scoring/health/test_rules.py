"""Rules are data: random rules over random histories give the naive answers, and wrong files say where and what."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scoring.health import machine
from scoring.health.rules import SHIPPED, Rules
from scoring.health.rules_file import RulesError, parse
from scoring.health.signals import CONDITION_MET
from scoring.health.state import State, decode, encode
from tests.forms import LONG
from tests.reference.compare import difference, plain
from tests.reference.histories import Step, histories
from tests.reference.history import DAY
from tests.reference.naive_rules import RuledSupplier

profile = settings(
    max_examples=20_000 if LONG else 40,
    derandomize=not LONG,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
SUPPLIER = "7d0f4c1e-5a0b-4a8e-9b57-0c6f6a1f2d10"
SINCE = ("signed_up", "supplier.logged_in", "last_client_activity", "form.created", "payment.received")
SPANS = ("1ms", "1h", "1d", "3d", "7d", "72h", "14d", "30d", "31d")
NAMES = ("clients_known", "clients_active", "features_used", "forms_created", "clients_imported", "form_sent")
NAMES += ("journeys_active", "score", "plan_clients_percent", "plan_forms_percent", "supplier_logged_in")


def comparisons() -> st.SearchStrategy[str]:
    numbers = st.builds(
        "{} {} {}".format,
        st.sampled_from(NAMES),
        st.sampled_from(("==", "!=", "<", "<=", ">", ">=")),
        st.sampled_from((0, 1, 2, 3, 10, 20, 40, 70, 80)),
    )
    texts = st.sampled_from(
        (
            "plan == 'free'",
            "plan != 'free'",
            "level == 'critical'",
            "level != 'healthy'",
            "signed_up",
            "cancelled",
        )
    )
    return st.one_of(numbers, numbers, texts)


def expressions() -> st.SearchStrategy[str]:
    return st.recursive(
        comparisons(),
        lambda inner: st.one_of(
            st.builds("({} and {})".format, inner, inner),
            st.builds("({} or {})".format, inner, inner),
            st.builds("(not {})".format, inner),
        ),
        max_leaves=4,
    )


@st.composite
def conditions(draw: st.DrawFn, number: int) -> str:
    lines = ["[[condition]]", f'name = "c{number}"', f"number = {number}"]
    if draw(st.booleans()):
        since = draw(st.lists(st.sampled_from(SINCE), min_size=1, max_size=2, unique=True))
        lines += [f"since = {since}", f'after = "{draw(st.sampled_from(SPANS))}"']
        if draw(st.booleans()):
            lines += [f'repeat = "{draw(st.sampled_from(SPANS[1:]))}"', f"times = {draw(st.integers(1, 5))}"]
        if draw(st.booleans()):
            lines.append(f'when = "{draw(expressions())}"')
    else:
        lines.append(f'reaches = "{draw(expressions())}"')
        if draw(st.booleans()):
            lines.append(f'rearms = "{draw(expressions())}"')
    return "\n".join(lines)


@st.composite
def rules(draw: st.DrawFn) -> str:
    return "\n\n".join(draw(conditions(number)) for number in range(draw(st.integers(1, 5))))


def told(signals: list[object]) -> list[dict[str, object]]:
    return [signal for signal in plain(signals) if signal["type"] != "success.milestone.achieved"]


@profile
@given(rules(), histories(longest=40))
def test_any_conditions_are_met_when_a_naive_reading_says_so(text: str, steps: list[Step]) -> None:
    file = parse(text)
    compiled = Rules(file)
    state, naive = State(), RuledSupplier(SUPPLIER, file)
    last = 0
    for step in steps:
        if step.event is not None:
            found = machine.apply(state, SUPPLIER, step.event, compiled)
            expected = naive.apply(step.event)
            last = max(last, step.event.at)
        elif step.kind == "advance":
            found = machine.advance(state, SUPPLIER, step.to, compiled)
            expected = naive.advance(step.to)
        else:
            state = decode(encode(state))
            continue
        differs = difference(told(found), plain(expected))
        assert differs is None, f"{text}\n{step}: {differs}"
    found = machine.advance(state, SUPPLIER, last + 200 * DAY, compiled)
    differs = difference(told(found), plain(naive.advance(last + 200 * DAY)))
    assert differs is None, f"{text}\nafter all: {differs}"


@profile
@given(rules(), histories(longest=25), st.lists(st.integers(0, 80 * DAY), max_size=6))
def test_how_often_time_is_told_changes_nothing_whatever_the_rules(
    text: str, steps: list[Step], pieces: list[int]
) -> None:
    compiled = Rules(parse(text))
    at_once, in_pieces = State(), State()
    events = [step.event for step in steps if step.event is not None]
    for event in events:
        machine.apply(at_once, SUPPLIER, event, compiled)
        machine.apply(in_pieces, SUPPLIER, event, compiled)
    start = max((event.at for event in events), default=0)
    found = [
        signal
        for piece in [*sorted(pieces), 80 * DAY]
        for signal in machine.advance(in_pieces, SUPPLIER, start + piece, compiled)
    ]
    assert plain(found) == plain(machine.advance(at_once, SUPPLIER, start + 80 * DAY, compiled))
    assert encode(in_pieces) == encode(at_once)


def test_the_issues_example_is_a_few_lines() -> None:
    """No client active for 21 days, and two forms or more."""
    compiled = Rules(
        parse(
            """
            [[condition]]
            name = "clients_went_quiet"
            number = 7
            since = "last_client_activity"
            after = "21d"
            when = "forms_created >= 2"
            """
        )
    )
    assert compiled.condition_names == ("clients_went_quiet",)
    assert compiled.since == {"last_client_activity"}


def test_rules_are_the_same_in_another_process() -> None:
    assert pickle.loads(pickle.dumps(SHIPPED)) == SHIPPED  # noqa: S301 - our own


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("[levels]\nat_risk = 80\n", 1, "`at_risk` must be below `healthy`"),
        ("[levels]\nmargn = 3\n", 2, "is not known here"),
        ("[components.loginFrequency]\npoints = 20\n", 1, "add up to 100"),
        ('[[condition]]\nname = "a"\nsince = "signed_up"\nafter = "7d"\n', 1, "the next free one is 0"),
        ('[[condition]]\nname = "a"\nnumber = 0\nsince = "signed_up"\nafter = "a week"\n', 5, "such as"),
        ('[[condition]]\nname = "a"\nnumber = 0\nreaches = "signed_up"\nafter = "7d"\n', 1, "either"),
        (
            '[[condition]]\nname = "a"\nnumber = 0\nreaches = "signed_up"\n[[condition]]\nname = "b"\nnumber = 0\nreaches = "cancelled"\n',  # noqa: E501
            7,
            "the next free number is 1",
        ),
    ],
)
def test_a_wrong_file_says_the_line_and_what_to_write(text: str, line: int, says: str) -> None:
    with pytest.raises(RulesError, match=f"line {line}: ") as failure:
        parse(text, "mine/rules.toml")
    assert says in str(failure.value)
    assert str(failure.value).startswith("mine/rules.toml")


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("clients_knwon > 3", "did you mean clients_known"),
        ("clients_known", "write, for example, clients_known >= 1"),
        ("plan > 'free'", "only numbers have an order"),
        ("plan == 3", "is a number and is compared with a text"),
        ("__import__('os')", "is not understood"),
        ("clients_known.__class__ == 1", "is not understood"),
        ("clients_known >", "can't be read"),
        ("(lambda: signed_up)()", "is not understood"),
        ("signed_up and [1]", "is not understood"),
    ],
)
def test_a_wrong_expression_says_what_is_known_instead(expression: str, says: str) -> None:
    text = f'[[condition]]\nname = "a"\nnumber = 0\nreaches = "{expression}"\n'
    with pytest.raises(RulesError) as failure:
        Rules(parse(text))
    assert says in str(failure.value)


def test_an_unknown_event_type_names_those_there_are() -> None:
    with pytest.raises(RulesError, match=r"no event type 'gallery.published'; declare it"):
        Rules(parse('[[feature]]\nname = "galleries"\nnumber = 4\nevents = ["gallery.published"]\n'))


def test_a_declared_event_is_a_feature_a_milestone_and_a_since() -> None:
    compiled = Rules(
        parse(
            """
            [[event]]
            type = "gallery.published"
            fields = ["gallery_id", "client_id?"]
            client_activity = true

            [[feature]]
            name = "galleries"
            number = 4
            events = ["gallery.published"]

            [[milestone]]
            name = "third_gallery"
            number = 4
            event = "gallery.published"
            nth = 3

            [[condition]]
            name = "no_gallery"
            number = 7
            since = "gallery.published"
            after = "7d"
            """
        )
    )
    from tests.reference.events import Event  # noqa: PLC0415

    class Data:
        gallery_id = "g"
        client_id = "c1"

    state, signals = State(), []
    for number in range(3):
        made = Event("gallery.published", (number + 1) * DAY, f"g{number}", "/tests", Data())
        signals += machine.apply(state, SUPPLIER, made, compiled)
    signals += machine.advance(state, SUPPLIER, 30 * DAY, compiled)
    names = [signal.data.get("milestone") or signal.data.get("condition") for signal in signals]
    assert [name for name in names if name] == ["third_gallery", "no_gallery"]
    assert [signal.at for signal in signals if signal.type == CONDITION_MET] == [10 * DAY]
    assert (state.active_clients, state.points[1]) == (1, 25.0)
