"""The public catalogue of models: every input is valid, and each field is sent under a key that means it."""

import pytest

from scripts.meant import FULL, read_judgement
from scripts.measure_inputs import all_verdicts, measure_public
from scripts.public_catalogue import INSTALLED, read_catalogue, text_to_image

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not INSTALLED.exists(),
        reason="all-the-public-replicate-models is not installed (npm ci, see scripts/README.md)",
    ),
]


@pytest.mark.parametrize("shard", range(4))
def test_every_input_of_every_text_to_image_model_is_valid(shard):
    models = list(text_to_image(INSTALLED))
    assert len(models) > 2200
    failed, refused = {}, 0
    for public in models[shard::4]:
        tally = measure_public(public)
        refused += tally.refused == tally.requests
        if tally.accepted + tally.refused != tally.requests:
            failed[public.name] = tally.wrong
    assert not failed
    assert refused < 30


def test_each_field_of_300_models_is_sent_under_a_key_that_means_it_or_noted():
    found = all_verdicts(INSTALLED)
    assert len(found) > 3800
    assert [verdict for verdict in found if verdict.wrong] == []


def test_the_judgement_is_of_the_schemas_that_are_measured():
    models = read_catalogue(INSTALLED)
    judged = read_judgement()
    assert len(judged) == 300
    for name, one in judged.items():
        keys = models[name].schemas["Input"]["properties"]
        fields = one["fields"] or {}
        assert set(fields) <= {*FULL, "aspect_ratio", "style"}
        for right in fields.values():
            listed = right if isinstance(right, list) else [right]
            named = {key["key"] if isinstance(key, dict) else key for key in listed} - {None}
            assert named <= keys.keys(), name
