"""The settings of /storage/v1, under Supabase Storage's own names where it has them."""

from pydantic import BaseModel, PositiveInt


class StorageSettings(BaseModel):
    """A part of ``Settings``."""

    upload_file_size_limit: PositiveInt = 50 * 1024 * 1024
    """The largest object in bytes; a bucket's own limit may be smaller."""
    signed_upload_url_expiration_time: PositiveInt = 7200
    """Seconds that a signed upload URL is valid."""
    tus_url_expiry_ms: PositiveInt = 3_600_000
    """Milliseconds after its last chunk that an unfinished resumable upload is kept."""
    image_transformation_concurrency: PositiveInt = 2
    """Threads that decode and encode pictures for /render/image; further requests wait."""
    image_transformation_cache_bytes: PositiveInt = 256 * 1024 * 1024
    """Disk cache of transformed pictures; those used longest ago are evicted (LRU)."""
    storage_object_store_url: str | None = None
    """Object store for the files, as s3://bucket/prefix or gs://bucket; absent: below EDGE_DATA_DIR."""
