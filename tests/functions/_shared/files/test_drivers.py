"""The drivers by their protocol: the file system, and an object store on a real S3 server."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from functions._shared.files.driver import Missing
from functions._shared.files.file_system import FileSystem
from functions._shared.files.object_store import ObjectStore
from tests.s3 import S3, s3_server


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with s3_server() as server:
        yield server


@pytest.fixture(params=["file system", "s3"])
def driver(request, tmp_path: Path, monkeypatch):
    if request.param == "file system":
        return FileSystem(tmp_path / "kept")
    s3: S3 = request.getfixturevalue("s3")
    for name, value in s3.variables.items():
        monkeypatch.setenv(name, value)
    return ObjectStore(f"s3://{s3.bucket}/{uuid4()}")


async def content(driver, version, start: int, end: int) -> bytes:
    return b"".join([chunk async for chunk in await driver.read(version, start, end)])


async def test_a_blob_from_its_making_to_its_end(driver, tmp_path: Path):
    staged, version, copy = tmp_path / "staged", uuid4(), uuid4()
    data = bytes(range(256)) * 40_000  # 10 MB: several parts
    staged.write_bytes(data)
    await driver.keep(staged, version)
    assert not staged.exists()
    assert await content(driver, version, 0, len(data)) == data
    assert await content(driver, version, 300, 310) == data[300:310]
    await driver.copy(version, copy)
    assert {found async for found, _ in driver.every()} == {version, copy}
    await driver.remove([version])
    await driver.remove([version])
    assert (await driver.has(version), await driver.has(copy)) == (False, True)
    assert await content(driver, copy, 0, 3) == data[:3]


async def test_what_is_not_there(driver):
    with pytest.raises(Missing):
        await driver.read(uuid4(), 0, 1)
    with pytest.raises(Missing):
        await driver.copy(uuid4(), uuid4())
    assert await driver.has(uuid4()) is False
