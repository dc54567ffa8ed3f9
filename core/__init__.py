"""The nouns of trading and their laws: no services, no I/O, no clock."""
