"""GET start-generation: the caller's generations, newest first, page by page."""

from uuid import UUID, uuid4

import pytest

from tests.conftest import Edge
from tests.help import start, until_ended


def listed(edge: Edge, query: str = "", token: str | None = "") -> dict:
    answer = edge.get(f"start-generation{query}", token)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture
def made(idle_edge: Edge, db) -> list[str]:
    """The ids of seven generations, newest first: two were made in the same moment."""
    ids = [start(idle_edge, prompt=f"fox {n}") for n in range(7)]
    db.execute("update image_generations set created_at = '2026-01-31T12:00:00Z'::timestamptz"
               " + interval '1 minute' * substr(prompt, 5)::int")  # fmt: skip
    db.execute(
        "update image_generations set created_at = '2026-01-31T12:03:00Z' where prompt = 'fox 4'"
    )
    db.execute("update image_generations set status = 'failed' where prompt in ('fox 1', 'fox 5')")
    same = sorted(ids[3:5], key=UUID)
    return [ids[6], ids[5], *reversed(same), ids[2], ids[1], ids[0]]


def ids_of(page: dict) -> list[str]:
    return [one["id"] for one in page["generations"]]


def test_pages_come_in_order_and_miss_nothing(idle_edge: Edge, made):
    seen, query = [], "?limit=2"
    while True:
        page = listed(idle_edge, query)
        seen.append(ids_of(page))
        if page["next"] is None:
            break
        query = f"?limit=2&before={page['next']}"
    assert seen == [made[:2], made[2:4], made[4:6], made[6:]]


def test_a_generation_that_is_made_meanwhile_shifts_no_page(idle_edge: Edge, made):
    first = listed(idle_edge, "?limit=3")
    start(idle_edge, prompt="fox 9")
    assert ids_of(listed(idle_edge, f"?limit=9&before={first['next']}")) == made[3:]


@pytest.mark.parametrize(
    ("before", "first"),
    [("2026-01-31T12:02:30Z", 4), ("2026-01-31T13:02:30%2B01:00", 4), ("2026-01-31T12:01:00", 6)],
)
def test_a_time_is_a_place_too(idle_edge: Edge, made, before, first):
    assert ids_of(listed(idle_edge, f"?before={before}")) == made[first:]


def test_only_the_wanted_statuses(idle_edge: Edge, made):
    assert ids_of(listed(idle_edge, "?status=failed")) == [made[1], made[5]]
    assert ids_of(listed(idle_edge, "?status=failed,queued")) == made
    assert listed(idle_edge, "?status=completed") == {
        "success": True,
        "generations": [],
        "next": None,
    }


def test_each_is_as_it_is_alone_with_its_images(edge: Edge):
    alone = until_ended(edge, start(edge))
    [one] = listed(edge)["generations"]
    assert one == alone
    assert len(one["images"]) == 1


def test_nobody_elses(idle_edge: Edge, made):
    assert ids_of(listed(idle_edge, token=idle_edge.user_token(sub=str(uuid4())))) == []
    assert idle_edge.get("start-generation", None).status_code == 401


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("limit=0", "limit: Input should be greater than or equal to 1"),
        ("limit=101", "limit: Input should be less than or equal to 100"),
        ("limit=many", "limit: Input should be a valid integer"),
        ("status=done", "status.0: Input should be 'pending', 'queued'"),
        ("before=yesterday", "before: must be the next of a page, or a time such as 2026-01-31T12:00:00Z"),
        ("before=2026-01-31T12:00:00Z_x", "before: must be the next of a page"),
        ("before=0001-01-01T00:00:00%2B23:59", "before: must be the next of a page"),
        ("before=9999-12-31T23:59:59-23:59", "before: must be the next of a page"),
    ],
)  # fmt: skip
def test_a_bad_query_is_named(idle_edge: Edge, query, told):
    answer = idle_edge.get(f"start-generation?{query}")
    assert (answer.status_code, answer.json()["error"][: len(told)]) == (400, told)
