"""Presence of one topic: who is there, by key; each key has a meta per channel."""

import itertools
from collections.abc import Mapping
from typing import Any, Protocol
from uuid import uuid4

State = dict[str, dict[str, list[dict[str, Any]]]]
"""key → {"metas": [{"phx_ref": …, …}]}"""
Diff = Mapping[str, State]


class Member(Protocol):
    """A channel."""

    @property
    def presence_key(self) -> str: ...


class Presence:
    """Each change returns its ``presence_diff``, or None where nothing changed."""

    def __init__(self) -> None:
        self._metas: dict[Member, dict[str, Any]] = {}
        self._prefix = uuid4().hex[:8]
        self._numbers = itertools.count(1)

    def track(self, member: Member, payload: Mapping[str, Any]) -> Diff | None:
        before = self._metas.get(member)
        if before and payload == {k: v for k, v in before.items() if not k.startswith("phx_ref")}:
            return None
        meta = {**payload, "phx_ref": f"{self._prefix}{next(self._numbers)}"}
        self._metas[member] = meta
        shown = {**meta, "phx_ref_prev": before["phx_ref"]} if before else meta
        return {"joins": _of(member, shown), "leaves": _of(member, before) if before else {}}

    def untrack(self, member: Member) -> Diff | None:
        before = self._metas.pop(member, None)
        return {"joins": {}, "leaves": _of(member, before)} if before else None

    def state(self) -> State:
        state: State = {}
        for member, meta in self._metas.items():
            state.setdefault(member.presence_key, {"metas": []})["metas"].append(meta)
        return state


def _of(member: Member, meta: dict[str, Any]) -> State:
    return {member.presence_key: {"metas": [meta]}}
