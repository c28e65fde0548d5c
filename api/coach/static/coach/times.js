/** Times in somebody's own zone. */

import { SPOKEN, WORDS } from "./words.js";

/** The zone to speak in: theirs if it is one that the browser knows, else the browser's. */
export function zoneOf(wanted) {
  const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (!wanted) return own;
  try {
    Intl.DateTimeFormat("en-GB", { timeZone: wanted });
    return wanted;
  } catch {
    return own; // an id that this browser does not know yet
  }
}

/** `Tuesday 24 Nov, 10:00`. */
export function timeText(at, zone) {
  const date = new Date(at);
  const day = date.toLocaleDateString(SPOKEN.lang, { timeZone: zone, weekday: "long", day: "numeric", month: "short" });
  return `${SPOKEN.lang === "en-GB" ? day.replace(",", "") : day}, ${clock(date, zone)}`;
}

/** `London time`, `New York time`; `UTC`. */
export function zoneText(zone) {
  const fixed = /^Etc\/GMT([+-])(\d+)$/.exec(zone);
  // IANA's signs mean the opposite of what people read.
  if (fixed) return Number(fixed[2]) ? `UTC${fixed[1] === "+" ? "-" : "+"}${fixed[2]}` : "UTC";
  if (!zone.includes("/")) return zone;
  return WORDS.zoneTime?.(zone.split("/").pop().replaceAll("_", " ")) ?? zoneName(zone);
}

/** `Mitteleuropäische Zeit`: IANA names places in English only. */
function zoneName(zone) {
  const parts = new Intl.DateTimeFormat(SPOKEN.lang, { timeZone: zone, timeZoneName: "longGeneric" }).formatToParts(0);
  return parts.find(({ type }) => type === "timeZoneName").value;
}

/** The moment at which clocks in a zone show `2026-11-24T10:00` (what a datetime-local field holds), as ISO text. */
export function momentOf(local, zone) {
  const wanted = Date.parse(`${local.slice(0, 16)}:00Z`);
  let guess = wanted;
  for (let round = 0; round < 2; round += 1) guess = wanted - offset(guess, zone);
  return new Date(guess).toISOString();
}

/** What a datetime-local field shows for a moment in a zone. */
export function localText(at, zone) {
  return new Date(Date.parse(at) + offset(Date.parse(at), zone)).toISOString().slice(0, 16);
}

function clock(date, zone) {
  return date.toLocaleTimeString(SPOKEN.lang, { timeZone: zone, hour: "2-digit", minute: "2-digit" });
}

/** Milliseconds that a zone is ahead of UTC at a moment. */
function offset(at, zone) {
  const shown = new Intl.DateTimeFormat("en-GB", {
    timeZone: zone,
    hourCycle: "h23",
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
  }).formatToParts(at);
  const part = Object.fromEntries(shown.map(({ type, value }) => [type, Number(value)]));
  const wall = Date.UTC(part.year, part.month - 1, part.day, part.hour, part.minute, part.second);
  return wall - Math.floor(at / 1000) * 1000;
}
