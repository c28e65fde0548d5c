/** Reads server-sent events with fetch, because EventSource can't send a token, and comes back when the line breaks. */

const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 30_000;
const SILENCE_MS = 40_000; // the server says something every 15 s
/** Answers that trying again with the same token won't change. */
export const FINAL = new Set([401, 403, 404]);

export class Stream {
  #abort = null;
  #failures = 0;
  #timer = null;

  /**
   * `open(cursor, signal)` gives a Response; `onEvent(type, data)` gets each event's parsed data;
   * `onState` hears "open", "lost", or "refused" (a status that trying again won't change).
   */
  constructor(open, onEvent, onState) {
    this.open = open;
    this.onEvent = onEvent;
    this.onState = onState;
    this.cursor = null;
  }

  /** Start, or start again at once; `cursor` names what is known already. */
  start(cursor = this.cursor) {
    this.stop();
    this.cursor = cursor;
    this.#abort = new AbortController();
    void this.#run(this.#abort.signal);
  }

  stop() {
    this.#abort?.abort();
    this.#abort = null;
    clearTimeout(this.#timer);
  }

  async #run(signal) {
    while (!signal.aborted) {
      try {
        await this.#read(signal);
      } catch (error) {
        if (signal.aborted) return;
        if (FINAL.has(error.status)) {
          this.onState("refused", error);
          return;
        }
        this.#failures += 1;
        this.onState("lost", error);
      }
      await this.#pause(signal);
    }
  }

  async #read(outer) {
    const line = new AbortController();
    const give = () => line.abort();
    outer.addEventListener("abort", give);
    let silence = setTimeout(give, SILENCE_MS);
    try {
      const response = await this.open(this.cursor, line.signal);
      this.#failures = 0;
      this.onState("open");
      const parser = new Parser((event) => this.#hear(event));
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { value, done } = await reader.read();
        if (done || outer.aborted) return;
        clearTimeout(silence);
        silence = setTimeout(give, SILENCE_MS);
        parser.take(value);
      }
    } finally {
      clearTimeout(silence);
      outer.removeEventListener("abort", give);
    }
  }

  #hear({ type, data, id }) {
    if (id) this.cursor = id;
    if (data) this.onEvent(type, JSON.parse(data));
  }

  /** Wait longer after each failure, and not all pages the same time. */
  #pause(signal) {
    const most = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.max(0, this.#failures - 1));
    const wait = most * (0.5 + Math.random() / 2);
    return new Promise((resolve) => {
      this.#timer = setTimeout(resolve, wait);
      signal.addEventListener("abort", resolve, { once: true });
    });
  }
}

/** Puts the pieces of a stream together into events, as the standard says. */
export class Parser {
  #rest = "";
  #event = { type: "message", data: [], id: null };

  constructor(onEvent) {
    this.onEvent = onEvent;
  }

  take(text) {
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop();
    lines.forEach((line) => this.#line(line));
  }

  #line(line) {
    if (line === "") {
      const { type, data, id } = this.#event;
      if (data.length || id) this.onEvent({ type, data: data.join("\n"), id });
      this.#event = { type: "message", data: [], id: null };
      return;
    }
    const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line);
    if (field === "event") this.#event.type = value;
    else if (field === "data") this.#event.data.push(value);
    else if (field === "id") this.#event.id = value;
  }
}
