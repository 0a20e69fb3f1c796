"""Speed and memory, measured beside what users would otherwise run; never part of the tests."""
