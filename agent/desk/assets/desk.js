// The signer's own page: tokens, what waits to be sent, about.
import { start, call, listen, languages, last, icon, el, t, tn, has, lang, watch } from '/pages.js';
import { pinForms } from './pin.js';

start((view) => {
  const tabs = ['tokens', 'outbox', 'about'];
  let tab = tabs.includes(view.tab) ? view.tab : 'tokens';
  let tokens = null;
  let outbox = null;
  let said = '';
  const pins = pinForms(() => draw());

  const date = (s) => new Date(s).toLocaleDateString(lang === 'kk' ? 'kk' : lang, { dateStyle: 'medium' });
  const moment = (s) => new Date(s).toLocaleString(lang === 'kk' ? 'kk' : lang, { dateStyle: 'medium', timeStyle: 'short' });
  const empty = (name, key) => el('div', { class: 'card empty' }, el('div', { class: 'seal' }, icon(name)), el('p', {}, t(key)));

  function identity(i) {
    const role = has('prompt.role.' + i.role) ? t('prompt.role.' + i.role) : i.title;
    const numbers = [i.iin && t('prompt.iin') + ' ' + i.iin, i.bin && t('prompt.bin') + ' ' + i.bin].filter(Boolean).join(' · ');
    const soon = i.problem === '' && i.daysLeft <= 30;
    return el('div', { class: 'identity' }, el('strong', {}, i.name),
      el('span', {}, [i.organization, role].filter(Boolean).join(' · ')),
      numbers && el('span', { class: 'faint' }, numbers),
      el('span', { class: 'faint' }, t('prompt.issuer') + ': ' + i.issuer),
      i.problem
        ? el('p', { class: 'note red' }, icon('warn'), t('prompt.misfit.' + i.problem) + ' (' + date(i.notAfter) + ')')
        : el(soon ? 'p' : 'span', { class: soon ? 'note amber' : 'faint days' }, soon && icon('warn'),
          t('prompt.valid') + ' ' + date(i.notAfter) + ', ' + tn('prompt.days_left', i.daysLeft)));
  }

  function token(k) {
    const pin = { count_low: 'prompt.count_low', final_try: 'prompt.final_try', locked: 'prompt.locked', to_be_changed: 'prompt.to_change', not_set: 'prompt.not_set' }[k.pin];
    return el('section', { class: 'card token' },
      el('header', {}, el('strong', {}, k.label), el('span', { class: 'faint' }, [k.model, '…' + k.serial].filter(Boolean).join(' · '))),
      pins.notes(k) ?? (pin && el('p', { class: 'note ' + (k.pin === 'count_low' ? 'amber' : 'red') }, icon('warn'), t(pin))),
      k.identities.length ? k.identities.map(identity) : el('p', { class: 'faint' }, t('prompt.no_certificate')),
      pins.part(k));
  }

  function drawTokens() {
    if (!tokens) return el('p', { class: 'faint', role: 'status' }, t('prompt.looking'));
    const drivers = tokens.drivers.map((d) => el('li', {}, el('span', { class: 'mono' }, d.path),
      d.problem && el('p', { class: 'note red' }, icon('warn'), t('desk.driver_failed'))));
    return el('div', { class: 'stack' },
      tokens.tokens.length ? tokens.tokens.map(token) : empty('token', 'prompt.no_token_text'),
      el('section', { class: 'card' }, el('h2', {}, t('desk.drivers')), drivers.length ? el('ul', {}, drivers) : el('p', {}, t('desk.no_drivers'))));
  }

  const act = (method, id) => async () => {
    try {
      const r = await call(method, { id });
      said = method === 'save' ? t('desk.saved', { path: r.path }) : '';
    } catch {
      said = t('desk.failed');
    }
    draw();
  };

  function item(i) {
    const button = (method, key) => el('button', { type: 'button', class: 'button', onclick: act(method, i.id) }, t(key));
    const why = has('trouble.' + i.code) && i.state !== 'delivering' ? t('trouble.' + i.code) : '';
    return el('section', { class: 'card item' },
      el('span', { class: 'name' }, i.name || t(i.rejected ? 'desk.rejection' : 'desk.notice')),
      el('span', { class: 'faint' }, t('desk.state.' + i.state)),
      el('span', { class: 'faint' }, i.origin), el('span', { class: 'faint' }, moment(i.created)),
      why && el('p', { class: 'note ' + (i.state === 'dead' ? 'red' : 'amber') }, icon('warn'), why),
      el('div', { class: 'actions' }, i.state !== 'parked' && button('retry', 'desk.retry'), i.canSave && button('save', 'desk.save'),
        i.state === 'dead' && button('drop', 'desk.drop')));
  }

  const drawOutbox = () => (outbox?.length ? el('div', { class: 'stack' }, outbox.map(item)) : empty('done', 'desk.outbox_empty'));
  const drawAbout = () => el('section', { class: 'card' }, el('dl', { class: 'facts' },
    view.about.flatMap((f) => [el('dt', {}, t(f.key)), el('dd', {}, f.value)])));

  function draw() {
    document.title = t('desk.' + tab) + ' · Tanba';
    document.getElementById('langs').replaceChildren(languages(draw));
    const focus = document.activeElement?.id;
    const choose = (name) => () => { tab = name; said = ''; pins.close(); draw(); document.getElementById('tab-' + name).focus(); };
    const keys = (e) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
      if (step) choose(tabs[(tabs.indexOf(tab) + step + tabs.length) % tabs.length])();
    };
    document.getElementById('main').replaceChildren(
      el('div', { class: 'tabs', role: 'tablist', onkeydown: keys }, tabs.map((name) => el('button', { type: 'button', id: 'tab-' + name, role: 'tab',
        'aria-selected': String(name === tab), 'aria-controls': 'panel', tabIndex: name === tab ? 0 : -1, onclick: choose(name) }, t('desk.' + name)))),
      el('div', { id: 'panel', role: 'tabpanel', 'aria-labelledby': 'tab-' + tab },
        el('p', { id: 'said', class: said ? 'note' : '', role: 'status' }, said),
        { tokens: drawTokens, outbox: drawOutbox, about: drawAbout }[tab]()));
    if (focus) document.getElementById(focus)?.focus({ preventScroll: true });
  }

  draw();
  pins.arm(watch((armed) => pins.armed(armed)));
  listen((event, data) => {
    if (event === 'tokens') {
      if (JSON.stringify(data) === JSON.stringify(tokens)) return;
      tokens = data;
      pins.update(data.tokens);
    } else if (event === 'outbox') outbox = data;
    else {
      pins.close();
      last('quiet', t(has('page.' + event + '_title') ? 'page.' + event + '_title' : 'page.lost_title'), [t('page.may_close')]);
      return;
    }
    draw();
  });
});
