// Keys for every page: j and k go through its rows, Enter opens, x selects, other letters and digits press what the row
// shows (`data-key`; nothing that is folded away), ? says so, Ctrl or Cmd and K opens the palette. Nothing of it happens while somebody types.
'use strict';

(() => {
  const types = (element) => element.matches('input:not([type=checkbox], [type=radio], [type=button], [type=submit]), textarea, select, [contenteditable]');
  const rows = () => [...document.querySelectorAll('[data-row]')].filter((row) => row.offsetParent);
  const opener = (row) => row.querySelector('[data-open]') || row.querySelector('a, button');
  let last = null; // the row that was selected last, also when the focus has left it

  const here = () => {
    const row = document.activeElement.closest('[data-row]') || last;
    return row && row.isConnected ? row : null;
  };
  document.addEventListener('focusin', (event) => {
    const row = event.target.closest('[data-row]');
    if (!row || row === last) return;
    last?.classList.remove('is-here');
    last = row;
    row.classList.add('is-here');
  });

  function step(by) {
    const all = rows();
    const at = all.indexOf(here());
    const next = all[at < 0 ? 0 : Math.min(Math.max(at + by, 0), all.length - 1)];
    if (!next) return;
    opener(next)?.focus({ preventScroll: true });
    next.scrollIntoView({ block: 'nearest' });
    if (at === all.length - 1 && by > 0) document.querySelector('.more button')?.click();
  }

  document.addEventListener('keydown', (event) => {
    if ((event.ctrlKey || event.metaKey) && !event.altKey && event.key.toLowerCase() === 'k') {
      event.preventDefault();
      show(palette);
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || types(event.target) || document.querySelector('dialog[open]')) return;
    const row = here();
    const box = row?.querySelector('input[type=checkbox]');
    if (event.key === 'j' || event.key === 'k') step(event.key === 'j' ? 1 : -1);
    else if (event.key === '?') show(help);
    else if (event.key === 'x' && box) box.click();
    else if (event.key === 'Enter' && row && event.target.matches('input[type=checkbox]')) opener(row)?.click();
    else if (/^[a-z1-9]$/.test(event.key) && press(row, event.key)) { /* pressed */ } else return;
    event.preventDefault();
  });
  // A row's own letters count before those of the page, which are outside of all rows.
  function press(row, key) {
    const shown = [...document.querySelectorAll(`[data-key="${key}"]`)].filter((one) => !one.disabled && one.checkVisibility());
    const target = shown.find((one) => row?.contains(one)) || shown.find((one) => !one.closest('[data-row]'));
    if (!target) return false;
    if (types(target)) target.focus(); else target.click();
    return true;
  }

  // --- the palette: pages, what can be done here, suppliers as the search finds them
  const help = document.getElementById('keys');
  const palette = document.getElementById('palette');
  if (!palette) return;
  const input = palette.querySelector('input');
  const list = palette.querySelector('[role=listbox]');
  const told = palette.querySelector('[role=status]');
  let found = [];
  let chosen = 0;
  let asked = 0;
  let waiting = 0;

  const text = (element) => (element.getAttribute('aria-label') || element.textContent).replace(/\s+/g, ' ').trim();
  function show(dialog) {
    if (!dialog || document.querySelector('dialog[open]')) return;
    dialog.showModal();
    if (dialog !== palette) return;
    input.value = '';
    look();
  }
  const pages = () => [...document.querySelectorAll('.bar nav a')].map((link) => ({ kind: 'Go to', name: text(link), act: () => link.click() }));
  const acts = () => {
    const row = here();
    const usable = (element) => element.offsetParent && !element.disabled && !element.closest('[data-row]');
    const inside = row ? [...row.querySelectorAll('button, [data-key]')] : [];
    const all = [...inside, ...[...document.querySelectorAll('main button, main .button, main .csv, main [data-key]')].filter(usable)];
    const seen = new Set();
    return all.filter((element) => text(element) && !seen.has(text(element)) && seen.add(text(element)))
      .map((element) => ({ kind: 'Do here', name: text(element), act: () => { element.focus(); element.click(); } }));
  };
  const fits = (name, words) => words.every((word) => name.toLowerCase().includes(word));

  function look() {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    offer([...pages(), ...acts()].filter((one) => fits(one.name, words)));
    clearTimeout(waiting);
    asked += 1;
    if (input.value.trim().length > 1) waiting = setTimeout(search, 120, asked, input.value);
  }
  async function search(number, q) {
    const answer = await fetch(`/dashboard/search?${new URLSearchParams({ q })}`, { headers: { 'HX-Request': 'true' } }).catch(() => null);
    if (number !== asked || !answer?.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
    if (number !== asked) return;
    const people = [...page.querySelectorAll('a')].map((link) => ({ kind: 'Supplier', name: text(link), act: () => { location.href = link.getAttribute('href'); } }));
    offer([...people, ...found.filter((one) => one.kind !== 'Supplier')]);
  }
  function offer(options) {
    found = options.slice(0, 40);
    list.replaceChildren(...found.map((one, place) => {
      const option = document.createElement('li');
      option.id = `palette-${place}`;
      option.role = 'option';
      const kind = document.createElement('span');
      kind.className = 'quiet';
      kind.textContent = one.kind;
      option.append(one.name, ' ', kind);
      option.addEventListener('click', () => run(place));
      return option;
    }));
    told.textContent = found.length ? '' : 'Nothing is called so.';
    choose(0);
  }
  function choose(place) {
    chosen = Math.min(Math.max(place, 0), found.length - 1);
    [...list.children].forEach((option, at) => option.setAttribute('aria-selected', String(at === chosen)));
    input.setAttribute('aria-activedescendant', found.length ? `palette-${chosen}` : '');
    list.children[chosen]?.scrollIntoView({ block: 'nearest' });
  }
  function run(place) {
    const one = found[place];
    if (!one) return;
    palette.close();
    one.act();
  }
  input.addEventListener('input', look);
  input.addEventListener('keydown', (event) => {
    if (event.key === 'ArrowDown') choose(chosen + 1);
    else if (event.key === 'ArrowUp') choose(chosen - 1);
    else if (event.key === 'Enter') run(chosen);
    else return;
    event.preventDefault();
  });
  for (const dialog of [help, palette]) {
    dialog.addEventListener('click', (event) => { if (event.target === dialog) dialog.close(); });
  }
  for (const [id, dialog] of [['commands', palette], ['show-keys', help]]) {
    const button = document.getElementById(id);
    button.hidden = false;
    button.addEventListener('click', () => { palette.close(); show(dialog); });
  }
})();
