"""The API, measured."""
