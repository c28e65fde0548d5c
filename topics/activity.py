"""What suppliers do: the public models of every event on `supplier.activity`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from topics.envelope import CloudEvent, Milestone, Model, Plan, Text, WholeNumber

MAX_CLIENT_IDS = 10_000

FormId = Annotated[Text, Field(description="Id of the form.")]
ClientId = Annotated[Text, Field(description="Id of the supplier's client.")]
JourneyId = Annotated[Text, Field(description="Id of the journey (an automation).")]


class NoData(Model):
    """Nothing is read from this event's data; it may be absent."""


class SignUp(Model):
    """Data of a sign-up."""

    plan: Plan | None = Field(default=None, description="Plan signed up to.")


class Cancellation(Model):
    """Data of a cancellation."""

    reason: Text | None = Field(default=None, description="The supplier's own reason.")


class Form(Model):
    """Data about a form."""

    form_id: FormId


class FormOfClient(Form):
    """Data about a form sent to or completed by a client."""

    client_id: ClientId | None = None


class Client(Model):
    """Data about a client."""

    client_id: ClientId


class Import(Model):
    """Data of an import: `client_id`, `client_ids` or both (then their union)."""

    client_id: ClientId | None = None
    client_ids: Annotated[list[ClientId], Field(min_length=1, max_length=MAX_CLIENT_IDS)] | None = Field(
        default=None, description="Ids of the clients imported, 1 to 10,000."
    )

    @model_validator(mode="after")
    def _names_a_client(self) -> Self:
        if self.client_id is None and self.client_ids is None:
            raise PydanticCustomError("missing_field", "neither client_id nor client_ids is there")
        return self


class Journey(Model):
    """Data about a journey."""

    journey_id: JourneyId


class JourneyEmail(Journey):
    """Data about an email that a journey sent."""

    message_id: Text = Field(description="Id of the email message.")
    client_id: ClientId | None = None


class Template(Model):
    """Data about a template."""

    template_id: Text = Field(description="Id of the template used.")


class Payment(Model):
    """Data about a payment received."""

    payment_id: Text = Field(description="Id of the payment.")
    amount_minor: WholeNumber = Field(
        ge=0, le=2**63 - 1, description="Amount in the currency's minor unit (pence, cents)."
    )
    currency: str = Field(
        min_length=3, max_length=3, pattern=r"^[A-Z]{3}$", description="ISO 4217 code, such as GBP."
    )


class PlanChange(Model):
    """Data of a change of plan."""

    plan: Plan = Field(description="The new plan.")


class MilestoneReport(Model):
    """Data of a milestone that a service reports for the supplier."""

    milestone: Milestone = Field(description="Awarded like the event it stands for.")


class Consent(Model):
    """Data of an opt-out or opt-in."""

    scope: Literal["email", "all"] = Field(
        description="`email`: our emails only; `all`: every message from us."
    )


class SignedUp(CloudEvent):
    """A supplier signed up: starts onboarding. Only the first counts, later ones set the plan."""

    type: Literal["supplier.signed_up"]
    data: SignUp | None = None


class LoggedIn(CloudEvent):
    """A supplier logged in."""

    type: Literal["supplier.logged_in"]
    data: NoData | None = None


class Cancelled(CloudEvent):
    """A supplier cancelled: no interventions from here on, signals go on."""

    type: Literal["supplier.cancelled"]
    data: Cancellation | None = None


class Reactivated(CloudEvent):
    """A cancelled supplier came back."""

    type: Literal["supplier.reactivated"]
    data: NoData | None = None


class FormCreated(CloudEvent):
    """A form was created (key feature `forms_created`)."""

    type: Literal["form.created"]
    data: Form


class FormSent(CloudEvent):
    """A form was sent to a client."""

    type: Literal["form.sent"]
    data: FormOfClient


class FormCompleted(CloudEvent):
    """A client completed a form (client activity)."""

    type: Literal["form.completed"]
    data: FormOfClient


class ClientImported(CloudEvent):
    """One or more clients were imported (key feature `clients_imported`)."""

    type: Literal["client.imported"]
    data: Import


class ClientActive(CloudEvent):
    """A client did something (client activity)."""

    type: Literal["client.active"]
    data: Client


class ClientRemoved(CloudEvent):
    """A client was removed and is forgotten."""

    type: Literal["client.removed"]
    data: Client


class JourneyCreated(CloudEvent):
    """A journey was created (key feature `journeys_created`)."""

    type: Literal["journey.created"]
    data: Journey


class JourneyActivated(CloudEvent):
    """A journey was switched on: an active journey is an automation."""

    type: Literal["journey.activated"]
    data: Journey


class JourneyDeactivated(CloudEvent):
    """A journey was switched off."""

    type: Literal["journey.deactivated"]
    data: Journey


class JourneyEmailSent(CloudEvent):
    """A journey sent an email to a client."""

    type: Literal["journey.email_sent"]
    data: JourneyEmail


class JourneyEmailOpened(CloudEvent):
    """A client opened a journey's email (client activity); published for a message's first open only."""

    type: Literal["journey.email_opened"]
    data: JourneyEmail


class TemplateUsed(CloudEvent):
    """A template was used (key feature `templates_used`)."""

    type: Literal["template.used"]
    data: Template


class PaymentReceived(CloudEvent):
    """A payment arrived for the supplier."""

    type: Literal["payment.received"]
    data: Payment


class PlanChanged(CloudEvent):
    """The supplier's plan changed."""

    type: Literal["plan.changed"]
    data: PlanChange


class MilestoneReported(CloudEvent):
    """A service reports a milestone."""

    type: Literal["milestone.reported"]
    data: MilestoneReport


class OptedOut(CloudEvent):
    """The supplier asked us to stop writing."""

    type: Literal["communication.opted_out"]
    data: Consent


class OptedIn(CloudEvent):
    """The supplier lets us write again."""

    type: Literal["communication.opted_in"]
    data: Consent


ActivityModel = Annotated[
    SignedUp
    | LoggedIn
    | Cancelled
    | Reactivated
    | FormCreated
    | FormSent
    | FormCompleted
    | ClientImported
    | ClientActive
    | ClientRemoved
    | JourneyCreated
    | JourneyActivated
    | JourneyDeactivated
    | JourneyEmailSent
    | JourneyEmailOpened
    | TemplateUsed
    | PaymentReceived
    | PlanChanged
    | MilestoneReported
    | OptedOut
    | OptedIn,
    Field(discriminator="type"),
]
"""Any event on `supplier.activity`."""
