"""What each verb does, as a typed function over its options."""
