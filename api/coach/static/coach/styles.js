/** Style sheets of the elements. A host themes them with the custom properties `--success-*`, set on any ancestor. */

const LIGHT = `
  --card: var(--success-surface, #ffffff) !important;
  --calm: var(--success-surface-calm, #f7f3ef) !important;
  --ink: var(--success-text, #2b2a29) !important;
  --quiet: var(--success-text-quiet, #59554f) !important;
  --accent: var(--success-accent, #7c3353) !important;
  --on-accent: var(--success-on-accent, #ffffff) !important;
  --line: var(--success-line, #d9d2cb) !important;
  --shadow: 0 1px 2px rgb(43 42 41 / 12%), 0 8px 28px rgb(43 42 41 / 16%) !important;
  color-scheme: light !important;
`;
const DARK = `
  --card: var(--success-surface, #22201f) !important;
  --calm: var(--success-surface-calm, #2d2a28) !important;
  --ink: var(--success-text, #e9e5e1) !important;
  --quiet: var(--success-text-quiet, #b9b2ab) !important;
  --accent: var(--success-accent, #e3a9c3) !important;
  --on-accent: var(--success-on-accent, #2b0f1c) !important;
  --line: var(--success-line, #45403c) !important;
  --shadow: 0 1px 2px rgb(0 0 0 / 40%), 0 8px 28px rgb(0 0 0 / 50%) !important;
  color-scheme: dark !important;
`;

/** What both elements would inherit. */
const TYPE = `font: 400 16px/1.5 var(--success-font, -apple-system, BlinkMacSystemFont, "Segoe UI", Roboto, Helvetica, Arial, sans-serif) !important; color: var(--ink) !important; direction: ltr !important; letter-spacing: normal !important; word-spacing: normal !important; text-align: start !important; text-transform: none !important; text-indent: 0 !important; text-shadow: none !important; white-space: normal !important; word-break: normal !important; writing-mode: horizontal-tb !important; visibility: visible !important; cursor: auto !important;`;

/** First of the coach's sheets: nothing that a page says of the element holds. A page lays its milestone cards out itself. */
export const RESET = ":host { all: initial !important; }";

/** Colours, type, buttons: what both elements share.

    Within a shadow tree `!important` goes before everything that a page says of the element, `!important` or not: what
    the element inherits begins here, so that a page's reset, spacing or direction does not come in. */
export const BASE = `
:host { ${LIGHT} --round: var(--success-radius, 14px) !important; ${TYPE} }
@media (prefers-color-scheme: dark) { :host { ${DARK} } }
:host([theme="light"]) { ${LIGHT} }
:host([theme="dark"]) { ${DARK} }
:host([hidden]), [hidden] { display: none !important; }
*, *::before, *::after { box-sizing: border-box; }
h2, h3, p, ol, ul, fieldset, legend { margin: 0; padding: 0; border: 0; }
fieldset { min-inline-size: 0; } /* else the field for a day and a time makes it wider than a phone */
h2 { font: 400 22px/1.3 var(--success-font-heading, Georgia, "Times New Roman", serif); }
h3, legend { font-size: 16px; font-weight: 600; line-height: 1.4; }
h2:focus, h3:focus, legend:focus { outline: none; }
ol, ul { list-style: none; }
.quiet { color: var(--quiet); font-size: 14px; }
.hidden-text { position: absolute; inline-size: 1px; block-size: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.buttons { display: flex; flex-wrap: wrap; align-items: center; gap: 8px; }
.button { display: inline-flex; align-items: center; justify-content: center; min-block-size: 44px; padding: 8px 18px; border: 1.5px solid var(--accent); border-radius: 10px; background: transparent; color: var(--accent); font: inherit; font-weight: 600; line-height: 1.25; text-align: center; text-decoration: none; cursor: pointer; }
.button.primary { background: var(--accent); color: var(--on-accent); }
.button.plain { border-color: transparent; padding-inline: 12px; font-weight: 500; }
.button.small { padding: 6px 14px; font-size: 15px; }
.button:hover { text-decoration: underline; text-underline-offset: 3px; }
.button:disabled { opacity: 0.6; cursor: default; }
.button:focus-visible, a:focus-visible, summary:focus-visible, button:focus-visible, input:focus-visible, select:focus-visible, textarea:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
@media (forced-colors: active) { .button, .pill, .card, article { border: 1px solid ButtonText; } }
`;

