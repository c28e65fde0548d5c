/** `<success-coach>`: a quiet pill in the corner that opens to a card. */

import { callForm } from "./call-form.js";
import { Client, Failure } from "./client.js";
import { adopt, covers, h, upgradeProperties } from "./dom.js";
import { Party } from "./party.js";
import { FINAL, Stream } from "./stream.js";
import { BASE, COACH, RESET } from "./styles.js";
import { timeText, zoneOf } from "./times.js";
import { mainParts, pillText, ring, settingsView } from "./views.js";
import { speak, SPOKEN, WORDS } from "./words.js";

const HERE = new URL("../..", import.meta.url).href; // coach/<version>/ lies below the API
const PATIENCE_MS = 5000;

/**
 * Attributes: `supplier-id`, `page` (the path they are on; default: the page's own), `api` (address of the API; default: where this file is from),
 * `theme` (`light`, `dark`; default: the device's). Properties: `supplierId`, `page` (also `currentPage`), `api`, and
 * `getToken`, an asynchronous callback that gives a token and is asked again when that one is refused.
 * Events, which bubble: `success-milestone` ({ type, message }), `success-action` ({ kind, id, url }), which can be
 * prevented by a host that goes to `url` itself.
 */
export class SuccessCoach extends HTMLElement {
  static observedAttributes = ["supplier-id", "supplierid", "page", "current-page", "currentpage", "api"];

