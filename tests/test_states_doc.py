"""docs/STATES.md against the CHECK constraints of sql/, and the generation's moves tried on a database."""

import re
from pathlib import Path

import psycopg
import pytest

PROJECT = Path(__file__).parent.parent
PAGE = (PROJECT / "docs" / "STATES.md").read_text()
SQL = "\n".join(path.read_text() for path in sorted((PROJECT / "sql").glob("*.sql")))
TABLES = {"Generation": "image_generations", "Job": "job_queue", "Prediction": "predictions"}
END = "[*]"


def moves(heading: str) -> list[tuple[str, str, str]]:
    """From, to and what makes the move, as drawn below a heading."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    [diagram] = re.findall(r"```mermaid\nstateDiagram-v2\n(.*?)```", section, re.DOTALL)
    drawn = re.findall(r"^    (\S+) --> (\S+)(?: : (.+))?$", diagram, re.MULTILINE)
    assert len(drawn) == len(diagram.splitlines()), "a line is no move"
    return drawn


def allowed(table: str) -> set[str]:
    """The statuses of a table's CHECK constraint."""
    [listed] = re.findall(rf"{table}_status_check check \(\s*status in \(([^)]*)\)", SQL)
    return set(re.findall(r"'(\w+)'", listed))


@pytest.mark.parametrize(("heading", "table"), TABLES.items())
def test_the_states_drawn_are_those_that_the_table_allows(heading, table):
    drawn = {state for start, end, _ in moves(heading) for state in (start, end)} - {END}
    assert drawn == allowed(table)


@pytest.mark.parametrize("heading", TABLES)
def test_a_move_is_drawn_once_and_each_state_can_be_reached(heading):
    pairs = [(start, end) for start, end, _ in moves(heading)]
    assert len(pairs) == len(set(pairs))
    reached = {END}
    while following := {end for start, end in pairs if start in reached} - reached:
        reached |= following
    assert reached == {state for pair in pairs for state in pair}


@pytest.mark.parametrize("heading", TABLES)
def test_the_functions_that_are_named_are_there(heading):
    labels = " ".join(label for _, _, label in moves(heading))
    for name in re.findall(r"\b[a-z]+_[a-z_]+\b", labels):
        assert re.search(rf"create or replace function \w+\.{name}\(", SQL), name


STATUSES = sorted(allowed("image_generations"))


def ahead(start: str) -> set[str]:
    """The statuses that a generation can still reach without being reopened; a person may skip some."""
    found = {start}
    while (
        following := {
            end
            for before, end, label in moves("Generation")
            if before in found and end != END and not label.startswith("reopened")
        }
        - found
    ):
        found |= following
    return found - {start}


@pytest.mark.parametrize(
    ("start", "end"), [(start, end) for start in STATUSES for end in STATUSES if start != end]
)
def test_a_generation_moves_forward_as_drawn_and_never_back(start, end, db):
    generation_id = db.execute(
        "insert into image_generations (user_id, prompt, status) values (gen_random_uuid(), 'a fox', %s)"
        " returning id",
        (start,),
    ).fetchone()["id"]
    change = ("update image_generations set status = %s where id = %s", (end, generation_id))
    if end in ahead(start):
        db.execute(*change)
    else:
        with pytest.raises(psycopg.Error) as refused:
            db.execute(*change)
        assert refused.value.sqlstate == "PT409"
