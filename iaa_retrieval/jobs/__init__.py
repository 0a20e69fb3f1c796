"""What each verb does: one module per verb, with its options and the typed function that the command line calls."""
