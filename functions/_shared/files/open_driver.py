"""The driver that the settings name."""

from pathlib import Path

from functions._shared.files.driver import Driver
from functions._shared.files.file_system import FileSystem
from functions._shared.settings import Settings


def folder_of(settings: Settings) -> Path:
    """The local folder of /storage/v1: blobs (file system driver), staged uploads, transformed pictures."""
    return settings.edge_data_dir.absolute() / "storage"


def open_driver(settings: Settings) -> Driver:
    if settings.storage_object_store_url:
        # Imported here: obstore is an optional dependency, 20 MB that most installations do without.
        from functions._shared.files.object_store import ObjectStore

        return ObjectStore(settings.storage_object_store_url)
    return FileSystem(folder_of(settings))
