/** Speaks to the API with the token that the host's callback gives. */

/** A request that failed: `status` is 0 when nobody answered, else HTTP's; `detail` is a sentence for people. */
export class Failure extends Error {
  constructor(status, detail) {
    super(detail);
    this.name = "Failure";
    this.status = status;
    this.detail = detail;
  }
}

export class Client {
  #token = null;

  /** `api`: the API's origin; `getToken`: an asynchronous callback, asked again when a token is refused. */
  constructor(api, supplierId, getToken) {
    this.api = api.replace(/\/+$/, "");
    this.supplierId = supplierId;
    this.getToken = getToken;
  }

  coach(page, signal) {
    return this.#json("GET", `${this.#coach()}?${this.#page(page)}`, { signal });
  }

  /** The open stream of events, as a Response; `cursor` is what the page knows already. */
  events(page, cursor, signal) {
    const headers = { Accept: "text/event-stream", ...(cursor ? { "Last-Event-ID": cursor } : {}) };
    return this.#send("GET", `${this.#coach()}/events?${this.#page(page)}`, { headers, signal });
  }

  feedback(kind, id, page) {
    return this.#send("POST", `${this.#coach()}/feedback`, { body: { kind, id, page }, keepalive: true });
  }

  callTimes() {
    return this.#json("GET", `${this.#coach()}/call-times`);
  }

  /** Ask for a call; repeated with the same `key` it is one call. */
  scheduleCall(wish, key) {
    const body = { supplierId: this.supplierId, ...wish };
    return this.#json("POST", "/api/support/schedule-call", { body, headers: { "Idempotency-Key": key } });
  }

  moveCall(id, scheduledAt) {
    return this.#json("PATCH", `/api/support/calls/${id}`, { body: { scheduledAt } });
  }

  changeConsent(wish) {
    return this.#json("PUT", `/api/suppliers/${this.supplierId}/consent`, { body: wish });
  }

  #coach() {
    return `/api/coach/${encodeURIComponent(this.supplierId)}`;
  }

  #page(page) {
    return new URLSearchParams(page ? { page } : {});
  }

  async #json(method, path, options = {}) {
    return (await this.#send(method, path, options)).json();
  }

  async #send(method, path, options) {
    let response = await this.#try(method, path, options);
    if (response.status === 401) {
      this.#token = null; // it has expired: the host knows a new one
      response = await this.#try(method, path, options);
    }
    if (!response.ok) throw new Failure(response.status, await detailOf(response));
    return response;
  }

  async #askForToken() {
    let token;
    try {
      token = await this.getToken();
    } catch (error) {
      throw new Failure(0, `The host could not give a token: ${error.message}`);
    }
    if (!token) throw new Failure(401, "The host gave no token.");
    return token;
  }

  async #try(method, path, { body, headers = {}, signal, keepalive }) {
    this.#token ??= await this.#askForToken();
    const sent = { ...headers, Authorization: `Bearer ${this.#token}` };
    if (body !== undefined) sent["Content-Type"] = "application/json";
    try {
      return await fetch(this.api + path, {
        method,
        headers: sent,
        body: body === undefined ? undefined : JSON.stringify(body),
        signal,
        keepalive,
        cache: "no-store",
        credentials: "omit",
      });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Failure(0, "Nobody answered.");
    }
  }
}

async function detailOf(response) {
  try {
    return (await response.json()).detail ?? response.statusText;
  } catch {
    return response.statusText; // not one of our answers: a proxy's page, perhaps
  }
}
