/** What the coach's card shows: each function makes one part of it from the API's answer. `does` are the card's actions. */

import { h, svg } from "./dom.js";
import { timeText, zoneOf } from "./times.js";
import { SPOKEN, WORDS } from "./words.js";

const ROUND = 2 * Math.PI * 15;

/** The parts of the main view, in order: [key, what it is made of, how]. A part whose data is unchanged is left alone. */
export function mainParts({ status, coach }, does) {
  if (!coach) return [["state", status, () => stateWithoutAnswer(status, does)]];
  const parts = [["notice", status, () => notice(status)]];
  if (coach.state === "opted_out") return [...parts, ["off", "off", () => optedOut(does)]];
  if (coach.state === "paused") return [...parts, ["pause", coach.pausedUntil, () => paused(coach, does)]];
  const message = coach.messages[0];
  const tip = message ? null : coach.tip; // one thing at a time
  return [
    ...parts,
    ["message", message, () => message && messagePart(message, does)],
    ["call", [coach.call, coach.callOffer, coach.timezone], () => callPart(coach, does)],
    ["tip", tip, () => tip && tipPart(tip, does)],
    ["quiet", isQuiet(coach), () => isQuiet(coach) && quiet()],
    ["setup", coach.setup, () => setupPart(coach.setup, does)],
    ["more", coach.quickActions, () => coach.quickActions.length > 0 && morePart(coach.quickActions, does)],
    ["milestones", coach.milestones, () => milestonesPart(coach.milestones)],
    ["help", coach.help, () => coach.help && helpPart(coach.help, does)],
    ["footer", "footer", () => footer(does)],
  ];
}

/** What the pill says: what helps most, in a few words. */
export function pillText({ status, coach }) {
  if (!coach) return status === "loading" ? WORDS.loading : WORDS.coach;
  if (coach.state === "opted_out" || coach.state === "paused") return "";
  if (coach.callOffer) return coach.callOffer.text;
  if (coach.messages.length > 0) return coach.messages[0].subject;
  return coach.tip?.action?.text ?? WORDS.steps(coach.setup.done, coach.setup.total);
}

/** The ring around the pill's picture: how much of the setup is done. */
export function ring(percent) {
  const arc = svg("circle", { cx: 18, cy: 18, r: 15, class: "arc", transform: "rotate(-90 18 18)" });
  arc.style.strokeDasharray = `${(ROUND * percent) / 100} ${ROUND}`;
  const picture = svg("svg", { viewBox: "0 0 36 36", width: 36, height: 36, "aria-hidden": "true", class: "pill-ring" });
  picture.append(svg("circle", { cx: 18, cy: 18, r: 15, class: "track" }));
  if (percent > 0) picture.append(arc);
  picture.append(svg("path", { class: "spark", d: "M18 10.5c.9 4.6 2.9 6.6 7.5 7.5-4.6.9-6.6 2.9-7.5 7.5-.9-4.6-2.9-6.6-7.5-7.5 4.6-.9 6.6-2.9 7.5-7.5Z" }));
  return picture;
}

/** The choice of how much to hear. */
export function settingsView(does) {
  return h(
    "section",
    { "aria-labelledby": "settings" },
    h("h3", { id: "settings", tabindex: "-1" }, WORDS.settings),
    h("p", { class: "quiet" }, WORDS.settingsMore),
    h(
      "div",
      { class: "stack" },
      h("button", { type: "button", class: "button", onclick: () => does.consent({ paused: true }) }, WORDS.pause),
      h("button", { type: "button", class: "button", onclick: () => does.consent({ allOptOut: true }) }, WORDS.off),
      h("button", { type: "button", class: "button plain", onclick: does.back }, WORDS.back),
    ),
  );
}

function stateWithoutAnswer(status, does) {
  if (status === "loading") {
    return h(
      "section",
      { "aria-busy": "true", class: "skeleton" },
      h("p", { class: "hidden-text" }, WORDS.loading),
      h("div", {}),
      h("div", {}),
      h("div", { class: "short" }),
    );
  }
  const words = { offline: [WORDS.offlineEmpty], refused: [WORDS.refused] }[status] ?? [WORDS.error, WORDS.errorMore];
  const again = h("button", { type: "button", class: "button", "data-focus": "retry", onclick: does.retry }, WORDS.retry);
  return h("section", {}, h("p", {}, words[0]), words[1] && h("p", { class: "quiet" }, words[1]), again);
}

function notice(status) {
  const words = { offline: WORDS.offline, lost: WORDS.lost, refused: WORDS.refused }[status];
  return words && h("p", { class: "notice" }, words);
}

function optedOut(does) {
  return h(
    "section",
    {},
    h("p", {}, WORDS.optedOut),
    h("p", { class: "quiet" }, WORDS.optedOutMore),
    h("button", { type: "button", class: "button", onclick: () => does.consent({ allOptOut: false, emailOptOut: false }) }, WORDS.switchOn),
  );
}

function paused(coach, does) {
  const day = new Date(coach.pausedUntil).toLocaleDateString(SPOKEN.lang, {
    timeZone: zoneOf(coach.timezone),
    day: "numeric",
    month: "long",
  });
  return h(
    "section",
    {},
    h("p", {}, WORDS.paused(day)),
    h("button", { type: "button", class: "button", onclick: () => does.consent({ paused: false }) }, WORDS.resume),
  );
}

