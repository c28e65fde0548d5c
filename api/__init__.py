"""The HTTP API: one router a resource; nothing connects on import."""
