"""POST /functions/v1/process-generation: have the provider make one picture, and wait for it. Also a module.

Caller  the service role (it spends money)
Writes  the ledger of spend

The map of this folder, in the order of a prediction's life:

    prepare.py      request → what is sent: the model, its input (inputs.py, sizes.py), the source picture
                    (kept_sources.py loads it, normalise.py makes it one that models take)
    create.py       the queue's way: commit an intent, create the prediction, park the job beside it
    adopt.py        find the prediction of an intent whose create was not answered, instead of paying twice
    poller.py       ask for the parked predictions that are due (progress.py: how far they are)
    webhook.py      the provider calls when one has ended
    terminal.py     write its terminal status, once, whichever of create, poller and webhook sees it first
    blocking.py     the way without a queue: create, poll and return; process-generation and generate-image
    spending.py     what the latter came to: a line of the ledger of spend
    predictions.py  the SQL of all of them;   app.py, request.py  the two routes and the body
"""

from functions.process_generation.blocking import (
    GenerationResult,
    OnPrediction,
    process_generation,
)
from functions.process_generation.spending import Payer

__all__ = ["GenerationResult", "OnPrediction", "Payer", "process_generation"]
