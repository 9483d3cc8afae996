"""What a request asks and the catalogue → the statements of its transaction, and how their result is answered."""

from dataclasses import dataclass
from typing import Literal

from functions._platform.rest import errors
from functions._platform.rest.catalogue.model import Catalogue, Name, Routine
from functions._platform.rest.media_types import OBJECT, MediaType
from functions._platform.rest.payload import Payload
from functions._platform.rest.plan import refusals
from functions._platform.rest.plan.calling import (
    Asked as AskedCall,
)
from functions._platform.rest.plan.calling import (
    arguments_of,
    find_routine,
    plan_call,
    relation_of,
)
from functions._platform.rest.plan.handlers import Chosen, negotiate
from functions._platform.rest.plan.model import Read
from functions._platform.rest.plan.paths import legacy_names
from functions._platform.rest.plan.reading import Bounds, plan_read
from functions._platform.rest.plan.writing import Method, Written, plan_write
from functions._platform.rest.request import Asked
from functions._platform.rest.sql.fragment import Fragment, Template, render
from functions._platform.rest.sql.reading import count
from functions._platform.rest.sql.statement import (
    call_statement,
    explained,
    explained_count,
    is_boundable,
    is_windowed,
    read_statement,
    write_statement,
)
from functions._shared.rest_settings import RestSettings

Action = Literal["read", "insert", "update", "upsert", "delete", "call"]
ACTIONS: dict[str, Action] = {
    "POST": "insert",
    "PATCH": "update",
    "PUT": "upsert",
    "DELETE": "delete",
}
WRITES: dict[str, Method] = {"POST": "POST", "PATCH": "PATCH", "PUT": "PUT", "DELETE": "DELETE"}
RESOLUTIONS: dict[str, Literal["merge", "ignore"]] = {
    "merge-duplicates": "merge",
    "ignore-duplicates": "ignore",
}


@dataclass(frozen=True)
class Planned:
    """``estimate``: the EXPLAIN whose row estimate is (part of) the total. ``keys``: an insert's primary key or
    conflict target, which ``resolution`` refers to. ``renamed``: embeds called by a deprecated name. ``bounded``: the
    answer's size is, see MAX_ANSWER_BYTES.
    """

    action: Action
    statement: Template
    media_type: MediaType
    read_only: bool
    estimate: Template | None = None
    routine: Routine | None = None
    has_keys: bool = False
    renamed: tuple[tuple[str, str], ...] = ()
    bounded: bool = False

    @property
    def is_singular(self) -> bool:
        return self.media_type.essence == OBJECT.essence