  #state = { status: "loading", coach: null };
  #view = "main";
  #client = null;
  #stream = null;
  #getToken = null;
  #given = {};
  #parts = new Map();
  #pill;
  #card;
  #body;
  #heading;
  #live;
  #told = new Set();
  #party = new Party(this, {
    onShown: ({ type, message }) => {
      this.#tellOnce("milestone_celebrated", type);
      this.#dispatch("success-milestone", { type, message });
    },
    onShare: ({ type }) => this.#tellOnce("milestone_shared", type),
    onAction: (event, action, type) => this.#take(event, "celebration", type, action.url),
  });
  #loading = null;
  #starting = false;
  #leave = new AbortController();

  // --- what the host says

  connectedCallback() {
    upgradeProperties(this, ["supplierId", "page", "currentPage", "api", "getToken"]);
    if (!this.shadowRoot) this.#build();
    this.#leave = new AbortController();
    const { signal } = this.#leave;
    document.addEventListener("visibilitychange", () => this.#onVisibility(), { signal });
    document.addEventListener("focusin", () => this.#stepAside(), { signal });
    document.addEventListener("focusout", () => setTimeout(() => this.#stepAside()), { signal });
    document.addEventListener("input", () => this.#party.noteInput(), { signal, capture: true });
    addEventListener("online", () => this.#retry(), { signal });
    addEventListener("offline", () => this.#onOffline(), { signal });
    this.#start();
    this.#remindHost(signal);
  }

  disconnectedCallback() {
    this.#leave.abort();
    this.#stop();
  }

  attributeChangedCallback(name, before, value) {
    if (before === value) return;
    const property = { "supplier-id": "supplierId", supplierid: "supplierId", api: "api" }[name] ?? "page";
    this[property] = value;
  }

  get supplierId() {
    return this.#given.supplierId ?? null;
  }

  set supplierId(id) {
    if (id !== this.supplierId) {
      this.#state = { status: "loading", coach: null };
      this.#party.forget();
      this.#told.clear();
    }
    this.#give("supplierId", id);
  }

  get page() {
    return this.#given.page ?? location.pathname;
  }

  set page(page) {
    this.#give("page", page);
  }

  get currentPage() {
    return this.page;
  }

  set currentPage(page) {
    this.page = page;
  }

  get api() {
    return this.#given.api ?? HERE;
  }

  set api(api) {
    this.#give("api", api);
  }

  get getToken() {
    return this.#getToken;
  }

  set getToken(callback) {
    const isFirst = this.#getToken === null;
    this.#getToken = callback;
    if (isFirst) this.#start(); // React gives a new function at every render: no reason to start again
    this.#render();
  }

  /** Open the card. */
  open() {
    this.#show(true);
  }

  /** Close it to a pill. */
  close() {
    this.#show(false);
  }

  #remindHost(signal) {
    const reminder = setTimeout(() => {
      if (this.supplierId && this.#getToken) return;
      console.warn("success-coach shows nothing until it has `supplier-id` and the property `getToken`");
    }, PATIENCE_MS);
    signal.addEventListener("abort", () => clearTimeout(reminder));
  }

  #give(name, value) {
    if (this.#given[name] === value) return;
    this.#given[name] = value;
    this.#start();
  }

  // --- what the API says

  /** Start anew with what the host has said by the end of this moment. */
  #start() {
    if (this.#starting) return;
    this.#starting = true;
    queueMicrotask(() => {
      this.#starting = false;
      this.#stop();
      if (!this.isConnected || !this.supplierId || !this.#getToken) return;
      this.#client = new Client(this.api, this.supplierId, () => this.#getToken());
      void this.#load();
    });
  }

  #stop() {
    this.#loading?.abort();
    this.#stream?.stop();
    this.#stream = null;
  }

  async #load() {
    this.#stop();
    this.#loading = new AbortController();
    const { signal } = this.#loading;
    try {
      const coach = await this.#client.coach(this.page, signal);
      if (signal.aborted) return;
      this.#hear(coach);
      this.#listen(coach.cursor);
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof Failure)) throw error;
      this.#set({ status: this.#statusAfter(error) });
      if (this.#state.status !== "refused") this.#listen(null); // it tries again by itself
    }
  }

  #listen(cursor) {
    const { page } = this;
    this.#stream = new Stream(
      (at, signal) => this.#client.events(page, at, signal),
      (type, data) => (type === "milestone" ? this.#party.invite([data]) : this.#hear(data)),
      (state, error) => this.#onStream(state, error),
    );
    if (document.hidden) this.#stream.cursor = cursor;
    else this.#stream.start(cursor);
  }

  #hear(coach) {
    const before = this.#state.coach;
    if (speak(coach.lang)) this.#parts.clear();
    this.#set({ status: "ready", coach });
    if (before && pillText(this.#state) !== pillText({ status: "ready", coach: before })) this.#say(WORDS.news);
    this.#party.invite(coach.celebrations);
  }

  #onStream(state, error) {
    if (state === "lost") this.#set({ status: this.#statusAfter(error) });
    else if (state === "refused") this.#set({ status: "refused" });
    else if (this.#state.coach) this.#set({ status: "ready" });
  }

  #statusAfter(error) {
    if (!navigator.onLine) return "offline";
    if (FINAL.has(error.status)) return "refused";
    return this.#state.coach ? "lost" : "error";
  }

  #onVisibility() {
    if (document.hidden) this.#stream?.stop(); // a browser has few connections; the cursor brings what was missed
    else if (this.#stream) this.#stream.start();
  }

  #onOffline() {
    this.#stream?.stop();
    this.#set({ status: "offline" });
  }

  #retry() {
    if (!this.#client) return;
    if (!this.#state.coach) this.#set({ status: "loading" });
    void this.#load();
  }

  /** Note what they did; the coach goes on without if that does not arrive. */
  async #tell(kind, id) {
    try {
      await this.#client.feedback(kind, id, this.page);
      return true;
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      return false;
    }
  }

  #tellOnce(kind, id) {
    const what = `${kind}:${id}`;
    if (this.#told.has(what)) return;
    this.#told.add(what);
    void this.#tell(kind, id);
  }

  // --- what they do

  #does = {
    retry: () => this.#retry(),
    settings: () => this.#go("settings"),
    back: () => this.#go("main"),
    pickTime: () => {
      const { messageId } = this.#state.coach.callOffer ?? this.#state.coach.help;
      if (messageId) this.#tellOnce("message_clicked", messageId);
      this.#go("call");
    },
    take: (event, kind, id, url) => this.#take(event, kind, id, url),
    putAway: async (kind, id) => {
      await this.#tell(`${kind}_dismissed`, id);
      this.#say(WORDS.notNowSaid);
      await this.#load();
      this.#focusInside();
    },
    consent: async (wish) => {
      try {
        await this.#client.changeConsent(wish);
      } catch (error) {
        if (!(error instanceof Failure)) throw error;
        return this.#complain(WORDS.failed);
      }
      this.#go("main");
      return this.#load();
    },
  };

  #take(event, kind, id, url) {
    if (kind === "tip" || kind === "message") void this.#tell(`${kind}_clicked`, id);
    if (this.#dispatch("success-action", { kind, id, url })) return;
    event.preventDefault(); // the host goes there itself
    this.close();
  }

  #dispatch(name, detail) {
    return this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true, composed: true, cancelable: true }));
  }

  #onBooked(call) {
    this.#say(`${WORDS.booked(timeText(call.scheduledAt, zoneOf(this.#state.coach?.timezone)))} ${WORDS.bookedMore}`);
    this.#go("main");
    void this.#load();
  }

  // --- how it looks

  #build() {
    this.attachShadow({ mode: "open" });
    adopt(this.shadowRoot, RESET, BASE, COACH);
    this.#pill = h("button", { type: "button", class: "pill", "aria-expanded": "false", "aria-controls": "card", onclick: () => this.open() });
    this.#body = h("div", { class: "body" });
    this.#heading = h("h2", { id: "heading", tabindex: "-1" });
    const shut = h("button", { type: "button", class: "shut", "aria-label": WORDS.close, onclick: () => this.close() }, "×");
    this.#card = h("section", { id: "card", class: "card", "aria-labelledby": "heading", hidden: true }, h("header", {}, this.#heading, shut), this.#body);
    this.#live = h("div", { class: "hidden-text", "aria-live": "polite" });
    this.#card.addEventListener("keydown", (event) => event.key === "Escape" && this.close());
    this.#card.addEventListener("success-action", (event) => queueMicrotask(() => event.defaultPrevented && this.close()));
    this.shadowRoot.append(this.#pill, this.#card, this.#live);
    this.#render();
  }

  #set(change) {
    this.#state = { ...this.#state, ...change };
    this.#render();
  }

  #show(isOpen, { takesFocus = true } = {}) {
    if (this.#card.hidden !== isOpen) return;
    this.#card.hidden = !isOpen;
    this.#pill.hidden = isOpen;
    this.#pill.setAttribute("aria-expanded", String(isOpen));
    if (!isOpen) this.#go("main");
    this.#render();
    if (takesFocus) (isOpen ? this.#heading : this.#pill).focus();
  }

  #go(view) {
    if (this.#view === view) return;
    const before = this.#view;
    this.#view = view;
    this.#parts.clear();
    this.#body.replaceChildren();
    this.#render();
    if (this.#card.hidden) return;
    const back = view === "main" ? this.#body.querySelector(`[data-focus=${before}]`) : this.#body.querySelector("h3, legend");
    (back ?? this.#heading).focus();
  }

  #render() {
    if (!this.shadowRoot) return;
    const { coach, status } = this.#state;
    for (const part of [this.#pill, this.#card, this.#live]) part.lang = SPOKEN.lang;
    this.#card.querySelector(".shut").setAttribute("aria-label", WORDS.close);
    const text = pillText(this.#state);
    this.dataset.state = coach ? (status === "ready" ? coach.state : status) : status;
    this.hidden = !this.supplierId || !this.#getToken;
    // What is said stands in one place at a time: on the pill, or in the card while that is open.
    const isOpen = !this.#card.hidden;
    this.#pill.replaceChildren(ring(coach?.setup.percent ?? 0), h("span", {}, isOpen ? "" : text));
    this.#pill.classList.toggle("wordless", !text);
    this.#pill.setAttribute("aria-label", text && coach ? `${text}. ${WORDS.open}` : WORDS.open);
    this.#heading.textContent = coach ? WORDS.hello(coach.firstName) : WORDS.coach;
    if (this.#view === "main") this.#place(isOpen ? mainParts(this.#state, this.#does) : []);
    else if (this.#body.childElementCount === 0) this.#body.append(this.#otherView());
    if (isOpen && this.#view === "main") this.#noteShown();
  }

  #otherView() {
    if (this.#view === "settings") return settingsView(this.#does);
    return callForm(this.#client, this.#state.coach?.timezone, { onBooked: (call) => this.#onBooked(call), onBack: this.#does.back });
  }

  /** Put the parts in place; those whose data is as before stay, with their focus and what is unfolded. */
  #place(parts) {
    const nodes = [];
    const kept = new Map();
    for (const [key, data, make] of parts) {
      const json = JSON.stringify(data ?? null);
      const before = this.#parts.get(key);
      const node = before?.json === json ? before.node : make() || null;
      if (before?.node && node && before.node !== node) copyFolds(before.node, node);
      kept.set(key, { json, node });
      if (node) nodes.push(node);
    }
    const hadFocus = this.#body.contains(this.shadowRoot.activeElement);
    this.#parts = kept;
    [...this.#body.children].filter((child) => !nodes.includes(child)).forEach((child) => child.remove());
    nodes.forEach((node, place) => this.#body.children[place] !== node && this.#body.insertBefore(node, this.#body.children[place] ?? null));
    if (hadFocus && !this.shadowRoot.activeElement) this.#focusInside();
  }

  #focusInside() {
    if (!this.#card.hidden) (this.#body.querySelector("h3[tabindex]") ?? this.#heading).focus();
  }

  #noteShown() {
    const { coach } = this.#state;
    if (coach?.state !== "ready") return;
    if (coach.messages.length > 0) this.#tellOnce("message_opened", coach.messages[0].id);
    else if (coach.tip) this.#tellOnce("tip_shown", coach.tip.id);
    if (coach.callOffer?.messageId) this.#tellOnce("message_opened", coach.callOffer.messageId);
  }

  /** Say below what they pressed that it did not work. */
  #complain(words) {
    this.#body.querySelector(".problem")?.remove();
    this.#body.append(h("p", { class: "problem", role: "alert" }, words));
  }

  #say(words) {
    this.#live.textContent = words;
  }

  /** Never cover what they type in: close the card, or take the pill away, while it would. */
  #stepAside() {
    const covering = (part) => covers(part, this.shadowRoot);
    if (!this.#card.hidden && covering(this.#card)) this.#show(false, { takesFocus: false });
    this.#pill.classList.remove("aside");
    this.#pill.classList.toggle("aside", covering(this.#pill));
  }
}

/** What was unfolded before stays unfolded in the part that takes its place. */
function copyFolds(before, after) {
  const folds = (node) => [...(node.matches("details") ? [node] : []), ...node.querySelectorAll("details")];
  const open = folds(before);
  folds(after).forEach((each, place) => (each.open = open[place]?.open ?? false));
}