function messagePart(message, does) {
  return h(
    "section",
    { class: "box", "aria-labelledby": "message" },
    h("h3", { id: "message", tabindex: "-1" }, message.subject),
    h("p", { class: "letter" }, message.text),
    h(
      "div",
      { class: "buttons" },
      message.action && link(message.action, "primary", (event) => does.take(event, "message", message.id, message.action.url)),
      h("button", { type: "button", class: "button plain", onclick: () => does.putAway("message", message.id) }, WORDS.notNow),
    ),
  );
}

function callPart({ call, callOffer, timezone }, does) {
  if (call?.startsAt) return h("section", { class: "box calm" }, h("p", {}, WORDS.booked(timeText(call.startsAt, zoneOf(timezone)))));
  if (call) return h("section", { class: "box calm" }, h("p", {}, WORDS.asked));
  if (!callOffer) return null;
  return h(
    "section",
    { class: "box calm", "aria-labelledby": "offer" },
    h("h3", { id: "offer" }, callOffer.text),
    h("p", { class: "quiet" }, callOffer.detail),
    h("button", { type: "button", class: "button", "data-focus": "call", onclick: does.pickTime }, WORDS.pickTime),
  );
}

function helpPart(offer, does) {
  return h(
    "details",
    { class: "fold" },
    h("summary", {}, WORDS.getHelp),
    h("p", {}, offer.text),
    h("p", { class: "quiet" }, offer.detail),
    h("button", { type: "button", class: "button", "data-focus": "call", onclick: does.pickTime }, WORDS.pickTime),
  );
}

function tipPart(tip, does) {
  return h(
    "section",
    { class: "box", "aria-labelledby": "tip" },
    h("h3", { id: "tip", class: "eyebrow", tabindex: "-1" }, tip.action ? WORDS.worthDoing : WORDS.forThisPage),
    h("p", { class: "tip" }, tip.text),
    h(
      "div",
      { class: "buttons" },
      tip.action && link(tip.action, "primary", (event) => does.take(event, "tip", tip.id, tip.action.url)),
      tip.action && tip.minutes && h("span", { class: "quiet minutes" }, WORDS.minutes(tip.minutes)),
      tip.videoUrl && h("a", { class: "button plain", href: tip.videoUrl, target: "_blank", rel: "noopener" }, WORDS.film),
      h("button", { type: "button", class: "button plain end", onclick: () => does.putAway("tip", tip.id) }, WORDS.notNow),
    ),
  );
}

function isQuiet(coach) {
  return !coach.tip && coach.messages.length === 0 && !coach.callOffer && coach.quickActions.length === 0;
}

function quiet() {
  return h("section", {}, h("p", {}, WORDS.quiet), h("p", { class: "quiet" }, WORDS.quietMore));
}

function setupPart(setup, does) {
  const bar = h("div", {
    class: "bar",
    role: "progressbar",
    "aria-label": WORDS.setup,
    "aria-valuenow": setup.percent,
    "aria-valuemin": 0,
    "aria-valuemax": 100,
    "aria-valuetext": WORDS.steps(setup.done, setup.total),
  });
  const filled = h("div", {});
  filled.style.inlineSize = `${setup.percent}%`;
  bar.append(filled);
  const steps = setup.steps.map((step) =>
    h(
      "li",
      { class: step.done ? "done" : "" },
      h("span", { class: "hidden-text" }, `${step.done ? WORDS.stepDone : WORDS.stepOpen}: `),
      step.action ? textLink(step.title, step.action, (event) => does.take(event, "step", step.id, step.action.url)) : h("span", {}, step.title),
    ),
  );
  return h(
    "section",
    { "aria-labelledby": "setup" },
    h("div", { class: "row" }, h("h3", { id: "setup" }, WORDS.setup), h("span", { class: "quiet" }, WORDS.steps(setup.done, setup.total))),
    bar,
    h("details", {}, h("summary", {}, WORDS.allSteps), h("ol", { class: "steps" }, steps)),
  );
}

function morePart(actions, does) {
  return h(
    "details",
    { class: "fold" },
    h("summary", {}, WORDS.more),
    h(
      "ul",
      { class: "actions" },
      actions.map((each) =>
        h(
          "li",
          {},
          h("p", {}, h("strong", {}, each.title), " ", h("span", { class: "quiet" }, WORDS.minutes(each.minutes))),
          h("p", { class: "quiet" }, each.description),
          link(each.action, "small", (event) => does.take(event, "tip", each.id, each.action.url)),
        ),
      ),
    ),
  );
}

function milestonesPart(milestones) {
  return h(
    "details",
    { class: "fold" },
    h("summary", {}, WORDS.milestones, " ", h("span", { class: "quiet" }, `${milestones.filter((each) => each.achieved).length}/${milestones.length}`)),
    h(
      "div",
      { class: "cards" },
      milestones.map((each) => {
        const card = document.createElement("milestone-card");
        card.milestone = each;
        return card;
      }),
    ),
  );
}

function footer(does) {
  return h("footer", {}, h("button", { type: "button", class: "link", "data-focus": "settings", onclick: does.settings }, WORDS.tipsAndMessages));
}

function link(action, look, onclick) {
  return h("a", { class: `button ${look}`, href: action.url, onclick }, action.text);
}

function textLink(text, action, onclick) {
  return h("a", { href: action.url, onclick }, text);
}
