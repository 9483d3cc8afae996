"""The folders explain themselves: a README names each file, and the tests stand where the code stands."""

import re
from pathlib import Path

import pytest

from tests.help import PROJECT

FUNCTIONS = PROJECT / "functions"
FOLDERS = sorted({file.parent for file in FUNCTIONS.rglob("*.py")} - {FUNCTIONS})


def ids(path: Path) -> str:
    return str(path.relative_to(PROJECT))


def readme_of(folder: Path) -> Path:
    """The folder's own README, or the nearest above it: a small folder is explained with its parent."""
    while not (folder / "README.md").exists():
        assert folder != PROJECT, "no README at all"
        folder = folder.parent
    return folder / "README.md"


def unnamed(files: list[Path], readme: Path) -> list[str]:
    """Those of ``files`` that ``readme`` does not name: by its path from there, or where that is plain by its name."""
    text = readme.read_text("utf-8")
    words = set(re.findall(r"[\w./-]*\w", text))
    return sorted(
        str(path)
        for file in files
        if not {str(path := file.relative_to(readme.parent)), file.name} & words
    )


def files_of(folder: Path) -> list[Path]:
    """The Python files that say something: an ``__init__.py`` with nothing but a docstring need not be named."""
    return [file for file in folder.glob("*.py") if file.name != "__init__.py"]


@pytest.mark.parametrize("folder", FOLDERS, ids=ids)
def test_a_readme_names_each_file_of(folder: Path):
    readme = readme_of(folder)
    assert readme.parent.is_relative_to(FUNCTIONS), f"{ids(folder)} has no README below functions/"
    missing = unnamed(files_of(folder), readme)
    assert not missing, f"{ids(readme)} does not name {', '.join(missing)}"


def test_the_scripts_readme_names_each_script():
    scripts = PROJECT / "scripts"
    packages = [file.parent for file in scripts.glob("*/__init__.py")]
    missing = unnamed([*files_of(scripts), *packages], scripts / "README.md")
    assert not missing, f"scripts/README.md does not name {', '.join(missing)}"


def test_folders_of_tests_mirror_those_of_functions():
    tests = PROJECT / "tests" / "functions"
    here = {file.parent.relative_to(tests) for file in tests.rglob("test_*.py")}
    there = {folder.relative_to(FUNCTIONS) for folder in FOLDERS}
    assert sorted(map(str, here - there)) == []
