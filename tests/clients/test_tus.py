"""Resumable uploads by the real tus-js-client, as Supabase's docs tell to use it."""

import pytest

from tests.clients.node import needs_node, run_node
from tests.conftest import Edge

pytestmark = [pytest.mark.slow, needs_node]

CHUNK = 6 * 1024 * 1024
"""What Supabase requires of every chunk but the last."""
CHUNKS = [CHUNK, 2 * CHUNK, 2 * CHUNK + 1024]


def test_tus_js_client(idle_edge: Edge):
    assert run_node("tus.mjs", idle_edge, idle_edge.user_token()) == {
        "whole": [CHUNKS, True],
        "listed": [True, "image/png", "max-age=3600"],
        "again": [True, True],
        "upserted": True,
        "theirs": [True, True],
        "lost": [True, True],
        "resumed": [[CHUNK], 1, [CHUNK], True, True],
        "terminated": 404,
        "anew": [CHUNKS, True],
        "together": [[None] * 4, True],
        "parts": True,
        "signed": [None, True],
    }
