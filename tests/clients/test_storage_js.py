"""The methods of storage-js that an app seldom calls, at three versions; its day is in files.mjs."""

import pytest

from tests.clients.node import NEWEST, VERSIONS, needs_node, run_node
from tests.conftest import Edge

pytestmark = [pytest.mark.slow, needs_node]

NO_OBJECT, UNSERVED = "Object not found", [404, True]
TOLD = {
    "created": {"name": "a"},
    "twice": "The resource already exists",
    "got": {
        "id": "a",
        "isPublic": False,
        "file_size_limit": 1000,
        "allowed_mime_types": ["image/png", "text/*"],
    },
    "listed": ["a", "b", "generated-images", "source-images"],
    "updated": {"message": "Successfully updated"},
    "no_bucket": "Bucket not found",
    "too_large": "The object exceeded the maximum allowed size",
    "bad_type": "mime type application/javascript is not supported",
    "lost_bucket": "Bucket not found",
    "bodies": {
        "blob": "image/png",
        "buffer": "image/png",
        "array": "image/png",
        "form": "image/png",
        "stream": "image/png",
        "text": "text/plain",
    },
    "bad_key": "Invalid key: ünï.png",
    "info": [74, "image/png", "max-age=60", {"by": "Ann"}, "a", "folder/p.png"],
    "exists": [True, False],
    "no_info": NO_OBJECT,
    "small": "image/png",
    "signed_small": "image/png",
    "no_link": NO_OBJECT,
    "public": [
        [200, None],
        [200, "attachment; filename=q.png; filename*=UTF-8''q.png"],
        [200, None],
    ],
    "stream": 74,
    "not_public": 400,
    "copied": None,
    "moved": None,
    "in_b": ["copy.png", "moved.png", "p.png"],
    "no_source": NO_OBJECT,
    "pages": [True, ["bodies/", "folder/"], False],
    "flat": ["folder/p.png"],
    "ticket": [None, "The resource already exists", True],
    "upsert_ticket": None,
    "purged": [UNSERVED, UNSERVED],
    "lifecycle": [UNSERVED],
    "vectors": [UNSERVED],
    "analytics": [UNSERVED],
    "full": "The bucket you tried to delete is not empty",
    "emptied": "Empty bucket has been queued. Completion may take up to an hour.",
    "deleted": "Successfully deleted",
    "left": ["b", "generated-images", "source-images"],
}
LATER = {
    NEWEST: set[str](),
    "supabase-js-2.109": {"lifecycle"},
    "supabase-js-2.39": {
        *("lifecycle", "purged", "vectors", "analytics", "info", "exists", "no_info"),
        *("stream", "copied", "moved", "in_b", "pages", "flat", "upsert_ticket"),
    },
}
"""Version → what it has no method, or no option, for."""


@pytest.mark.parametrize("version", VERSIONS)
def test_storage_js(idle_edge: Edge, version: str):
    told = run_node("storage.mjs", idle_edge, idle_edge.service_role_key, version)
    assert told == {name: value for name, value in TOLD.items() if name not in LATER[version]}
