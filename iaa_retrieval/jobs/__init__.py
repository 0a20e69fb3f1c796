"""One module per verb: its options, a frozen dataclass, and the typed function that the command line calls."""
