"""POST /functions/v1/process-generation: have the provider make one picture, and wait for it.

Caller  the service role (it spends money)
Writes  nothing
Also    a module: ``from functions.process_generation import process_generation``
"""

from functions.process_generation.generation import (
    GenerationResult,
    OnPrediction,
    process_generation,
)

__all__ = ["GenerationResult", "OnPrediction", "process_generation"]
