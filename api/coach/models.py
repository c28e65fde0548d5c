"""What the coach's endpoints answer and take, in camelCase on the wire.

No answer holds a risk level or a score: suppliers see steps done and what helps.
"""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import Field, model_validator

from api.models import Answer, Asked
from topics.envelope import Milestone

State = Literal["ready", "quiet", "paused", "opted_out"]
Kind = Literal[
    "tip_shown",
    "tip_clicked",
    "tip_dismissed",
    "message_opened",
    "message_clicked",
    "message_dismissed",
    "milestone_celebrated",
    "milestone_shared",
]


class Action(Answer):
    """A button: `url` is an address of the host's own, beginning with `/`."""

    text: str
    url: str


class Tip(Answer):
    """The one thing worth saying now."""

    id: str
    text: str
    category: Literal["onboarding", "engagement", "growth"]
    action: Action | None
    minutes: int | None = Field(description="What the action takes.")
    video_url: str | None


class QuickAction(Answer):
    """Something else that helps, most gain for the least effort first."""

    id: str
    title: str
    description: str
    action: Action
    minutes: int
    priority: Literal["high", "medium", "low"]


class Step(Answer):
    """A step of setting up."""

    id: str
    title: str
    done: bool
    action: Action | None


class Setup(Answer):
    """How much of the setup is done: steps, not a grade."""

    percent: int = Field(ge=0, le=100)
    done: int
    total: int
    steps: list[Step]


class MilestoneProgress(Answer):
    """A milestone, reached or on the way; takes the shape that `<milestone-card>` shows."""

    type: Milestone
    title: str
    achieved: bool
    achieved_at: str | None
    progress: int = Field(ge=0, le=100, description="Percent, as steps done.")
    next_step: str
    action: Action


class Celebration(Answer):
    """A milestone to celebrate now."""

    type: Milestone
    message: str
    achieved_at: str
    next_step: str
    action: Action
    share_text: str


class CallOffer(Answer):
    """An offer of a call; `/call-times` gives times to pick."""

    text: str
    detail: str
    message_id: UUID | None = Field(description="The message that offers it, if one was written.")


class Call(Answer):
    """A call that they asked for; `startsAt` is null while it has no time."""

    id: UUID | None
    starts_at: str | None


class Message(Answer):
    """A message for them, shown until they use it or put it away."""

    id: UUID
    subject: str
    text: str
    action: Action | None


class Coach(Answer):
    """All that the coach shows; `cursor` names this very content: as `Last-Event-ID` it brings what comes next."""

    state: State
    lang: str = Field(default="en-GB", description="Language tag (BCP 47) of what is said here.")
    paused_until: str | None
    first_name: str | None
    timezone: str | None = Field(description="IANA name of their zone, if we know it.")
    tip: Tip | None
    quick_actions: list[QuickAction]
    setup: Setup
    milestones: list[MilestoneProgress]
    celebrations: list[Celebration] = Field(description="Not yet celebrated in the coach, newest first.")
    messages: list[Message]
    call_offer: CallOffer | None
    help: CallOffer | None = Field(
        default=None, description="The same offer while setup comes first: it waits under Get help."
    )
    call: Call | None
    cursor: str = ""


class CallTimes(Answer):
    """Free times for a call: `minutes` long, RFC 3339."""

    times: list[str]
    timezone: str | None
    minutes: int


class Feedback(Asked):
    """What they did with something that the coach showed; `id` is that of the tip (or action), message or milestone."""

    kind: Kind
    id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    page: str | None = Field(
        default=None, max_length=2000, description="Where they were; its first part is kept."
    )

    @model_validator(mode="after")
    def _fits(self) -> Feedback:
        subject = self.kind.partition("_")[0]
        if subject == "message":
            try:
                UUID(self.id)
            except ValueError:
                raise ValueError("the id of a message is a UUID") from None
        return self
