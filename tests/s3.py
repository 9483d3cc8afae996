"""A real S3 server (moto's), for what is kept in an object store."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4

import httpx
from moto.server import ThreadedMotoServer


@dataclass(frozen=True)
class S3:
    """A server with one bucket of its own: moto's state is the process's, shared by all of its servers."""

    address: str
    bucket: str

    @property
    def variables(self) -> dict[str, str]:
        """What every tool of AWS reads from its environment."""
        return {
            "AWS_ENDPOINT_URL": self.address,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "k",
            "AWS_SECRET_ACCESS_KEY": "s",
            "AWS_REGION": "us-east-1",
        }


@contextmanager
def s3_server() -> Iterator[S3]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    s3 = S3(f"http://{host}:{port}", f"pictures-{uuid4()}")
    httpx.put(f"{s3.address}/{s3.bucket}").raise_for_status()
    yield s3
    server.stop()
