"""Generations and predictions that have ended here, until the database is asked for what they took and cost."""

from dataclasses import dataclass, field
from uuid import UUID

MOST = 10_000
"""Of each, while the database is away: the others are not counted."""


@dataclass
class Ended:
    """A passive object: one to a process, written by handlers, poller and webhook, emptied by ``count_ended``."""

    generations: set[UUID] = field(default_factory=set)
    intents: set[UUID] = field(default_factory=set)
    """Rows of predictions."""
    predictions: set[str] = field(default_factory=set)
    """The provider's ids, of blocking calls: they have no row of predictions."""

    def generation(self, named: object) -> None:
        """``named``: the id, or a job's payload, which may be anything and names one perhaps."""
        found = named.get("generation_id") if isinstance(named, dict) else named
        if isinstance(found, str):
            try:
                found = UUID(found)
            except ValueError:
                return
        if isinstance(found, UUID) and len(self.generations) < MOST:
            self.generations.add(found)

    def intent(self, intent_id: UUID) -> None:
        if len(self.intents) < MOST:
            self.intents.add(intent_id)

    def prediction(self, prediction_id: str) -> None:
        if len(self.predictions) < MOST:
            self.predictions.add(prediction_id)

    def __bool__(self) -> bool:
        return bool(self.generations or self.intents or self.predictions)

    def take(self) -> "Ended":
        """All of it; nothing is left here."""
        taken = Ended(self.generations, self.intents, self.predictions)
        self.generations, self.intents, self.predictions = set(), set(), set()
        return taken

    def put_back(self, taken: "Ended") -> None:
        self.generations |= taken.generations
        self.intents |= taken.intents
        self.predictions |= taken.predictions
