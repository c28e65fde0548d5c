/* Plays a host: it routes by itself, gives the coach her token, and tells the API what she does as a backend would.
   Tokens come from the form, or from the address's fragment (#token=…&service=…), which no server sees. */

const BASE = "/demo/host";
const TITLES = {
  "/dashboard": "Dashboard",
  "/clients": "Clients",
  "/clients/import": "Import clients",
  "/forms": "Forms",
  "/forms/new": "New form",
  "/forms/sent": "Forms you sent",
  "/journeys": "Journeys",
  "/journeys/new": "New journey",
  "/templates": "Templates",
  "/payments": "Payments",
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
  const title = TITLES[page] ?? "Page";
  document.title = `${title} · Golden Hour Weddings`;
  document.querySelector("#title").textContent = title;
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
  for (const name of ["token", "service"]) {
    if (fields.get(name)) sessionStorage.setItem(name, fields.get(name).trim());
  }
  if (location.hash) history.replaceState({}, "", location.pathname);
}

/** The supplier whom a token names; null if it names none. */
function supplierOf(token) {
  try {
    const claims = JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));
    return claims.role === "supplier" ? claims.sub : null;
  } catch {
    return null; // not a token: she is asked for one
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
      time: new Date().toISOString(),
      data: { form_id: crypto.randomUUID() },
    }),
  });
  said.textContent = response.ok ? `“${form.elements.name.value}” is created.` : "The form could not be created.";
}
