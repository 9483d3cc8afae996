"""The planner: a parsed query and the catalogue → a plan, in which every name is resolved and every refusal made."""
