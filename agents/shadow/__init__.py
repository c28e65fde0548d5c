"""The shadow: live signals in; what another policy would have decided out, into tables of its own. It can't send."""
