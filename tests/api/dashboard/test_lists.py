"""Lists of suppliers: narrowed, ordered, searched, kept as views, and what is done with a selection."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
from dataclasses import asdict
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from psycopg.rows import dict_row

from scoring.time import DAY
from store.dashboard import lists, population
from store.dashboard.lists import ORDERS, Wanted
from store.migrate import migrate
from tests.agents.delivery.world import NOW, World
from tests.api.dashboard.conftest import Desk, add_changes, fresh_id
from tests.forms import LONG
from tests.store.databases import database

pytestmark = pytest.mark.stack

WHO = re.compile(r'class="who" href="/dashboard/suppliers/([0-9a-f-]{36})"')
CLAIMS = json.dumps({"role": "agent", "sub": "emma"})


async def someone(world: World, name: str | None, **profile: Any) -> str:
    """A supplier with a score; `profile` replaces parts of their profile, and the plan holds for both."""
    supplier_id = await world.supplier(business_name=name, **profile)
    await world.health(supplier_id, plan=profile.get("plan", "free"))
    await add_changes(world, supplier_id, (NOW - DAY, 48, "at_risk"))
    return supplier_id


def lines(answer: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(answer.text.removeprefix("\ufeff"))))


async def acts(world: World, supplier_id: str) -> list[str]:
    found = await world.query("SELECT action FROM audit_log WHERE supplier_id = %s ORDER BY at", supplier_id)
    return [row["action"] for row in found]


# by key, in any order ------------------------------------------------------------------------------------------


class Large:
    """The large population: everybody in it, and the lists of it as an agent reads them."""

    def __init__(self, url: str) -> None:
        self.url = url
        with psycopg.connect(url, row_factory=dict_row) as conn:
            self.everybody = conn.execute(
                "SELECT st.supplier_id::text AS id, st.level, st.band, st.cohort, st.plan, st.trade, st.name, "
                "st.weight, st.since, h.health_score AS score, ARRAY(SELECT tag FROM supplier_tags t "
                "WHERE t.supplier_id = st.supplier_id) AS tags, coalesce(o.owner, '') AS owner "
                "FROM supplier_standings st JOIN customer_health h USING (supplier_id) "
                "LEFT JOIN supplier_owners o USING (supplier_id)"
            ).fetchall()

    def fitting(self, wanted: Wanted, order: str) -> list[str]:
        """The same in Python."""
        narrowed = {name: value for name, value in asdict(wanted).items() if value and name != "tag"}
        narrowed = {
            name: value
            for name, value in asdict(wanted).items()
            if name != "tag" and value is not None and value is not False
        }
        rows = [
            row
            for row in self.everybody
            if all(row[name] == value for name, value in narrowed.items())
            and (wanted.tag is None or wanted.tag in row["tags"])
        ]
        columns = {"week": ("cohort", "weight")}.get(order.removeprefix("-"), (order.removeprefix("-"),))
        down = ORDERS[order.removeprefix("-")][0] != order.startswith("-")
        rows.sort(key=lambda row: (*(row[column] for column in columns), row["id"]), reverse=down)
        return [row["id"] for row in rows]

    async def walked(self, wanted: Wanted, order: str, most: int) -> list[str]:
        found: list[str] = []
        after: str | None = ""
        async with await self.agent() as conn:
            while after is not None:
                ids, after = await lists.suppliers(conn, wanted, order, after, most)
                found += ids
        return found

    async def agent(self) -> psycopg.AsyncConnection:
        conn = await psycopg.AsyncConnection.connect(self.url)
        await conn.execute("SET ROLE success_api")
        await conn.execute("SELECT set_config('request.jwt.claims', %s, false)", (CLAIMS,))
        return conn


@pytest.fixture(scope="session")
def crowd(large: str) -> Large:
    return Large(large)


@settings(max_examples=200 if LONG else 15)
@given(data=st.data())
def test_page_by_page_everybody_who_fits_comes_once_and_in_order(crowd: Large, data: st.DataObject) -> None:
    somebody = crowd.everybody[data.draw(st.integers(0, len(crowd.everybody) - 1), "somebody")]
    given_ = data.draw(
        st.sets(st.sampled_from(["level", "band", "cohort", "plan", "trade", "tag", "owner"])), "filters"
    )
    values = somebody | {"tag": next(iter(somebody["tags"]), "spring")}
    wanted = Wanted(**{name: values[name] for name in given_})
    order = data.draw(st.sampled_from([*ORDERS, *(f"-{name}" for name in ORDERS)]), "order")
    expected = crowd.fitting(wanted, order)
    most = data.draw(st.integers(max(1, len(expected) // 6), max(2, len(expected))), "a page")
    assert asyncio.run(crowd.walked(wanted, order, most)) == expected


async def test_a_list_is_narrowed_by_plan_and_trade_as_they_are_now(desk: Desk, world: World) -> None:
    tag, trade = f"t{uuid4().hex[:8]}", f"trade{uuid4().hex[:8]}"
    one = await someone(world, "Alder", plan="starter", vendor_type=trade)
    other = await someone(world, "Birch", plan="starter", vendor_type="florist")
    for supplier_id in (one, other):
        await world.query(
            "INSERT INTO supplier_tags (supplier_id, tag, at, tagged_by) VALUES (%s, %s, now(), 'x')",
            supplier_id,
            tag,
        )
    assert WHO.findall(await desk.page(f"/dashboard/suppliers?trade={trade}")) == [one]
    assert WHO.findall(await desk.page(f"/dashboard/suppliers?tag={tag}&sort=name&plan=starter")) == [
        one,
        other,
    ]
    assert WHO.findall(await desk.page(f"/dashboard/suppliers?tag={tag}&sort=-name&level=healthy")) == []
    # A new plan by an event, a new name and trade by the profile: lists follow at once.
    await world.health(one, plan="scale", seq=11)
    await world.profile(other, business_name="Acorn", vendor_type=trade, offset=1, plan="starter")
    assert WHO.findall(await desk.page(f"/dashboard/suppliers?tag={tag}&plan=starter")) == [other]
    text = await desk.page(f"/dashboard/suppliers?trade={trade}&sort=name&col=trade&col=email")
    assert WHO.findall(text) == [other, one]
    assert "photographer@example.com" in text
    assert 'data-label="Churn"' not in text
    assert '<option value="scale" selected>' not in text


SOMEBODY = "b48d4a96-e2e4-49e2-af74-8c6636fd3742"


@pytest.mark.parametrize(
    "query",
    ["sort=luck", "after=x", "sort=score&after=9|" + "9" * 30 + f"|{SOMEBODY}", "sort=week&after=0|1|x"]
    + [f"after={weight}|{SOMEBODY}" for weight in ("nan", "1e999", "")]
    + [f"sort=since&after=2026-01-01|{SOMEBODY}"],
)
async def test_an_order_or_a_place_that_there_is_not_is_told(desk: Desk, query: str) -> None:
    assert (await desk.get(f"/dashboard/suppliers?{query}")).status_code == 422


# search ----------------------------------------------------------------------------------------------------------


async def test_a_search_forgives_accents_and_typing_errors_and_knows_the_beginning_of_an_id(
    desk: Desk, world: World
) -> None:
    email = f"{uuid4().hex}@example.com"
    supplier_id = await world.supplier(business_name="Müßiggänger Fotografía", first_name="Zoë", email=email)
    for term in (
        "mussigganger",
        "MÜSSIGGÄNGER",
        "Zoe fotografia",
        "müsiggangr fotografie",
        "fotogarfia zoe",
        supplier_id[:8],
        supplier_id.replace("-", "")[:12].upper(),
        email,
        email[:9],
    ):
        for address in ("/dashboard/search", "/dashboard/suppliers"):
            answer = await desk.client.get(address, params={"q": term})
            assert supplier_id in answer.text, term
    exact, near = [
        (await desk.client.get("/dashboard/search", params={"q": q})).text for q in ("fotogr", "fotogarfia")
    ]
    assert "spelt like it" in near
    assert "spelt like it" not in exact


def test_without_pg_trgm_the_search_finds_what_is_spelt_right_and_a_later_migrate_adds_the_rest(
    stack: Any,
) -> None:
    with database(stack.database_url) as url, psycopg.connect(url, autocommit=True) as conn:
        migrate(url)
        conn.execute("DROP EXTENSION pg_trgm CASCADE")
        conn.execute("INSERT INTO suppliers (id, business_name) VALUES (%s, 'Quince & Quill')", (fresh_id(),))
        conn.execute("SELECT set_config('request.jwt.claims', %s, false)", (CLAIMS,))

        def found(term: str) -> int:
            return len(conn.execute("SELECT * FROM success_find_suppliers(%s, 8)", (term,)).fetchall())

        assert (found("quince"), found("qunice")) == (1, 0)
        migrate(url)
        assert (found("quince"), found("qunice")) == (1, 1)


@settings(max_examples=400 if LONG else 60)
@given(term=st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
@example("%_%' \" \\ ; -- $$ :* & | ! <-> ()")
@example("\ufdfa" * 200)  # each is eighteen letters without its ornaments
@example("İıſẞ \u0301\u0301 a\u0301b")
@example("x" * 10_000)
@example("ab " * 3_000)
def test_whatever_is_searched_for_is_answered(crowd: Large, term: str) -> None:
    async def find() -> None:
        async with await crowd.agent() as conn:
            assert len((await population.find(conn, term, 8)).ids) <= 8

    asyncio.run(find())


async def test_a_search_that_is_too_long_is_told_on_a_page(desk: Desk) -> None:
    answer = await desk.client.get("/dashboard/suppliers", params={"q": "x" * 10_000})
    assert answer.status_code == 422
    assert "<h1" in answer.text


# acts on a selection ---------------------------------------------------------------------------------------------


@pytest.fixture
async def three(world: World) -> list[str]:
    """Suppliers with a score."""
    return [await someone(world, f"Selected {n}") for n in range(3)]


async def test_a_dry_run_changes_nothing_and_what_it_said_is_what_is_done(
    desk: Desk, world: World, three: list[str]
) -> None:
    gone = fresh_id()
    tag = f"t{uuid4().hex[:8]}"
    await desk.post("/dashboard/selection/done", act="tag", ids=three[0], word=tag)
    asked = await desk.post("/dashboard/selection", act="tag", id=[*three, gone], tag=f"  {tag.upper()} ")
    assert asked.status_code == 200
    assert "It would change <b>2</b>." in asked.text
    assert "1 is tagged so already" in asked.text
    assert "1 is not known any more" in asked.text
    assert await acts(world, three[1]) == []
    ids = re.search(r'name="ids" value="([^"]+)"', asked.text)
    assert ids is not None
    assert ids[1].split(",") == three[1:]
    done = await desk.post("/dashboard/selection/done", act="tag", ids=ids[1], word=tag, back="sort=name")
    assert done.headers["location"] == "/dashboard/suppliers?sort=name&said=selection"
    text = await desk.page(f"/dashboard/suppliers?tag={tag}&sort=name")
    assert WHO.findall(text) == three
    for supplier_id in three:
        assert await acts(world, supplier_id) == ["supplier.tagged"]
    await desk.post("/dashboard/selection/done", act="untag", ids=",".join(three), word=tag)
    assert WHO.findall(await desk.page(f"/dashboard/suppliers?tag={tag}")) == []
    assert await acts(world, three[2]) == ["supplier.tagged", "supplier.untagged"]


async def test_a_selection_is_held_with_a_reason_in_one_transaction(
    desk: Desk, world: World, three: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.post(f"/dashboard/suppliers/{three[0]}/hold", note="asked us to")
    asked = await desk.post("/dashboard/selection", act="hold", id=three)
    assert "1 is held already" in asked.text

    async def fails(*_given: Any, **_details: Any) -> None:
        raise RuntimeError("in the middle")

    monkeypatch.setattr("api.dashboard.lists.selection.audit.log", fails)
    monkeypatch.setattr("store.people.holds.audit.log", fails)
    broken = await desk.post(
        "/dashboard/selection/done", act="hold", ids=",".join(three), word="moving house"
    )
    assert broken.status_code == 500
    monkeypatch.undo()
    notes = "SELECT note FROM supplier_holds WHERE supplier_id = ANY(%s::uuid[]) ORDER BY note"
    assert [row["note"] for row in await world.query(notes, three)] == ["asked us to"]
    day = "2026-02-02"
    assert f'<option value="{day}">2 Feb 2026, two weeks from now' in asked.text
    await desk.post(
        "/dashboard/selection/done", act="hold", ids=",".join(three), word="moving house", until=day
    )
    assert [row["note"] for row in await world.query(notes, three)] == ["asked us to"] + ["moving house"] * 2
    assert await acts(world, three[1]) == ["messages.held"]
    ends = "SELECT DISTINCT until FROM supplier_holds WHERE note = 'moving house' AND supplier_id = ANY(%s::uuid[])"
    assert [str(row["until"].date()) for row in await world.query(ends, three)] == [day]


@pytest.mark.parametrize(
    ("said", "end"),
    [
        ({}, "9999-12-31"),
        ({"until": ""}, "9999-12-31"),
        ({"until": "2026-01-26"}, "2026-01-26"),
        ({"until": "2026-01-26", "day": "2026-03-01"}, "2026-03-01"),
        ({"until": "2026-01-01"}, None),
        ({"until": "soon"}, None),
    ],
)
async def test_a_hold_has_the_same_ends_for_one_and_for_many(
    desk: Desk, world: World, said: dict[str, str], end: str | None
) -> None:
    one, other = await someone(world, "Held alone"), await someone(world, "Held with others")
    answers = [
        await desk.post(f"/dashboard/suppliers/{one}/hold", note="on leave", **said),
        await desk.post("/dashboard/selection/done", act="hold", ids=other, word="on leave", **said),
    ]
    assert [answer.status_code for answer in answers] == [303 if end else 422] * 2
    query = "SELECT until FROM supplier_holds WHERE supplier_id = ANY(%s::uuid[])"
    assert [str(row["until"].date()) for row in await world.query(query, [one, other])] == [end] * 2 * bool(
        end
    )


async def test_tags_are_seen_put_on_and_taken_off_on_their_page(desk: Desk, world: World) -> None:
    supplier_id, tag = await someone(world, "Tagged alone"), f"t{uuid4().hex[:8]}"
    page = f"/dashboard/suppliers/{supplier_id}"
    for said in (f" {tag.upper()} ", tag):  # the second changes nothing
        done = await desk.post(f"{page}/tags", tag=said)
        assert done.headers["location"] == f"{page}?said=tagged"
    assert f'href="/dashboard/suppliers?tag={tag}">{tag}</a>' in await desk.page(page)
    assert WHO.findall(await desk.page(f"/dashboard/suppliers?tag={tag}")) == [supplier_id]
    for _ in range(2):
        done = await desk.post(f"{page}/tags", tag=tag, act="untag")
        assert done.headers["location"] == f"{page}?said=untagged"
    assert f">{tag}</a>" not in await desk.page(page)
    assert await acts(world, supplier_id) == ["supplier.tagged", "supplier.untagged"]
    assert (await desk.post(f"{page}/tags", tag="<b>")).status_code == 422
    assert (await desk.post(f"{page}/tags", tag="x", act="sell")).status_code == 422
    assert (await desk.post(f"/dashboard/suppliers/{fresh_id()}/tags", tag="x")).status_code == 404
    assert (await desk.post(f"{page}/tags", tag="x", csrf="x")).status_code == 403


async def test_a_suppliers_page_says_whose_they_are(desk: Desk, world: World) -> None:
    supplier_id = await someone(world, "Owned")
    page = f"/dashboard/suppliers/{supplier_id}"
    assert "<dt>Owner</dt><dd>the team</dd>" in await desk.page(page)
    await desk.post(f"{page}/take", next=page)
    assert "<dt>Owner</dt><dd>you</dd>" in await desk.page(page)
    await world.query("UPDATE supplier_owners SET owner = 'tom' WHERE supplier_id = %s", supplier_id)
    assert "<dt>Owner</dt><dd>tom</dd>" in await desk.page(page)


async def test_a_selection_is_taken_over_and_lists_are_narrowed_by_owner(
    desk: Desk, world: World, three: list[str]
) -> None:
    tag = f"t{uuid4().hex[:8]}"
    await desk.post("/dashboard/selection/done", act="tag", ids=",".join(three), word=tag)
    for supplier_id, owner in zip(three, ("emma", "tom"), strict=False):
        await world.query("INSERT INTO supplier_owners VALUES (%s, %s, now(), 'x')", supplier_id, owner)
    assert WHO.findall(await desk.page(f"/dashboard/suppliers?tag={tag}&owner=emma")) == three[:1]
    assert WHO.findall(await desk.page(f"/dashboard/suppliers?tag={tag}&owner=-")) == three[2:]
    asked = await desk.post("/dashboard/selection", act="take", id=three)
    assert "1 is in your book already" in asked.text
    assert "from tom" in asked.text
    await desk.post("/dashboard/selection/done", act="take", ids=",".join(three))
    text = await desk.page(f"/dashboard/suppliers?tag={tag}&owner=emma&sort=name")
    assert WHO.findall(text) == three
    assert await acts(world, three[0]) == ["supplier.tagged"]
    assert await acts(world, three[1]) == ["supplier.tagged", "supplier.taken_over"]


async def test_a_selection_or_all_that_fit_are_a_file_and_it_is_noted(
    desk: Desk, world: World, three: list[str]
) -> None:
    tag = f"t{uuid4().hex[:8]}"
    await desk.post("/dashboard/selection/done", act="tag", ids=",".join(three), word=tag)
    some = await desk.post("/dashboard/selection", act="csv", id=three[:2])
    assert {row["id"] for row in lines(some)} == set(three[:2])
    everybody = await desk.post("/dashboard/selection", act="csv", every="1", back=f"tag={tag}")
    assert {row["id"]: row["tags"] for row in lines(everybody)} == dict.fromkeys(three, tag)
    [noted] = await world.query(
        "SELECT details FROM audit_log WHERE action = 'dashboard.export' ORDER BY id DESC LIMIT 1"
    )
    assert noted["details"] == {"table": "selection", "rows": 3}


@pytest.mark.parametrize(
    "said",
    [
        {"act": "tag", "tag": "spring"},
        {"act": "tag", "tag": "two words and far too many letters", "id": [fresh_id()]},
        {"act": "tag", "tag": "<b>", "id": [fresh_id()]},
        {"act": "tag", "tag": "", "id": [fresh_id()]},
        {"act": "sell", "id": [fresh_id()]},
        {"act": "hold", "id": ["x"]},
        {"act": "hold", "id": [fresh_id()] * 1001},
        {"act": "hold", "id": [fresh_id()], "back": "sort=luck"},
    ],
)
async def test_what_can_not_be_done_with_a_selection_is_told(desk: Desk, said: dict[str, Any]) -> None:
    assert (await desk.post("/dashboard/selection", **said)).status_code in {400, 422}


async def test_a_selection_needs_the_sessions_token(desk: Desk, three: list[str]) -> None:
    for address in ("/dashboard/selection", "/dashboard/selection/done", "/dashboard/views"):
        assert (
            await desk.post(address, csrf="x", act="hold", id=three, ids=three[0], name="n")
        ).status_code == 403


# views -----------------------------------------------------------------------------------------------------------


async def test_a_view_is_its_agents_until_it_is_the_teams_and_keeps_no_search(
    stranger: Desk, world: World
) -> None:
    del world
    await stranger.sign_in("emma")
    name = f"View {uuid4().hex[:8]}"
    kept = await stranger.post(
        "/dashboard/views",
        name=name,
        query="q=sarah@example.com&level=critical&sort=name&col=plan,level&after=x",
    )
    assert (
        kept.headers["location"]
        == "/dashboard/suppliers?level=critical&sort=name&col=level%2Cplan&said=view_kept"
    )
    assert name in await stranger.page("/dashboard/suppliers")
    await stranger.sign_in("tom")
    assert name not in await stranger.page("/dashboard/suppliers")
    await stranger.sign_in("emma")
    await stranger.post("/dashboard/views", name=name, query="level=critical", shared="1")
    await stranger.sign_in("tom")
    text = await stranger.page("/dashboard/suppliers?level=critical")
    assert (
        f'href="/dashboard/suppliers?level=critical" aria-current="true">{name} <span class="quiet">emma'
        in text
    )
    assert f"Forget “{name}”" not in text
    await stranger.sign_in("emma")
    dropping = re.search(
        rf'action="(/dashboard/views/[^"]+/drop)">.*Forget “{name}”',
        await stranger.page("/dashboard/suppliers?level=critical"),
    )
    assert dropping is not None
    await stranger.sign_in("tom")
    await stranger.post(dropping[1])
    assert name in await stranger.page("/dashboard/suppliers")
    await stranger.sign_in("emma")
    await stranger.post(dropping[1])
    assert name not in await stranger.page("/dashboard/suppliers")
