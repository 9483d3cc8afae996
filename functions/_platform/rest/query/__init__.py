"""The request's query string, parsed: what is asked for, before the catalogue is looked at."""
