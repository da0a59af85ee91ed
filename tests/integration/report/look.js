// Looks at the page of a release from inside, as a reader's eyes and tools do, and leaves what it has seen where --dump-dom prints it.
const rgb = text => text.match(/[\d.]+/g).slice(0, 3).map(Number);
const light = text => rgb(text).map(v => v / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const contrast = (a, b) => { const [x, y] = [light(a), light(b)].sort((m, n) => n - m); return (x + 0.05) / (y + 0.05); };
const behind = element => { for (; element; element = element.parentElement) {
  const color = getComputedStyle(element).backgroundColor; if (!/, 0\)$/.test(color)) return color; } return 'rgb(255, 255, 255)'; };
const svg = document.querySelector('.chart svg'), box = svg.viewBox.baseVal;
const words = [...document.querySelectorAll('p, li, th, td, h1, h2, .mark, summary')].filter(e => e.textContent.trim());
const drawn = [...svg.querySelectorAll('text')];
const onBars = drawn.filter(t => t.classList.contains('on-bar'));
const seen = {
  title: document.title,
  loaded: performance.getEntriesByType('resource').map(e => e.name),
  scripts: document.scripts.length,
  images: document.images.length,
  leastContrast: Math.min(...words.map(e => contrast(getComputedStyle(e).color, behind(e))),
    ...drawn.filter(t => !onBars.includes(t)).map(t => contrast(getComputedStyle(t).fill, behind(svg)))),
  leastOnBars: Math.min(...onBars.map(t => contrast(getComputedStyle(t).fill, getComputedStyle(t.parentElement.querySelector('rect')).fill))),
  background: getComputedStyle(document.body).backgroundColor,
  outside: [...svg.querySelectorAll('text, rect:not(pattern rect), path')].map(e => [e.outerHTML.slice(0, 90), e.getBBox()])
    .filter(([, b]) => b.x < -0.5 || b.y < -0.5 || b.x + b.width > box.width + 0.5 || b.y + b.height > box.height + 0.5).map(([e]) => e),
  overlapping: drawn.flatMap((a, i) => drawn.slice(i + 1).map(b => [a, b])).filter(([a, b]) => {
    const p = a.getBBox(), q = b.getBBox();
    return p.x + 1 < q.x + q.width && q.x + 1 < p.x + p.width && p.y + 2 < q.y + q.height && q.y + 2 < p.y + p.height;
  }).map(([a, b]) => a.textContent + ' / ' + b.textContent),
  named: svg.getAttribute('role') + ' ' + svg.getAttribute('aria-labelledby').split(' ').every(id => document.getElementById(id)),
  untitledBars: [...svg.querySelectorAll('g')].filter(g => !g.querySelector('title')).length,
  heads: [...document.querySelectorAll('th')].every(th => th.scope),
  wide: document.documentElement.scrollWidth,
};
document.body.insertAdjacentHTML('beforeend', '<pre id="seen"></pre>');
document.getElementById('seen').textContent = JSON.stringify(seen);
