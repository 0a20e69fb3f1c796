"""What each verb does: one module per verb, with the typed function that the command line calls, and its options."""
