// The first question about a site: may it ask for signatures?
import { start, call, listen, watch, languages, last, icon, originLine, answer, el, t, has } from '/pages.js';

start((view) => {
  let armed = false;
  let here = true;
  let over = '';
  let deadline = performance.now() + view.left * 1000;

  const allow = () => answer({ class: 'button main', id: 'allow', 'aria-disabled': 'true',
    onclick: (e) => { if (e.isTrusted && armed) call('allow').catch(() => {}); } }, t('access.allow'));
  const refuse = () => el('button', { type: 'button', class: 'button', id: 'refuse', onclick: () => call('refuse').catch(() => {}) }, t('access.refuse'));
  const extend = async () => { deadline = performance.now() + (await call('extend')).left * 1000; refresh(); };

  function draw() {
    document.getElementById('langs').replaceChildren(languages(draw));
    if (over) return finish();
    document.title = t('access.title') + ' · Tanba';
    const point = (key) => el('li', {}, icon('done'), el('span', {}, t(key)));
    document.getElementById('main').replaceChildren(el('section', { class: 'card access' },
      el('div', {}, el('h1', { class: 'lead' }, t('access.who')), originLine(view.origin)),
      view.origin.plain && el('p', { class: 'note amber' }, icon('warn'), t('prompt.plain')),
      view.origin.puny && el('p', { class: 'note amber' }, icon('warn'), t('prompt.puny')),
      el('p', {}, t('access.check')),
      el('div', {}, el('h2', {}, t('access.means')), el('ul', {}, point('access.may'), point('access.each'), point('access.see'), point('access.undo'))),
      el('div', { class: 'note amber', id: 'warning', role: 'status', hidden: true }, el('span', {}, t('prompt.time_left', { time: '1:00' })),
        answer({ class: 'link', id: 'extend', onclick: () => extend().catch(() => {}) }, t('prompt.extend'))),
      el('div', { class: 'answers' }, refuse(), allow()),
      el('p', { class: 'small faint hint', id: 'hint', role: 'status' })));
    refresh();
  }

  function refresh() {
    document.getElementById('allow')?.setAttribute('aria-disabled', String(!armed));
    const hint = document.getElementById('hint');
    if (hint) hint.textContent = here ? '' : t('prompt.focus_hint');
    const warning = document.getElementById('warning');
    const left = Math.max(0, Math.ceil((deadline - performance.now()) / 1000));
    if (!warning) return;
    warning.hidden = left > 60;
    warning.firstChild.textContent = t('prompt.time_left', { time: Math.floor(left / 60) + ':' + String(left % 60).padStart(2, '0') });
  }
  setInterval(refresh, 1000);

  function finish() {
    const close = t('page.may_close');
    if (has('page.' + over + '_title')) return last('quiet', t('page.' + over + '_title'), [t('page.' + over + '_text')]);
    if (has('access.end.' + over)) return last(over === 'allowed' ? 'good' : 'quiet', t('access.end.' + over), [t('access.end.' + over + '_text'), close]);
    last('bad', t('trouble.title'), [t(has('trouble.' + over) ? 'trouble.' + over : 'trouble.internal'), close]);
  }

  draw();
  watch((a, h) => { armed = a; here = h; refresh(); });
  listen((event, data) => {
    if (event === 'state') { if (data.end) over = data.end; } else if (!over) over = has('page.' + event + '_title') ? event : 'lost';
    if (over) finish();
  });
});
