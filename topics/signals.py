"""What we say about suppliers: the public models of every event on the `success.*` topics."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from topics.envelope import CloudEvent, Model, Plan, Text, Timestamp

Level = Literal["critical", "at_risk", "healthy"]
Component = Literal[
    "loginFrequency", "featureAdoption", "clientActivity", "formCompletion", "journeyPerformance"
]
Name = Annotated[
    str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$", description="A name that the rules in force give.")
]
ConfigVersion = Annotated[
    int, Field(ge=0, description="Number of the configuration whose rules brought this about; 0: as shipped.")
]
Count = Annotated[int, Field(ge=0)]
Ratio = Annotated[float, Field(ge=0, le=1)]
Sum = Annotated[float, Field(ge=0, le=100, description="Sum of the points, unrounded.")]
Score = Annotated[int, Field(ge=0, le=100, description="Displayed score: floor(sum + 0.5).")]
Probability = Annotated[
    float, Field(ge=0, le=1, description="Estimated probability that the supplier cancels, 0 to 1.")
]
Seq = Annotated[
    int,
    Field(ge=0, description="Counts the supplier's evaluations: orders changes, risk changes and snapshots."),
]


class Cause(Model):
    """One step of a change of points; the steps add up exactly."""

    component: Component
    before: float = Field(description="Points before.")
    after: float = Field(description="Points after.")
    event: Text = Field(
        description="Id of the activity event, `time`, `rules:<version>`, or `earlier` where steps were merged."
    )


class Breakdown(Model):
    """Points of each component; they add up to the unrounded sum."""

    loginFrequency: float = Field(ge=0, le=100, description="Points; at most 30 as shipped.")  # noqa: N815 - as specified
    featureAdoption: float = Field(ge=0, le=100, description="Points; at most 25 as shipped.")  # noqa: N815
    clientActivity: float = Field(ge=0, le=100, description="Points; at most 25 as shipped.")  # noqa: N815
    formCompletion: float = Field(ge=0, le=100, description="Points; at most 10 as shipped.")  # noqa: N815
    journeyPerformance: float = Field(ge=0, le=100, description="Points; at most 10 as shipped.")  # noqa: N815


class RiskChange(Model):
    """Data of a change of risk level."""

    previous: Level | None = Field(description="Level before; null at the first evaluation.")
    level: Level = Field(description="Level from here on.")
    score: Score
    sum: Sum
    breakdown: Breakdown
    causes: list[Cause] = Field(description="What changed the points since the previous risk change.")
    churn_probability: Probability
    signed_up_at: Timestamp | None = Field(description="Sign-up, as far as known: onboarding counts from it.")
    seq: Seq
    config_version: ConfigVersion = 0
    cause: Text | None = Field(
        default=None,
        description="`rules:<version>` where a change of rules brought it about: nothing is sent for it.",
    )


class MilestoneAchievement(Model):
    """Data of a milestone."""

    milestone: Name
    seq: Seq
    cause_type: Text = Field(
        description="Type of the activity event that achieved it; `rules:<version>` where a change of rules did."
    )
    config_version: ConfigVersion = 0


class ConditionOccurrence(Model):
    """Data of a condition."""

    condition: Name
    occurrence: int = Field(
        ge=1, description="How many times this condition has been met, this one included."
    )
    seq: Seq
    level: Level = Field(description="Risk level at this moment.")
    config_version: ConfigVersion = 0


class Metrics(Model):
    """The five metrics of the score."""

    loginFrequency: int = Field(  # noqa: N815
        ge=0, le=999, description="Whole days since the last login; 999 if never."
    )
    featureAdoption: Ratio = Field(description="Key features ever used / all of them (4 as shipped).")  # noqa: N815
    clientActivity: Ratio = Field(description="Clients active in 30 days / known clients.")  # noqa: N815
    formCompletion: Ratio = Field(description="Forms completed / sent, at most 1.")  # noqa: N815
    journeyPerformance: Ratio = Field(  # noqa: N815
        description="Journey emails opened / sent on the last 30 UTC dates, at most 1."
    )


class Clients(Model):
    """Counts of clients."""

    known: Count = Field(description="Clients imported or once active, not removed.")
    active: Count = Field(description="Those with activity in the last 30 days.")


class Forms(Model):
    """Counts of forms over all time."""

    created: Count
    sent: Count
    completed: Count


class Journeys(Model):
    """Counts of journeys and their emails."""

    active: Count = Field(description="Journeys switched on.")
    sent: Count = Field(description="Emails sent on the last 30 UTC dates.")
    opened: Count = Field(description="Emails opened on the last 30 UTC dates.")


class ConsentState(Model):
    """What the supplier lets us send."""

    email_opt_out: bool
    email_at: Timestamp | None = Field(description="Newest opt-out or opt-in of scope `email`.")
    all_opt_out: bool
    all_at: Timestamp | None = Field(description="Newest opt-out or opt-in of scope `all`.")


class HealthChange(Model):
    """One change of the displayed score or of the level."""

    id: Text = Field(description="Follows from supplier and `seq`: upsert by either.")
    at: Timestamp
    seq: Seq
    score: Score
    level: Level
    causes: list[Cause]


class HealthSnapshot(Model):
    """Data of a snapshot: all that readers need of a supplier's health without the log."""

    seq: Seq
    calculated_at: Timestamp = Field(description="The supplier's clock that all of this is as of.")
    score: Score
    sum: Sum
    level: Level
    breakdown: Breakdown
    metrics: Metrics
    features: list[Name] = Field(description="Key features ever used, sorted.")
    clients: Clients
    forms: Forms
    journeys: Journeys
    last_login: Timestamp | None
    signed_up_at: Timestamp | None
    plan: Plan | None
    consent: ConsentState
    cancelled: bool
    cancelled_at: Timestamp | None
    last_goals: dict[str, Timestamp] = Field(description="Time of the newest goal event by type.")
    goals: dict[str, list[Timestamp]] = Field(
        default_factory=dict,
        description="Times of the goal events since the last snapshot, by type, as they came.",
    )
    next_change_at: Timestamp | None = Field(description="When silence alone will change the sum.")
    next_level_if_silent: Level | None = Field(description="Level that silence alone will lead to.")
    next_level_at: Timestamp | None = Field(description="When it will.")
    churn_probability: Probability
    churn_signals: dict[str, float] = Field(
        default_factory=dict,
        description="What the churn model looked at, by signal, -1 to 1 (docs/churn.md).",
    )
    numbers: dict[str, float | bool | str | None] = Field(
        default_factory=dict, description="Every number and text that the rules in force compare, by name."
    )
    times: dict[str, Timestamp] = Field(
        default_factory=dict, description="Every time that the rules in force count from, by name."
    )
    conditions: dict[str, int] = Field(
        default_factory=dict, description="How often each condition has been met so far, by name."
    )
    config_version: ConfigVersion = 0
    changes: list[HealthChange] = Field(description="Changes since the last snapshot, oldest first.")


