"""The local stack's operator key: made at its first start, kept in the data folder."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from functions._shared.setting_values import given
from functions._shared.settings import Settings

FILE = "operator.key"


def with_operator_key(environ: Mapping[str, str]) -> dict[str, str]:
    """``environ`` with OPERATOR_KEYS, unless it names any; the key of an earlier start is kept."""
    chosen = given(environ)
    if "OPERATOR_KEYS" in chosen:
        return dict(environ)
    folder: Path = Settings.model_fields["edge_data_dir"].default
    file = Path(chosen.get("EDGE_DATA_DIR", str(folder))) / FILE
    return {**environ, "OPERATOR_KEYS": f"local={_kept(file)}"}


def _kept(file: Path) -> str:
    try:
        return file.read_text("ascii").strip()
    except FileNotFoundError:
        file.parent.mkdir(parents=True, exist_ok=True)
    secret = secrets.token_urlsafe(18)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as opened:
        opened.write(secret)
    return secret
