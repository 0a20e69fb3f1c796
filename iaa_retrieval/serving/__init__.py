"""Searches over HTTP and MCP: the engine behind them, and what stands between it and the network.

The engine (``engine``) knows nothing of the network; ``app`` puts routes before it, and ``guard`` stands before the
routes: keys, limits and the queue. What differs between Pyserini 1.6 and 2.x is in ``pyserini_server``.
"""
