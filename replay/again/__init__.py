"""The log once more: the live code over what was read, with nothing that could send; tables of what it finds."""
