"""What a change would have meant, in one sentence that is true of 0, 1 and many."""

from __future__ import annotations

from datetime import datetime, timedelta

from replay.what_if.compare import Comparison

_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")


def sentence(comparison: Comparison) -> str:
    """`Over 60 days 312 suppliers would have had 41 messages more and 9 fewer; …`, without a word of what stays."""
    base = comparison.base
    if not base.suppliers:
        return "There is nobody in this log, so nothing would have been otherwise."
    since, until = (datetime.fromisoformat(text) for text in (comparison.since, comparison.until))
    days = max(1, round((until - since) / timedelta(days=1)))
    span = "Over one day" if days == 1 else f"Over {days:,} days"
    who = _counted(base.suppliers, "supplier")
    if not comparison.differs:
        return f"{span} nothing would have been otherwise for {who}."
    parts = [f"{span} {who} would have had {_messages(comparison)}"]
    parts += _never_sent(comparison)
    moved = sum(row["suppliers"] for row in comparison.moved if row["base"] != row["what_if"])
    if moved:
        parts.append(f"{moved:,} would have ended at another level")
    parts.append(_warned(comparison))
    if comparison.base.most_a_week or comparison.what_if.most_a_week:
        parts.append(_most(comparison))
    return "; ".join(parts) + "."


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _messages(comparison: Comparison) -> str:
    added = sum(row["added"] for row in comparison.interventions)
    removed = sum(row["removed"] for row in comparison.interventions)
    if added and removed:
        return f"{_counted(added, 'message')} more and {removed:,} fewer"
    if added or removed:
        return f"{_counted(added or removed, 'message')} {'more' if added else 'fewer'}"
    return "the same messages" if comparison.base.sent else "no messages, as before"


def _never_sent(comparison: Comparison) -> list[str]:
    """Of each new kind of which nobody would have got one, how many were due and what kept them back."""
    found: dict[str, list[str]] = {}
    for row in comparison.never_sent:
        reason = f"{row['messages']:,} {row['reason'].replace('_', ' ')}"
        found.setdefault(row["trigger"], []).append(reason)
    return [f"none of {trigger}, which was due ({', '.join(reasons)})" for trigger, reasons in found.items()]


def _warned(comparison: Comparison) -> str:
    """How many of those who left would have been seen coming."""
    left, before, after = comparison.base.cancellations, comparison.base.warned, comparison.what_if.warned
    if not left:
        return "nobody left in that time"
    if left == 1 and before == after:
        return f"the one who left would {'' if after else 'not '}have been warned of, as before"
    if left == 1:
        return f"the one who left would {'' if after else 'no longer '}have been warned of"
    if before == after:
        return f"as many would have been warned of before they left ({after:,} of {left:,})"
    more = "more" if after > before else "fewer"
    return f"{abs(after - before):,} {more} of the {left:,} who left would have been warned of"


def _most(comparison: Comparison) -> str:
    """How many messages the one with the most would have had in seven days."""
    before, after = comparison.base.most_a_week, comparison.what_if.most_a_week
    if after > before:
        had = f"somebody would have had {_counted(after, 'message')} in a week"
        return f"{had}, where {before:,} {'was' if before == 1 else 'were'} the most" if before else had
    if not after:
        return "nobody would have had any"
    if after < len(_ORDINALS):
        return f"nobody would have had a {_ORDINALS[after]} message in a week"
    return f"nobody would have had more than {after:,} messages in a week"
