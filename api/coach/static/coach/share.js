/** Tells others: by the device's own sharing, else by the clipboard, else by showing the text. */

import { WORDS } from "./words.js";

/** Share a text and return what to say about it; an empty text when there is nothing to say. */
export async function share(title, text) {
  if (navigator.share) {
    try {
      await navigator.share({ title, text });
      return "";
    } catch (error) {
      if (error.name === "AbortError") return ""; // they changed their mind
    }
  }
  try {
    await navigator.clipboard.writeText(text);
    return WORDS.shared;
  } catch {
    return `${WORDS.shareByHand} ${text}`; // no clipboard here, or not allowed
  }
}