export const COACH = `
:host { position: fixed !important; inset-block-end: max(var(--success-offset-y, 16px), env(safe-area-inset-bottom)) !important; inset-inline-end: max(var(--success-offset-x, 16px), env(safe-area-inset-right)) !important; z-index: var(--success-z-index, 2147483000) !important; max-inline-size: calc(100vw - 2 * var(--success-offset-x, 16px)) !important; pointer-events: none !important; }
.pill, .card { pointer-events: auto; }

.pill { display: flex; align-items: center; gap: 10px; margin-inline-start: auto; min-block-size: 52px; max-inline-size: 100%; padding: 7px 18px 7px 8px; border: 1px solid var(--line); border-radius: 26px; background: var(--card); color: var(--ink); font: inherit; font-size: 15px; font-weight: 600; line-height: 1.25; text-align: start; box-shadow: var(--shadow); cursor: pointer; transition: opacity 0.15s; }
.pill:hover span { text-decoration: underline; text-underline-offset: 3px; }
.pill.wordless { padding-inline-end: 8px; }
.pill.wordless span { display: none; }
.pill.aside { opacity: 0; visibility: hidden; }
.pill-ring { flex: none; }
.pill-ring circle { fill: none; stroke-width: 3; }
.pill-ring .track { stroke: var(--line); }
.pill-ring .arc { stroke: var(--accent); stroke-linecap: round; transition: stroke-dasharray 0.4s; }
.pill-ring .spark { fill: var(--accent); }
:host([data-state="offline"]) .pill-ring, :host([data-state="lost"]) .pill-ring, :host([data-state="opted_out"]) .pill-ring, :host([data-state="paused"]) .pill-ring { opacity: 0.55; }

.card { display: flex; flex-direction: column; inline-size: 376px; max-inline-size: 100%; max-block-size: min(680px, calc(100dvh - 2 * var(--success-offset-y, 16px))); border: 1px solid var(--line); border-radius: var(--round); background: var(--card); box-shadow: var(--shadow); overflow: hidden; }
header { flex: none; display: flex; align-items: center; justify-content: space-between; gap: 8px; padding: 12px 8px 0 20px; }
.shut { flex: none; display: grid; place-items: center; inline-size: 44px; block-size: 44px; border: 0; border-radius: 10px; background: transparent; color: var(--quiet); font: 400 26px/1 inherit; font-size: 26px; cursor: pointer; }
.shut:hover { color: var(--ink); }
.body { display: flex; flex-direction: column; gap: 18px; padding: 6px 20px 12px; overflow-y: auto; overscroll-behavior: contain; overflow-wrap: anywhere; }
.body > * { flex: none; }
section { display: flex; flex-direction: column; gap: 8px; }
section > .button { align-self: flex-start; }

.notice { padding: 8px 12px; border-inline-start: 3px solid var(--accent); background: var(--calm); font-size: 14px; }
.box.calm { padding: 14px 16px; border-radius: 10px; background: var(--calm); }
.eyebrow { color: var(--accent); font-size: 13px; letter-spacing: 0.03em; }
.tip { font-size: 17px; line-height: 1.45; }
.letter { white-space: pre-line; }
.minutes { white-space: nowrap; }
.end { margin-inline-start: auto; }
.stack { display: flex; flex-direction: column; align-items: stretch; gap: 8px; }

.row { display: flex; flex-wrap: wrap; align-items: baseline; justify-content: space-between; gap: 0 12px; }
.bar { block-size: 8px; border-radius: 4px; background: var(--line); overflow: hidden; }
.bar div { block-size: 100%; border-radius: 4px; background: var(--accent); transition: inline-size 0.4s; }
summary { display: flex; align-items: center; gap: 8px; min-block-size: 44px; list-style: none; cursor: pointer; font-weight: 600; border-radius: 6px; }
summary::-webkit-details-marker { display: none; }
summary::after { content: ""; inline-size: 8px; block-size: 8px; margin-inline: auto 4px; border: solid var(--quiet); border-width: 0 2px 2px 0; transform: translateY(-2px) rotate(45deg); }
details[open] > summary::after { transform: translateY(2px) rotate(225deg); }
.body section > details { margin-block-end: -12px; }
.body section > details > summary { color: var(--quiet); font-size: 14px; font-weight: 500; }
.fold { border-block-start: 1px solid var(--line); margin-block-end: -10px; }
.fold + .fold { margin-block-start: -8px; }
.fold[open] { padding-block-end: 14px; }
.fold > .button { margin-block-start: 10px; }
.steps li { position: relative; display: flex; align-items: center; min-block-size: 36px; padding-inline-start: 30px; font-size: 15px; }
.steps li::before { content: ""; position: absolute; inset-inline-start: 2px; inline-size: 18px; block-size: 18px; border: 2px solid var(--quiet); border-radius: 50%; }
.steps li.done::before { border-color: var(--accent); background: var(--accent); }
.steps li.done::after { content: ""; position: absolute; inset-inline-start: 8px; inline-size: 5px; block-size: 9px; margin-block-start: -2px; border: solid var(--on-accent); border-width: 0 2px 2px 0; transform: rotate(45deg); }
.steps li.done { color: var(--quiet); }
.steps a { display: inline-flex; align-items: center; min-block-size: 36px; color: var(--accent); font-weight: 600; }
.actions { display: flex; flex-direction: column; gap: 18px; padding-block-start: 4px; }
.actions li { display: flex; flex-direction: column; align-items: flex-start; gap: 6px; }
.cards { display: flex; flex-direction: column; gap: 10px; padding-block-start: 4px; }
footer { border-block-start: 1px solid var(--line); margin-block-start: -8px; padding-block-start: 2px; }
.link { min-block-size: 44px; padding: 0; border: 0; background: none; color: var(--quiet); font: inherit; font-size: 14px; text-decoration: underline; text-underline-offset: 3px; cursor: pointer; }

.skeleton div { block-size: 14px; border-radius: 7px; background: var(--line); animation: breathe 1.6s ease-in-out infinite; }
.skeleton .short { inline-size: 60%; }
@keyframes breathe { 50% { opacity: 0.45; } }

.call { display: flex; flex-direction: column; gap: 16px; }
.times { display: flex; flex-direction: column; gap: 6px; padding-block-start: 8px; }
.choice { display: flex; align-items: center; gap: 10px; min-block-size: 44px; padding: 8px 12px; border: 1.5px solid var(--line); border-radius: 10px; cursor: pointer; }
.choice:has(:checked) { border-color: var(--accent); background: var(--calm); }
.choice input { flex: none; inline-size: 18px; block-size: 18px; margin: 0; accent-color: var(--accent); }
.own { display: none; }
.times:has([value="other"]:checked) .own { display: block; }
.field { display: flex; flex-direction: column; gap: 4px; font-weight: 600; }
.field span { font-size: 15px; }
select, textarea, input[type="datetime-local"] { inline-size: 100%; min-block-size: 44px; padding: 8px 12px; border: 1.5px solid var(--line); border-radius: 10px; background: var(--card); color: var(--ink); font: inherit; font-weight: 400; }
textarea { resize: vertical; }
.problem { color: var(--accent); font-weight: 600; }
.problem:empty { display: none; }

dialog.celebration { pointer-events: auto; inset: 0; inline-size: 100vw; block-size: 100dvh; max-inline-size: none; max-block-size: none; margin: 0; padding: 16px; border: 0; background: transparent; color: var(--ink); overflow: auto; }
dialog.celebration[open] { display: grid; place-items: center; }
dialog::backdrop { background: rgb(22 21 20 / 55%); }
dialog .confetti { position: fixed; inset: 0; inline-size: 100%; block-size: 100%; pointer-events: none; }
.panel { position: relative; display: flex; flex-direction: column; align-items: center; gap: 14px; inline-size: 100%; max-inline-size: 440px; padding: 32px 28px 24px; border: 1px solid var(--line); border-radius: calc(var(--round) + 4px); background: var(--card); box-shadow: var(--shadow); text-align: center; animation: rise 0.25s ease-out; }
.panel h2 { font-size: 26px; text-wrap: balance; }
.panel .buttons { justify-content: center; }
.panel .also { color: var(--quiet); }
.panel .said:empty { display: none; }
.panel .said { font-size: 14px; color: var(--quiet); overflow-wrap: anywhere; user-select: all; }
.rosette .ribbon { fill: color-mix(in srgb, var(--accent) 65%, var(--card)); }
.rosette .disc { fill: var(--accent); }
.rosette .rim { fill: none; stroke: var(--on-accent); stroke-width: 1.5; stroke-dasharray: 1 4; stroke-linecap: round; }
.rosette .tick { fill: none; stroke: var(--on-accent); stroke-width: 4; stroke-linecap: round; stroke-linejoin: round; }
@keyframes rise { from { opacity: 0; transform: translateY(12px) scale(0.98); } }

@media (max-width: 479px) {
  :host { --success-offset-x: 10px; --success-offset-y: 10px; }
  .pill { font-size: 14px; }
  .box .button { padding-inline: 14px; }
  .end { margin-inline-start: 0; }
  .box .button.plain { padding-inline: 6px; }
  .card { inline-size: calc(100vw - 20px); }
  .panel { padding: 28px 18px 18px; }
  .panel .buttons { flex-direction: column; align-items: stretch; inline-size: 100%; }
}
@media (prefers-reduced-motion: reduce) { *, *::before, *::after { animation: none !important; transition: none !important; } }
@media print { :host { display: none !important; } }
`;

