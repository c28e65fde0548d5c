/** The form to book a call: three times to pick in their own zone, or one of their choosing. */

import { Failure } from "./client.js";
import { h } from "./dom.js";
import { localText, momentOf, timeText, zoneOf, zoneText } from "./times.js";
import { WORDS } from "./words.js";

const OTHER = "other";

/**
 * Build the form. `client` books; `zone` is theirs if we know it; `onBooked(call)` and `onBack` are called then.
 * The element comes at once, the times when they are here.
 */
export function callForm(client, zone, { onBooked, onBack }) {
  const shown = zoneOf(zone);
  const times = h("div", { class: "times" }, h("p", { class: "quiet" }, WORDS.loading));
  const problem = h("p", { class: "problem", role: "alert" });
  const submit = h("button", { type: "submit", class: "button primary" }, WORDS.book);
  const key = crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`;
  let openCall = null; // a call that was asked for and has no time yet

  const form = h(
    "form",
    { class: "call", novalidate: true, onsubmit: (event) => void book(event) },
    h("fieldset", {}, h("legend", { tabindex: "-1" }, WORDS.when), h("p", { class: "quiet" }, WORDS.zone(zoneText(shown))), times),
    h(
      "label",
      { class: "field" },
      h("span", {}, WORDS.about),
      h("select", { name: "reason" }, Object.entries(WORDS.reasons).map(([value, text]) => h("option", { value }, text))),
    ),
    h("label", { class: "field" }, h("span", {}, WORDS.notes), h("textarea", { name: "notes", rows: 2, maxlength: 2000 })),
    problem,
    h("div", { class: "buttons" }, submit, h("button", { type: "button", class: "button plain", onclick: onBack }, WORDS.back)),
  );

  function offer(found) {
    const other = h("input", {
      type: "datetime-local",
      name: "own",
      "aria-label": WORDS.otherTimeLabel,
      min: localText(new Date().toISOString(), shown),
      oninput: () => (form.querySelector(`[value=${OTHER}]`).checked = true),
    });
    times.replaceChildren(
      ...found.map((time) => choice(time, timeText(time, shown))),
      choice(OTHER, WORDS.otherTime),
      h("div", { class: "own" }, other),
    );
    if (found.length === 0) times.prepend(h("p", { class: "quiet" }, WORDS.noTimes));
  }

  function chosen() {
    const value = new FormData(form).get("time");
    if (value !== OTHER) return value;
    const own = form.elements.own.value;
    return own ? momentOf(own, shown) : null;
  }

  async function book(event) {
    event.preventDefault();
    const time = chosen();
    problem.textContent = "";
    if (!time) return complain(WORDS.needTime);
    if (Date.parse(time) <= Date.now()) return complain(WORDS.timePast);
    submit.disabled = true;
    submit.textContent = WORDS.booking;
    try {
      const call = await ask(time);
      if (call.confirmed) return onBooked(call);
      openCall = call.id;
      offer(call.proposedTimes);
      complain(call.proposedTimes.length ? WORDS.timeGone : WORDS.asked);
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      const isTime = error.status === 409 || error.status === 422;
      complain(isTime ? WORDS.timeGone : error.status === 429 ? WORDS.tooOften : WORDS.failed);
      if (isTime) await load();
    } finally {
      submit.disabled = false;
      submit.textContent = WORDS.book;
    }
  }

  function ask(time) {
    if (openCall) return client.moveCall(openCall, time);
    const fields = new FormData(form);
    const wish = { preferredTimes: [time], reason: fields.get("reason"), urgency: "medium" };
    if (fields.get("notes").trim()) wish.notes = fields.get("notes").trim();
    return client.scheduleCall(wish, key);
  }

  function complain(words) {
    problem.textContent = words;
  }

  async function load() {
    try {
      offer((await client.callTimes()).times);
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      offer([]); // they can still suggest one
    }
  }

  void load();
  return form;
}

function choice(value, text) {
  return h("label", { class: "choice" }, h("input", { type: "radio", name: "time", value }), h("span", {}, text));
}
