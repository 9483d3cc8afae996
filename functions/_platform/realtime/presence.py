"""Presence of one topic: who is there, by key; each key has a meta per channel."""

import itertools
from collections.abc import Mapping
from typing import Any, Protocol
from uuid import uuid4

State = dict[str, dict[str, list[dict[str, Any]]]]
"""key → {"metas": [{"phx_ref": …, …}]}"""
Diff = Mapping[str, State]


class Member(Protocol):
    """A channel, here or in another process."""

    @property
    def presence_key(self) -> str: ...


class Presence:
    """Each change is gathered until ``taken``: its ``presence_diff`` goes to all members at once (coalescing).

    Without it n members who join together cost n² frames.
    """

    def __init__(self) -> None:
        self._metas: dict[Member, dict[str, Any]] = {}
        self._prefix = uuid4().hex[:8]
        self._numbers = itertools.count(1)
        self._joins: State = {}
        self._leaves: State = {}

    def track(self, member: Member, payload: Mapping[str, Any]) -> bool:
        """Whether it changed anything."""
        before = self._metas.get(member)
        if before and payload == {k: v for k, v in before.items() if not k.startswith("phx_ref")}:
            return False
        return self.place(member, {**payload, "phx_ref": f"{self._prefix}{next(self._numbers)}"})

    def place(self, member: Member, meta: dict[str, Any]) -> bool:
        """``meta`` has its ``phx_ref``. Whether it changed anything."""
        before = self._metas.get(member)
        if before == meta:
            return False
        self._metas[member] = meta
        shown = {**meta, "phx_ref_prev": before["phx_ref"]} if before else meta
        _add(self._joins, member, shown)
        if before:
            _add(self._leaves, member, before)
        return True

    def untrack(self, member: Member) -> bool:
        """Whether it was there."""
        before = self._metas.pop(member, None)
        if before:
            _add(self._leaves, member, before)
        return before is not None

    def meta_of(self, member: Member) -> dict[str, Any]:
        """Raises KeyError."""
        return self._metas[member]

    @property
    def members(self) -> list[Member]:
        return [*self._metas]

    def taken(self) -> Diff:
        """The changes since the last call."""
        diff = {"joins": self._joins, "leaves": self._leaves}
        self._joins, self._leaves = {}, {}
        return diff

    def state(self) -> State:
        state: State = {}
        for member, meta in self._metas.items():
            _add(state, member, meta)
        return state


def _add(state: State, member: Member, meta: dict[str, Any]) -> None:
    state.setdefault(member.presence_key, {"metas": []})["metas"].append(meta)
