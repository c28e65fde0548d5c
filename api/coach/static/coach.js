/* The one script that a host page loads: <script src="https://…/coach.js"></script>, classic or type="module".
   It defines <success-coach> and <milestone-card>; the modules behind it are fetched from where it came from. */
(() => {
  const version = "__VERSION__";
  const ours = document.currentScript ?? [...document.scripts].find((script) => /\/coach\.js([?#]|$)/.test(script.src));
  if (!ours?.src) {
    throw new Error("coach.js: load it with a script tag, or import /coach/latest/main.js in a bundle");
  }
  const address = (name) => new URL(`coach/${version}/${name}`, ours.src).href;
  for (const name of __MODULES__) {
    document.head.append(Object.assign(document.createElement("link"), { rel: "modulepreload", href: address(name) })); // at once
  }
  import(address("main.js"));
})();
