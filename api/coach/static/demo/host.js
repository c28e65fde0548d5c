/* Plays a host: it routes by itself, gives the coach their token, and tells the API what they do as a backend would.
   Tokens come from the form, or from the address's fragment (#token=…&service=…), which no server sees. */

const BASE = "/demo/host";
/* What each page of the product is for: buttons of emails and tips lead here, where no product is. */
const PAGES = {
  "/dashboard": ["Dashboard", "What came in, and what is next."],
  "/setup": ["Setup", "The steps that are still open in your account."],
  "/clients": ["Clients", "Each couple with their date, details and messages on one page."],
  "/clients/import": ["Import clients", "Bring your list in from a spreadsheet, from your phone or by hand."],
  "/forms": ["Forms", "Your forms, and the link to send to a couple."],
  "/forms/new": ["New form", "Name it, choose the questions, and send it to one couple."],
  "/forms/sent": ["Forms you sent", "Who has answered, and who has not yet."],
  "/journeys": ["Journeys", "The emails that go out at the right moment, switched on and off here."],
  "/journeys/new": ["New journey", "Write the emails you would send anyway, once."],
  "/templates": ["Templates", "Forms and emails to begin with."],
  "/payments": ["Payments", "What was paid, by whom, and for which date."],
  "/plans": ["Plans", "What each plan holds and costs, side by side."],
};
const coach = document.querySelector("success-coach");
const said = document.querySelector("#said");

takeTokens(new URLSearchParams(location.hash.slice(1)));
coach.getToken = async () => sessionStorage.getItem("token");
coach.addEventListener("success-action", (event) => {
  event.preventDefault();
  history.pushState({}, "", BASE + event.detail.url);
  show();
});
document.querySelector("nav").addEventListener("click", (event) => {
  if (!event.target.href) return;
  event.preventDefault();
  history.pushState({}, "", event.target.href);
  show();
});
document.querySelector("#sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  takeTokens(new FormData(event.target));
  show();
});
document.querySelector("#sign-out").addEventListener("click", () => {
  sessionStorage.clear();
  location.reload();
});
document.querySelector("#new-form").addEventListener("submit", (event) => {
  event.preventDefault();
  void createForm(event.target);
});
addEventListener("popstate", show);
addEventListener("hashchange", () => {
  takeTokens(new URLSearchParams(location.hash.slice(1)));
  location.reload();
});
show();

function show() {
  const page = location.pathname.slice(BASE.length).replace(/\/$/, "") || "/dashboard";
  const [title, lead] = PAGES[page] ?? ["Dashboard", "What came in, and what is next."];
  document.title = `${title} · WedSync`;
  document.querySelector("#title").textContent = title;
  document.querySelector("#lead").textContent = lead;
  document.querySelector("#new-form").hidden = page !== "/forms/new";
  for (const link of document.querySelectorAll("nav a")) {
    if (link.pathname === BASE + page) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const supplier = supplierOf(sessionStorage.getItem("token"));
  document.querySelector("#signed-out").hidden = supplier !== null;
  document.querySelector("#sign-out").hidden = supplier === null;
  coach.page = page;
  if (supplier) coach.supplierId = supplier;
}

function takeTokens(fields) {
  for (const name of ["token", "service", "clock"]) {
    if (fields.get(name)) sessionStorage.setItem(name, fields.get(name).trim());
  }
  if (location.hash) history.replaceState({}, "", location.pathname);
}

/** What the engine's clock shows: the demo's own, where there is one, else this machine's. */
async function now() {
  const clock = sessionStorage.getItem("clock");
  return clock ? (await (await fetch(clock)).json()).now : new Date().toISOString();
}

/** The supplier whom a token names; null if it names none. */
function supplierOf(token) {
  try {
    const claims = JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));
    return claims.role === "supplier" ? claims.sub : null;
  } catch {
    return null; // not a token: they are asked for one
  }
}

async function createForm(form) {
  const service = sessionStorage.getItem("service");
  if (!service) {
    said.textContent = "Without a service's token this page can't say that a form was created.";
    return;
  }
  const response = await fetch("/api/events", {
    method: "POST",
    headers: { Authorization: `Bearer ${service}`, "Content-Type": "application/cloudevents+json" },
    body: JSON.stringify({
      specversion: "1.0",
      id: crypto.randomUUID(),
      source: "/demo/host",
      type: "form.created",
      subject: coach.supplierId,
      time: await now(),
      data: { form_id: crypto.randomUUID() },
    }),
  });
  said.textContent = response.ok ? `“${form.elements.name.value}” is created.` : "The form could not be created.";
}
