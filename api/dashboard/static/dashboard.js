// The dashboard's own script: keys, times that go on, charts. Everything but the charts works without it.
'use strict';

(() => {
  // --- search: "/" goes there, arrows walk through what was found, Escape leaves
  const box = document.getElementById('q');
  const found = document.getElementById('found');
  const typing = (element) => element.matches('input, textarea, select, [contenteditable]');
  document.addEventListener('keydown', (event) => {
    if (!box || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === '/' && !typing(event.target)) {
      event.preventDefault();
      box.focus();
      box.select();
    } else if (event.target.closest('.search')) {
      walk(event);
    }
  });
  function walk(event) {
    const links = [...found.querySelectorAll('a')];
    const here = links.indexOf(document.activeElement);
    if (event.key === 'Escape') {
      found.replaceChildren();
      box.focus();
    } else if (event.key === 'ArrowDown' && links.length) {
      event.preventDefault();
      links[Math.min(here + 1, links.length - 1)].focus();
    } else if (event.key === 'ArrowUp' && here >= 0) {
      event.preventDefault();
      (links[here - 1] || box).focus();
    }
  }
  document.addEventListener('click', (event) => {
    if (found && !event.target.closest('.search')) found.replaceChildren();
  });

  // --- on a small screen the bar's links scroll: show where we are
  document.querySelector('.bar nav [aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'nearest' });

  // --- times in words go on while the page is open
  const words = (at) => {
    const minutes = Math.floor(Math.abs(Date.now() - at) / 60000);
    if (minutes < 1) return 'now';
    const amount = minutes < 60 ? `${minutes} min` : minutes < 2880 ? `${Math.floor(minutes / 60)} h` : `${Math.floor(minutes / 1440)} d`;
    return at <= Date.now() ? `${amount} ago` : `in ${amount}`;
  };
  const loaded = Date.now();
  setInterval(() => {
    if (Date.now() - loaded < 60000) return;
    for (const time of document.querySelectorAll('time[datetime]')) time.textContent = words(Date.parse(time.dateTime));
  }, 60000);

  // --- charts
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  const LEVELS = { critical: 'Critical', at_risk: 'At risk', new: 'New', healthy: 'Healthy' };
  const SHAPES = { critical: 'triangle', at_risk: 'rectRot', new: 'rect', healthy: 'circle' };
  const data = (name) => {
    const element = document.getElementById(`${name}-data`);
    return element && JSON.parse(element.textContent);
  };
  const day = (at) => new Date(at).toLocaleDateString('en-GB', { day: 'numeric', month: 'short', timeZone: 'UTC' });
  const go = (path, query) => { location.href = `${path}?${new URLSearchParams(query)}`; };
  const pointer = (event, hits) => { event.native.target.style.cursor = hits.length ? 'pointer' : 'default'; };
  const legend = () => ({ position: 'top', align: 'start', labels: { usePointStyle: true, boxHeight: 7, color: colour('quiet') } });

  function draw() {
    Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
    Chart.defaults.font.size = 12;
    Chart.defaults.color = colour('quiet');
    Chart.defaults.borderColor = colour('line');
    Chart.defaults.animation = false;
    Chart.defaults.maintainAspectRatio = false;
    levels(data('levels'));
    bands(data('bands'));
    score(data('score'));
  }

  function levels(series) {
    if (!series) return;
    const dataset = (level) => ({
      label: LEVELS[level], data: series.map((one) => one[level]), backgroundColor: colour(`${level}-fill`),
      pointStyle: SHAPES[level], barPercentage: 1, categoryPercentage: series.length > 60 ? 1 : 0.9,
    });
    new Chart(document.getElementById('levels'), {
      type: 'bar',
      data: { labels: series.map((one) => one.day), datasets: Object.keys(LEVELS).map(dataset) },
      options: {
        interaction: { mode: 'index', intersect: false },
        onHover: pointer,
        onClick: (event, hits) => {
          if (!hits.length) return;
          go('/dashboard/changes', { day: series[hits[0].index].day });
        },
        plugins: { legend: legend(), tooltip: { callbacks: { title: (items) => `End of ${day(items[0].label)}` } } },
        scales: {
          x: { stacked: true, grid: { display: false }, ticks: { maxTicksLimit: 9, maxRotation: 0, callback(value) { return day(this.getLabelForValue(value)); } } },
          y: { stacked: true, beginAtZero: true, border: { display: false }, ticks: { precision: 0 } },
        },
      },
    });
  }

  function bands(rows) {
    if (!rows) return;
    const dataset = (level) => ({ label: LEVELS[level], data: rows.map((row) => row[level]), backgroundColor: colour(`${level}-fill`), pointStyle: SHAPES[level], categoryPercentage: 0.94, barPercentage: 1 });
    new Chart(document.getElementById('bands'), {
      type: 'bar',
      data: { labels: rows.map((row) => row.band * 5), datasets: Object.keys(LEVELS).map(dataset) },
      options: {
        onHover: pointer,
        onClick: (event, hits) => {
          if (hits.length) go('/dashboard/suppliers', { band: rows[hits[0].index].band, level: ['critical', 'at_risk', 'healthy'][hits[0].datasetIndex] });
        },
        plugins: { legend: legend(), tooltip: { callbacks: { title: (items) => { const low = Number(items[0].label); return `Score ${low} to ${low === 95 ? 100 : low + 4}`; } } } },
        scales: { x: { stacked: true, grid: { display: false }, ticks: { maxRotation: 0 } }, y: { stacked: true, beginAtZero: true, border: { display: false }, ticks: { precision: 0 } } },
      },
    });
  }

  // Bands of the levels behind the line, so that the score is read as what it means.
  const ground = {
    id: 'ground',
    beforeDraw(chart) {
      const { ctx, chartArea: area, scales: { y } } = chart;
      ctx.save();
      ctx.globalAlpha = 0.1;
      for (const [level, low, high] of [['critical', 0, 40], ['at_risk', 40, 70], ['healthy', 70, 100]]) {
        ctx.fillStyle = colour(`${level}-fill`);
        ctx.fillRect(area.left, y.getPixelForValue(high), area.width, y.getPixelForValue(low) - y.getPixelForValue(high));
      }
      ctx.restore();
    },
  };

  function score(history) {
    if (!history || !history.points.length) return;
    const points = history.points.map((one, place) => ({ x: one.at, y: one.score, level: one.level, why: one.why, turn: place === 0 || history.points[place - 1].level !== one.level }));
    const line = [...points, { x: history.now, y: points[points.length - 1].y, silent: true }];
    const datasets = [{
      label: 'Score', data: line, stepped: true, borderColor: colour('accent'), borderWidth: 2,
      pointRadius: line.map((one) => (one.silent ? 0 : one.turn ? 6 : 1.5)),
      clip: false,
      pointStyle: line.map((one) => (one.turn ? SHAPES[one.level] : 'circle')),
      pointBorderWidth: 1,
      pointBackgroundColor: line.map((one) => (one.turn ? colour(one.level) : colour('accent'))),
      pointBorderColor: line.map((one) => (one.turn ? colour('card') : colour('accent'))),
      pointHoverRadius: 7,
    }];
    let end = history.now;
    if (history.forecast && history.forecast.at > history.now) {
      const span = history.now - points[0].x;
      end = Math.min(history.forecast.at, history.now + Math.max(span * 0.5, 7 * 86400000));
      const edge = { critical: 39, at_risk: 69, healthy: 73 }[history.forecast.level];
      const reached = history.forecast.at <= end;
      datasets.push({
        label: 'If nothing happens', clip: false, borderColor: colour('quiet'), borderDash: [4, 4], borderWidth: 1.5, pointRadius: [0, reached ? 6 : 0],
        pointStyle: SHAPES[history.forecast.level], pointBackgroundColor: colour(history.forecast.level), pointBorderColor: colour('card'),
        data: [{ x: history.now, y: history.score }, { x: end, y: reached ? edge : history.score, why: `${LEVELS[history.forecast.level]} if nothing happens`, silence: true }],
      });
    }
    new Chart(document.getElementById('score'), {
      type: 'line',
      data: { datasets },
      plugins: [ground],
      options: {
        interaction: { mode: 'nearest', axis: 'x', intersect: false },
        plugins: {
          legend: { display: false },
          tooltip: {
            displayColors: false,
            filter: (item) => !item.raw.silent && (item.datasetIndex === 0 || item.raw.silence),
            callbacks: {
              title: (items) => (items.length ? new Date(items[0].raw.x).toLocaleString('en-GB', { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit', timeZone: 'UTC', timeZoneName: 'short' }) : ''),
              label: (item) => (item.raw.silence ? item.raw.why : `${item.raw.y}, ${(LEVELS[item.raw.level] || '').toLowerCase()}`),
              afterLabel: (item) => (item.raw.silence ? '' : (item.raw.why || '').split(', ')),
            },
          },
        },
        scales: {
          x: { type: 'linear', min: points[0].x, max: end, grid: { display: false }, ticks: { maxTicksLimit: 8, maxRotation: 0, callback: day } },
          y: { min: 0, max: 100, border: { display: false }, ticks: { stepSize: 20 } },
        },
      },
    });
  }

  if (!window.Chart) return;
  const given = () => [...document.querySelectorAll('script[type="application/json"]')].map((element) => element.textContent).join();
  let drawn = given();
  draw();
  function again() {
    for (const canvas of document.querySelectorAll('canvas')) Chart.getChart(canvas)?.destroy();
    draw();
  }
  document.addEventListener('live:changed', () => {
    if (given() === drawn) return;
    drawn = given();
    again();
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', again);
})();
