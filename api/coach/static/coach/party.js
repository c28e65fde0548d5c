/** Decides when to celebrate: each milestone once, several at once together, and never in the middle of a word. */

import { celebrate } from "./celebration.js";

const TYPING_MS = 1000;
const TOGETHER_MS = 50;
const LOOK_AGAIN_MS = 100;

export class Party {
  #known = new Set();
  #waiting = [];
  #isOn = false;
  #lastInput = 0;

  /** `coach` is the element; `onShown`, `onShare` hear of each celebration, `onAction(event, action, type)` of the button. */
  constructor(coach, hooks) {
    this.coach = coach;
    this.hooks = hooks;
  }

  /** They are typing. */
  noteInput() {
    this.#lastInput = Date.now();
  }

  /** Another supplier: nothing has been celebrated yet. */
  forget() {
    this.#known.clear();
    this.#waiting = [];
  }

  /** Celebrate those that have not been celebrated here; newest first. */
  invite(celebrations) {
    const fresh = celebrations.filter(({ type }) => !this.#known.has(type));
    fresh.forEach(({ type }) => this.#known.add(type));
    this.#waiting.push(...fresh);
    if (this.#isOn || this.#waiting.length === 0) return;
    this.#isOn = true;
    setTimeout(() => void this.#hold(), TOGETHER_MS);
  }

  async #hold() {
    while (this.#waiting.length > 0 && this.coach.isConnected) {
      await this.#quietMoment();
      const celebrations = this.#waiting.splice(0);
      if (celebrations.length === 0) continue;
      celebrations.forEach((each) => this.hooks.onShown(each));
      await celebrate(this.coach.shadowRoot, celebrations, this.hooks);
    }
    this.#isOn = false;
  }

  /** Wait until they look and are not typing. */
  async #quietMoment() {
    const isBusy = () => document.hidden || Date.now() - this.#lastInput < TYPING_MS;
    while (isBusy() && this.coach.isConnected) await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
  }
}
