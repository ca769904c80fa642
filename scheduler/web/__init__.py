"""The HTTP side: an API over a JobQueue, and the server that carries it."""
