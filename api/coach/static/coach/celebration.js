/** The modal that celebrates a milestone: confetti once, share, the next step; Esc closes, focus goes back. */

import { h, prefersStillness, svg } from "./dom.js";
import { share } from "./share.js";
import { WORDS } from "./words.js";

const COLOURS = ["#7c3353", "#e3a9c3", "#d9a441", "#5c8a76", "#f4f1ee"];

/**
 * Show `celebrations` (newest first) in one modal inside `root`; `onAction(event, action, type)` hears of its buttons,
 * `onShare` of sharing. Returns a promise that is kept when it is closed.
 */
export function celebrate(root, celebrations, { onAction, onShare }) {
  const [first, ...others] = celebrations;
  const said = h("p", { class: "said", role: "status" });
  const dialog = h(
    "dialog",
    { class: "celebration", "aria-labelledby": "celebrated", "aria-describedby": "celebrated-next" },
    h("canvas", { class: "confetti", "aria-hidden": "true" }),
    h(
      "div",
      { class: "panel" },
      rosette(),
      h("h2", { id: "celebrated", tabindex: "-1" }, first.message),
      others.length > 0 && h("p", { class: "also" }, WORDS.alsoReached, " ", others.map((each) => each.message).join(" ")),
      h("p", { id: "celebrated-next" }, first.nextStep),
      said,
      h(
        "div",
        { class: "buttons" },
        h("a", { class: "button primary", href: first.action.url, onclick: (event) => take(event, first.action) }, first.action.text),
        h("button", { type: "button", class: "button", onclick: () => tell(first) }, WORDS.share),
        h("button", { type: "button", class: "button plain", onclick: () => dialog.close() }, WORDS.carryOn),
      ),
    ),
  );

  function take(event, action) {
    onAction(event, action, first.type);
    dialog.close();
  }

  async function tell(celebration) {
    said.textContent = await share(celebration.message, celebration.shareText);
    onShare(celebration);
  }

  dialog.addEventListener("keydown", keepFocus);
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  root.append(dialog);
  dialog.showModal();
  dialog.querySelector("h2").focus();
  void throwConfetti(dialog.querySelector("canvas"));
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve();
    });
  });
}

/** One burst of confetti on a canvas, none for whoever wants no motion; the library comes only now. */
export async function throwConfetti(canvas, origin = { y: 0.35 }) {
  if (prefersStillness()) return;
  const { create } = await import("./confetti.mjs");
  const cannon = create(canvas, { resize: true, useWorker: false, disableForReducedMotion: true });
  canvas.dataset.thrown = "1";
  await cannon({ particleCount: 120, spread: 75, startVelocity: 38, ticks: 180, origin, colors: COLOURS });
}

/** Tab goes round within the dialog: the browser itself would leave it for the address bar. */
function keepFocus(event) {
  if (event.key !== "Tab") return;
  const stops = [...event.currentTarget.querySelectorAll("a[href], button:not([disabled])")];
  const at = stops.indexOf(event.currentTarget.getRootNode().activeElement);
  const edge = event.shiftKey ? 0 : stops.length - 1;
  if (at !== edge && at !== -1) return;
  if (at === -1 && !event.shiftKey) return;
  event.preventDefault();
  stops[event.shiftKey ? stops.length - 1 : 0].focus();
}

function rosette() {
  const picture = svg("svg", { viewBox: "0 0 64 64", width: 64, height: 64, "aria-hidden": "true", class: "rosette" });
  picture.append(
    svg("path", { d: "M22 38 16 60l16-7 16 7-6-22", class: "ribbon" }),
    svg("circle", { cx: 32, cy: 25, r: 21, class: "disc" }),
    svg("circle", { cx: 32, cy: 25, r: 16, class: "rim" }),
    svg("path", { d: "m24.5 25.5 5 5 10-11", class: "tick" }),
  );
  return picture;
}