export const MILESTONE_CARD = `
:host { display: block; }
article { position: relative; display: flex; gap: 14px; padding: 14px; border: 1px solid var(--line); border-radius: 10px; background: var(--card); overflow-wrap: anywhere; }
article.reached { background: var(--calm); }
.ring { position: relative; flex: none; inline-size: 48px; block-size: 48px; }
.ring circle { fill: none; stroke-width: 4; }
.ring .track { stroke: var(--line); }
.ring .arc { stroke: var(--accent); stroke-linecap: round; transition: stroke-dasharray 0.4s; }
.ring .tick { fill: none; stroke: var(--accent); stroke-width: 4; stroke-linecap: round; stroke-linejoin: round; }
.ring span { position: absolute; inset: 0; display: grid; place-items: center; font-size: 12px; font-weight: 600; font-variant-numeric: tabular-nums; }
.text { display: flex; flex-direction: column; gap: 4px; min-inline-size: 0; }
.text p { font-size: 14px; color: var(--quiet); }
.said:empty { display: none; }
.buttons { margin-block-start: 4px; }
.confetti { position: absolute; inset: -60px 0 0; inline-size: 100%; block-size: calc(100% + 60px); pointer-events: none; }
@media (prefers-reduced-motion: reduce) { * { animation: none !important; transition: none !important; } }
`;