class Planner:
    """``catalogue``: the one that the request began with."""

    def __init__(self, settings: RestSettings, catalogue: Catalogue) -> None:
        self._settings = settings
        self._catalogue = catalogue

    def read(self, asked: Asked) -> Planned:
        """GET, HEAD of a relation. Raises RestError."""
        self._check_relation(asked.resource)
        read = self._read(asked, asked.resource, source=False)
        body, media_type = self._chosen(asked, asked.resource, read, wanted=not asked.is_head)
        total = self._total(asked, read, estimates=True)
        # An execution plan shows upstream's costs.
        bounded = is_boundable(body) and not media_type.is_plan
        statement = read_statement(
            read, body, total=total, windowed=self._is_windowed(read), bounded=bounded
        )
        counts_by_plan = asked.preferences.count in {"planned", "estimated"}
        return Planned(
            "read",
            render(explained(statement, media_type)),
            media_type,
            read_only=True,
            estimate=render(explained_count(read)) if counts_by_plan else None,
            renamed=tuple(legacy_names(asked.query)),
            bounded=bounded,
        )

    def write(self, asked: Asked, payload: Payload | None) -> Planned:
        """``payload``: None for DELETE. Raises RestError."""
        self._check_relation(asked.resource)
        preferences, wants = asked.preferences, asked.preferences.representation
        read = self._read(asked, asked.resource, source=True, writes=True)
        given = Written(
            is_object=bool(payload and payload.is_object),
            keys=payload.keys if payload else frozenset(),
            resolution=RESOLUTIONS.get(preferences.resolution or ""),
            defaults=preferences.missing == "default",
            returns=wants in {"representation", "headers-only"},
        )
        plan = plan_write(
            self._catalogue, WRITES[asked.method], asked.resource, asked.query, read, given
        )
        body, media_type = self._chosen(
            asked, asked.resource, read, wanted=wants == "representation"
        )
        action = ACTIONS[asked.method]
        merges = action == "insert" and given.resolution == "merge"
        statement = write_statement(
            plan,
            read,
            body,
            location=action == "insert" and wants == "headers-only",
            upserts=action == "upsert" or merges,
        )
        primary_key = self._catalogue.tables[asked.resource].primary_key
        return Planned(
            action,
            render(explained(statement, media_type)),
            media_type,
            read_only=False,
            has_keys=bool(primary_key) or asked.query.on_conflict is not None,
            renamed=tuple(legacy_names(asked.query)),
        )

    def call(self, asked: Asked, payload: Payload | None) -> Planned:
        """``payload``: of a POST, None for GET and HEAD. Raises RestError."""
        routine = self.routine(asked, payload)
        relation = relation_of(routine)
        read = self._read(asked, relation, source=True)
        names = _argument_names(asked, payload)
        arguments = None
        if payload is None or payload.kind == "form":
            pairs = payload.pairs if payload else asked.query.arguments
            arguments = arguments_of(routine, pairs)
        is_object = bool(payload and payload.is_object)
        plan = plan_call(routine, read, names, arguments, is_object=is_object)
        body, media_type = self._chosen(asked, relation, read, wanted=not asked.is_head)
        preferences = asked.preferences
        if (
            preferences.is_strict
            and preferences.max_affected is not None
            and not routine.returns_set
        ):
            raise errors.max_affected_needs_set()
        total = self._total(asked, read, estimates=False)
        read_only = asked.is_reading or routine.volatility != "volatile"
        # Not where the call has changed something by then.
        bounded = read_only and is_boundable(body) and not media_type.is_plan
        statement = call_statement(
            plan,
            read,
            body,
            total=total,
            windowed=self._is_windowed(read),
            bounded=bounded,
        )
        return Planned(
            "call",
            render(explained(statement, media_type)),
            media_type,
            read_only=read_only,
            routine=routine,
            renamed=tuple(legacy_names(asked.query)),
            bounded=bounded,
        )

    def routine(self, asked: Asked, payload: Payload | None) -> Routine:
        """The function that a request means. Raises RestError."""
        content_type = asked.content_type.essence if asked.method == "POST" else None
        names = _argument_names(asked, payload)
        return find_routine(self._catalogue, AskedCall(asked.resource, names, content_type))

    def _check_relation(self, relation: Name) -> None:
        if relation not in self._catalogue.tables:
            raise refusals.no_table(self._catalogue, relation)

    def _read(self, asked: Asked, relation: Name, *, source: bool, writes: bool = False) -> Read:
        settings = self._settings
        bounds = Bounds(
            source=source,
            writes=writes,
            window=Bounds.window if writes else asked.window,
            max_rows=settings.pgrst_db_max_rows,
            aggregates=settings.pgrst_db_aggregates_enabled,
        )
        return plan_read(self._catalogue, relation, asked.query, bounds)

    def _chosen(self, asked: Asked, relation: Name, read: Read, *, wanted: bool) -> Chosen:
        """``wanted``: whether the answer has a body; its media type is negotiated all the same."""
        preferences = asked.preferences
        if preferences.is_strict and preferences.invalid:
            raise errors.invalid_preferences(preferences.invalid)
        chosen = negotiate(
            self._catalogue,
            relation,
            asked.accepted,
            whole_rows=read.selects_all,
            plans=self._settings.pgrst_db_plan_enabled,
        )
        return chosen if wanted else Chosen("none", chosen.media_type)

    def _total(self, asked: Asked, read: Read, *, estimates: bool) -> Fragment | None:
        """The query that counts. An estimated total need only tell whether it exceeds the largest answer."""
        kind, most = asked.preferences.count, self._settings.pgrst_db_max_rows
        if kind not in {"exact", "estimated"}:
            return None
        limited = estimates and kind == "estimated" and most is not None
        return [*count(read), f" limit {most + 1}"] if limited and most else count(read)

    def _is_windowed(self, read: Read) -> bool:
        return self._settings.pgrst_db_max_rows is not None or is_windowed(read)


def _argument_names(asked: Asked, payload: Payload | None) -> frozenset[str]:
    if payload is None:
        return frozenset(name for name, _ in asked.query.arguments)
    return payload.keys