class InterventionChange(Model):
    """Data of a change of an intervention's status, or of feedback on it."""

    intervention_id: Text = Field(description="Id of the row in `success_interventions`.")
    trigger: Text = Field(description="Trigger of the policy, such as `no_login_7_days`.")
    channel: Literal["email", "in_app_notification", "support_call"]
    template: Text | None = Field(default=None, description="Template used.")
    status: Literal["scheduled", "sending", "sent", "suppressed", "failed", "unknown"] = Field(
        description="Status of the intervention after this event."
    )
    reason: Text | None = Field(default=None, description="Why it is not sent.")
    signal_id: Text | None = Field(default=None, description="Id of the signal it answers.")


class CallChange(Model):
    """Data of what became of a call with a support agent."""

    call_id: Text = Field(description="Id of the row in `support_interactions`.")
    intervention_id: Text | None = Field(description="The intervention that offered the call, if one did.")
    channel: Literal["support_call"]
    interaction_type: Text = Field(
        description="onboarding_call, technical_support, check_in, churn_prevention."
    )
    status: Literal["scheduled", "completed", "cancelled", "no_show"] = Field(
        description="Status of the call after this event."
    )
    scheduled_at: Timestamp | None = Field(description="When it begins; null while no time is confirmed.")
    urgency: Literal["low", "medium", "high"] | None
    outcome: Literal["resolved", "escalated", "follow_up_needed"] | None
    satisfaction_score: Annotated[int, Field(ge=1, le=5)] | None


class CoachFeedback(Model):
    """Data of what a supplier did with a tip or a celebration that the coach showed."""

    channel: Literal["in_app_notification"]
    item: Text = Field(description="Id of the tip, of the recommendation, or type of the milestone.")
    page: Text | None = Field(description="The part of the product they were in, such as `forms`.")


class RiskChanged(CloudEvent):
    """A supplier's risk level changed; the first evaluation included."""

    type: Literal["success.risk.changed"]
    data: RiskChange


class MilestoneAchieved(CloudEvent):
    """A supplier achieved a milestone; once each, ever."""

    type: Literal["success.milestone.achieved"]
    data: MilestoneAchievement


class ConditionMet(CloudEvent):
    """A condition that interventions wait for is met."""

    type: Literal["success.condition.met"]
    data: ConditionOccurrence


class HealthUpdated(CloudEvent):
    """A snapshot of a supplier's health: upsert by `seq`."""

    type: Literal["success.health.updated"]
    data: HealthSnapshot


class InterventionChanged(CloudEvent):
    """An intervention changed its status, or feedback or a call came of it; marketing automation listens here."""

    type: str = Field(
        pattern=r"^success\.intervention\.[a-z_]+$",
        description=(
            "`success.intervention.` and a status (scheduled, sent, suppressed, failed, unknown) "
            "or feedback (opened, clicked, converted, …), or of a call call_requested, call_scheduled, "
            "call_rescheduled, call_cancelled, call_completed, call_no_show, or of the coach tip_shown, "
            "tip_clicked, tip_dismissed, milestone_celebrated, milestone_shared."
        ),
    )
    data: InterventionChange | CallChange | CoachFeedback
