"""A request's ``model_id``: ``owner/name``, an alias, a pinned version, a deployment, or a model's page on the web."""

import re
from dataclasses import dataclass

DEPLOYMENTS = "deployments/"
"""Before owner and name of a deployment, as in the paths of Replicate's API."""
VERSION = re.compile(r"[0-9a-f]{64}")
OWNER_AND_NAME = re.compile(r"[a-z0-9][\w.-]{0,99}/[a-z0-9][\w.-]{0,199}", re.IGNORECASE | re.ASCII)

_PAGE = re.compile(
    r"(https?://)?(www\.)?replicate\.com/(?P<path>[^?#\s]+)([?#]\S*)?", re.IGNORECASE
)
_TABS = {"api", "readme", "examples", "playground", "versions", "train", "schema"}
"""Last parts of a page's path that name one of its tabs."""


@dataclass(frozen=True)
class Reference:
    """``name``: ``owner/name``, ``deployments/owner/name`` or an alias; ``version``: what is pinned, unchecked."""

    name: str
    version: str | None = None

    @property
    def is_deployment(self) -> bool:
        return is_deployment(self.name)

    @property
    def is_wellformed(self) -> bool:
        """Whether Replicate could have a model or a deployment of that name."""
        name = self.name[len(DEPLOYMENTS) :] if self.is_deployment else self.name
        return OWNER_AND_NAME.fullmatch(name) is not None


def is_deployment(name: str) -> bool:
    return name.count("/") == 2 and name.casefold().startswith(DEPLOYMENTS)


def read_reference(model_id: str) -> Reference:
    """Read ``owner/name:version``, and ``https://replicate.com/owner/name/versions/version``."""
    word = model_id.strip()
    page = _PAGE.fullmatch(word)
    if page is None:
        name, colon, version = word.partition(":")
        return Reference(name, version if colon else None)
    parts = page["path"].strip("/").split("/")
    if len(parts) == 4 and parts[2] == "versions":
        return Reference("/".join(parts[:2]), parts[3])
    if len(parts) == 3 and parts[2] in _TABS:
        parts = parts[:2]
    return Reference("/".join(parts))
