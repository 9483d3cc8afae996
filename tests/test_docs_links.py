"""Every link and every path that the documentation names leads somewhere."""

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
PAGES = sorted(
    page
    for folder, pattern in (
        (PROJECT, "*.md"),
        (PROJECT / "docs", "*.md"),
        (PROJECT / "sql", "*.md"),
        (PROJECT / "scripts", "*.md"),
        (PROJECT / "functions", "**/README.md"),
    )
    for page in folder.glob(pattern)
)
GLOSSARY = (PROJECT / "docs" / "GLOSSARY.md").read_text()
ROOTS = ("functions/", "sql/", "scripts/", "tests/", "docs/")


def named(page: Path) -> str:
    return str(page.relative_to(PROJECT))


def anchors(page: Path) -> set[str]:
    """The fragments that GitHub gives to a page's headings."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def leads_nowhere(link: str, page: Path) -> bool:
    if link.startswith(("http://", "https://", "mailto:")):
        return False
    target, _, anchor = link.partition("#")
    file = page.parent / target if target else page
    return not file.exists() or bool(anchor and anchor not in anchors(file))


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_each_link_leads_somewhere(page):
    text = page.read_text()
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'<img src="([^"]+)"', text)
    assert [link for link in links if leads_nowhere(link, page)] == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_each_path_that_is_named_exists(page):
    # Blocks are left out: an example may make a file of its own.
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    paths = [path for path in re.findall(r"`([\w./-]+)`", text) if path.startswith(ROOTS)]
    assert [path for path in paths if not (PROJECT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_each_make_target_that_is_named_exists(page):
    targets = set(re.findall(r"^([a-z]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    named_targets = set(re.findall(r"(?:^    |`)make ([a-z]+)", page.read_text(), re.MULTILINE))
    assert named_targets - targets == set()


def test_each_page_of_docs_is_linked_from_the_readme():
    linked = re.findall(r"\]\((docs/\w+\.md)", (PROJECT / "README.md").read_text())
    assert set(linked) == {f"docs/{page.name}" for page in (PROJECT / "docs").glob("*.md")}


def test_the_glossary_is_in_order_and_each_term_stands_once():
    terms = re.findall(r"^\| \*\*(.+?)\*\* \|", GLOSSARY, re.MULTILINE)
    assert terms == sorted(set(terms), key=str.casefold)


def test_each_name_in_the_glossary_is_one_of_the_code():
    names = {
        name
        for cell in re.findall(r"`([^`]+)`", GLOSSARY)
        if not cell.startswith(ROOTS)
        for name in re.findall(r"\b\w+_\w+\b", cell)
    }
    sources = [*(PROJECT / "sql").glob("*.sql"), *(PROJECT / "functions").rglob("*.py")]
    words = set(re.findall(r"\w+", "\n".join(source.read_text() for source in sources)))
    words |= {word.upper() for word in words}  # a setting's variable: the field in capitals
    assert names - words == set()


def test_the_pictures_are_small_and_shown():
    pages = "".join(page.read_text() for page in PAGES)
    for picture in (PROJECT / "docs" / "images").iterdir():
        assert picture.stat().st_size < 60 * 1024, picture.name
        assert f"images/{picture.name}" in pages
