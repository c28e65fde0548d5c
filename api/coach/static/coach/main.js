/** Defines the elements; importing it twice does no harm. */

import { MilestoneCard } from "./milestone-card.js";
import { SuccessCoach } from "./success-coach.js";

if (!customElements.get("milestone-card")) customElements.define("milestone-card", MilestoneCard);
if (!customElements.get("success-coach")) customElements.define("success-coach", SuccessCoach);

export { MilestoneCard, SuccessCoach };
