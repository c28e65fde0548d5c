"""Writing to a supplier: the letter before it is sent, and the words of every message."""
