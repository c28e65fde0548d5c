// A page with a part marked `data-live` follows what happens: a stream says that something has changed, the page is
// asked for again, and what is otherwise in it is changed in place. What somebody types, opens or selects stays.
'use strict';

(() => {
  const part = document.querySelector('[data-live]');
  if (!part) return;
  const EVERY_MS = 60000; // also without news: times pass, and a proxy may keep the stream to itself
  const PARTS = ['#as-of', '[data-live]'];
  const root = document.documentElement;
  let stream, asking = false, behind = false, over = false;

  function listen() {
    if (over || document.hidden || stream) return;
    let heard = false;
    stream = new EventSource(`/dashboard/live?page=${encodeURIComponent(part.dataset.live)}`);
    stream.addEventListener('here', () => {
      root.dataset.follows = 'yes';
      if (heard || behind) follow(); // whatever happened while nobody listened
      heard = true;
    });
    stream.addEventListener('changed', follow);
    stream.addEventListener('over', end);
    stream.onerror = () => { delete root.dataset.follows; };
  }

  function leave() {
    stream?.close();
    stream = undefined;
    delete root.dataset.follows;
  }

  // Signed out: the page stays as it is, with what was typed, and says so.
  function end() {
    over = true;
    leave();
    const line = document.getElementById('as-of');
    if (!line) return;
    line.className = 'as-of lags';
    line.textContent = 'You are signed out: this page stays as it was. Load it again to go on.';
  }

  async function follow() {
    if (asking || document.hidden) {
      behind = true;
      return;
    }
    asking = true;
    behind = false;
    try {
      const answer = await fetch(location.href, { headers: { 'Success-Live': '1' }, redirect: 'manual' });
      if (answer.type === 'opaqueredirect') end();
      else if (answer.ok) show(new DOMParser().parseFromString(await answer.text(), 'text/html'));
    } catch { /* the line is down: the next time */ } finally {
      asking = false;
    }
    if (behind && !over) follow();
  }

  function show(page) {
    for (const selector of PARTS) {
      const old = document.querySelector(selector), fresh = page.querySelector(selector);
      if (!old || !fresh) continue;
      name(old);
      name(fresh);
      const kept = atWork(old);
      Idiomorph.morph(old, fresh, {
        callbacks: {
          beforeNodeMorphed: (node) => !(kept.has(node) || node.nodeName === 'CANVAS'),
          beforeNodeRemoved: (node) => !kept.has(node),
          beforeAttributeUpdated: (attribute, node) => !(MINE.has(attribute) || (attribute === 'open' && node.matches('details, dialog'))),
        },
      });
      for (const row of document.querySelectorAll('[id^="live "]')) row.removeAttribute('id');
      htmx.process(old);
    }
    document.dispatchEvent(new CustomEvent('live:changed'));
  }
  // What scripts set and the server does not say.
  const MINE = new Set(['aria-selected', 'aria-expanded', 'tabindex']);

  // Rows and entries are told apart by what they are about, so that one that moves takes its focus along.
  function name(where) {
    const seen = new Map();
    for (const row of where.querySelectorAll('tr:not([id]), li:not([id])')) {
      const about = row.querySelector('a[href]')?.getAttribute('href') ?? row.querySelector('time')?.dateTime;
      if (!about) continue;
      const key = `${row.closest('section')?.getAttribute('aria-labelledby')} ${about}`;
      seen.set(key, (seen.get(key) || 0) + 1);
      row.id = `live ${key} ${seen.get(key)}`;
    }
  }

  // Rows, else sections, in which somebody is at work: they stay as they are until that is done.
  function atWork(where) {
    const found = [...where.querySelectorAll('input, textarea, select')].filter((field) => field === document.activeElement || isTouched(field));
    found.push(...where.querySelectorAll('dialog[open], [data-by-hand]'));
    const selected = getSelection();
    if (!selected.isCollapsed) found.push(...[selected.anchorNode, selected.focusNode].map((node) => node.parentElement).filter((element) => where.contains(element)));
    return new Set(found.map((element) => {
      const form = element.closest('form') || element;
      return (!form.matches('[data-by-hand]') && form.closest('tr, li')) || form.closest('section') || form;
    }));
  }
  function isTouched(field) {
    if (field.type === 'hidden') return false;
    if (field.type === 'checkbox' || field.type === 'radio') return field.checked !== field.defaultChecked;
    if (!field.options) return field.value !== field.defaultValue;
    const options = [...field.options], given = Math.max(0, options.findIndex((option) => option.defaultSelected));
    return options.some((option, place) => option.selected !== (place === given));
  }
  // Rows that somebody has loaded by hand ("More") are not on the page that is asked for.
  document.addEventListener('htmx:load', (event) => {
    if (part.contains(event.target)) event.target.setAttribute('data-by-hand', '');
  });

  document.addEventListener('visibilitychange', () => {
    if (document.hidden) {
      leave(); // a browser has few lines to a host
    } else {
      behind = true;
      listen();
    }
  });
  addEventListener('pagehide', leave);
  addEventListener('pageshow', (event) => { if (event.persisted) { behind = true; listen(); } });
  setInterval(() => {
    if (over) return;
    if (stream?.readyState === EventSource.CLOSED) leave(); // it was refused
    listen();
    follow();
  }, EVERY_MS);
  if (document.querySelector('#as-of[data-unread]')) setTimeout(follow, 2000);
  listen();
})();
