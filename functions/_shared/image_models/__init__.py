"""The image models: what each is called, what its input may hold, whether it is still served.

``catalog.py``      the models we know: the facts of ``schemas/`` and what no schema says
``json_schema.py``  what a JSON Schema allows
``store.py``        a model by any of its names: from the models table, the catalogue, or Replicate itself
"""
