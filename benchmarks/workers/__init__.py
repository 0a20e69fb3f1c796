"""Scripts that a benchmark runs in a process of their own, such as a peer's side of the comparison."""
