// Writing: the letter follows what one types, and a message that can be taken back says how long. Both work without it.
'use strict';

(() => {
  const form = document.getElementById('writing');
  const field = form?.elements.opening;
  if (field) {
    const buttons = [...form.querySelectorAll('[data-show]')];
    let shown = buttons[0];
    let timer;
    for (const button of buttons) button.addEventListener('click', () => { shown = button; clearTimeout(timer); });
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
