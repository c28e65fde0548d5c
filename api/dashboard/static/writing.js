// Writing: the letter follows what one types, and a message that can be taken back says how long. Both work without it.
'use strict';

(() => {
  const form = document.getElementById('writing');
  const field = form?.elements.opening;
  if (field) {
    const buttons = [...document.querySelectorAll('[data-show]')];
    let shown = buttons[0];
    let timer;
    const show = (button) => {
      shown = button;
      clearTimeout(timer);
      for (const each of buttons) each.setAttribute('aria-pressed', each === shown);
    };
    show(shown);
    for (const button of buttons) button.addEventListener('click', () => show(button));
    field.addEventListener('input', () => {
      clearTimeout(timer);
      timer = setTimeout(() => { form.requestSubmit(shown); }, 400);
    });
  }

  const leaving = [...document.querySelectorAll('[data-left]')];
  const loaded = performance.now();
  const count = () => {
    for (const element of leaving) {
      const left = Math.ceil(Number(element.dataset.left) - (performance.now() - loaded) / 1000);
      element.textContent = left > 0 ? `in ${left} s` : 'now';
    }
  };
  if (leaving.length) setInterval(count, 1000);
})();
