/** `<milestone-card>`: how far a milestone is, what comes next, and a small celebration once it is reached. */

import { throwConfetti } from "./celebration.js";
import { adopt, h, svg, upgradeProperties } from "./dom.js";
import { share } from "./share.js";
import { BASE, MILESTONE_CARD } from "./styles.js";
import { WORDS } from "./words.js";

const ROUND = 2 * Math.PI * 20;

/** A type for people, where the page gave no title: "of_a_kind" is "Of a kind". */
const inWords = (type) => type.charAt(0).toUpperCase() + type.slice(1).replaceAll("_", " ");

/**
 * Property `milestone`: { type, achieved, progress (percent), nextStep, title?, action?: {text, url}, shareText? };
 * as an attribute it is JSON. Events, which bubble: `celebrate` (also `onCelebrate`, a property) with the milestone when it
 * is reached before their eyes or they press the button, `success-action` (can be prevented) when they take the next step.
 */
export class MilestoneCard extends HTMLElement {
  static observedAttributes = ["milestone"];
  #milestone = null;

  connectedCallback() {
    upgradeProperties(this, ["milestone", "onCelebrate"]);
    if (!this.shadowRoot) {
      this.attachShadow({ mode: "open" });
      adopt(this.shadowRoot, BASE, MILESTONE_CARD);
    }
    this.#render();
  }

  attributeChangedCallback(_name, _before, text) {
    try {
      this.milestone = text ? JSON.parse(text) : null;
    } catch {
      console.warn("milestone-card: the attribute `milestone` is not JSON; set the property instead");
    }
  }

  get milestone() {
    return this.#milestone;
  }

  set milestone(milestone) {
    const before = this.#milestone;
    this.#milestone = milestone;
    this.#render();
    if (this.shadowRoot && before && !before.achieved && milestone?.achieved && before.type === milestone.type) {
      this.celebrate();
    }
  }

  /** Throw confetti and say so. */
  celebrate() {
    this.dispatchEvent(new CustomEvent("celebrate", { detail: { milestone: this.#milestone }, bubbles: true, composed: true }));
    this.onCelebrate?.(this.#milestone);
    const canvas = this.shadowRoot.querySelector("canvas");
    if (canvas) void throwConfetti(canvas, { y: 0.7 });
  }

  #render() {
    if (!this.shadowRoot) return;
    const milestone = this.#milestone;
    this.shadowRoot.replaceChildren();
    if (!milestone) return;
    const percent = Math.round(Math.max(0, Math.min(100, milestone.achieved ? 100 : (milestone.progress ?? 0))));
    const title = milestone.title ?? inWords(milestone.type ?? "");
    this.shadowRoot.append(
      h(
        "article",
        { class: milestone.achieved ? "reached" : "", "aria-labelledby": "title" },
        h("canvas", { class: "confetti", "aria-hidden": "true" }),
        this.#ring(percent, title, milestone.achieved),
        h(
          "div",
          { class: "text" },
          h("h3", { id: "title" }, title),
          h("p", {}, milestone.achieved ? `${WORDS.reached}. ` : "", milestone.nextStep ?? ""),
          h("p", { class: "said", role: "status" }),
          h("div", { class: "buttons" }, milestone.achieved ? this.#achievedButtons(title) : this.#nextButton()),
        ),
      ),
    );
  }

  #ring(percent, title, achieved) {
    const picture = svg("svg", { viewBox: "0 0 48 48", width: 48, height: 48, "aria-hidden": "true" });
    const arc = svg("circle", { cx: 24, cy: 24, r: 20, class: "arc", transform: "rotate(-90 24 24)" });
    arc.style.strokeDasharray = `${(ROUND * percent) / 100} ${ROUND}`;
    picture.append(svg("circle", { cx: 24, cy: 24, r: 20, class: "track" }));
    if (percent > 0) picture.append(arc);
    if (achieved) picture.append(svg("path", { d: "m16 24.5 6 6 11-13", class: "tick" }));
    return h(
      "div",
      { class: "ring", role: "progressbar", "aria-label": title, "aria-valuenow": percent, "aria-valuemin": 0, "aria-valuemax": 100 },
      picture,
      !achieved && h("span", { "aria-hidden": "true" }, WORDS.percent(percent)),
    );
  }

  #achievedButtons(title) {
    const text = this.#milestone.shareText ?? `${title}: ${WORDS.reached.toLowerCase()}.`;
    const tell = async () => {
      this.shadowRoot.querySelector(".said").textContent = await share(title, text);
    };
    return [
      h("button", { type: "button", class: "button small", onclick: () => this.celebrate() }, WORDS.celebrate),
      h("button", { type: "button", class: "button small plain", onclick: tell }, WORDS.share),
    ];
  }

  #nextButton() {
    const action = this.#milestone.action;
    if (!action) return null;
    const take = (event) => {
      const detail = { kind: "milestone", id: this.#milestone.type, url: action.url };
      const goes = this.dispatchEvent(new CustomEvent("success-action", { detail, bubbles: true, composed: true, cancelable: true }));
      if (!goes) event.preventDefault();
    };
    return h("a", { class: "button small", href: action.url, onclick: take }, action.text);
  }
}
