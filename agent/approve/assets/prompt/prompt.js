// The prompt: shows what is asked, takes the signer's answer. What counts is checked by the agent.
import { start, listen, watch, languages, last, icon, originLine, el, t, has } from '/pages.js';
import { documents } from './documents.js';
import { signer } from './signer.js';
import { working, ending } from './outcome.js';

start((view) => {
  let state = null;
  let over = '';
  const docs = documents(view, () => side.update());
  const side = signer(view, docs);

  const who = () => el('section', { class: 'who', 'aria-labelledby': 'who' },
    el('h1', { class: 'lead', id: 'who' }, t('prompt.who')),
    originLine(view.origin),
    view.origin.plain && el('p', { class: 'note amber' }, icon('warn'), t('prompt.plain')),
    view.origin.puny && el('p', { class: 'note amber' }, icon('warn'), t('prompt.puny')));

  const says = () => {
    const said = [['subject', view.title], ['reference', view.reference], ['counterpart', view.counterparty]].filter(([, v]) => v);
    return said.length > 0 && el('section', { class: 'says', 'aria-labelledby': 'says' },
      el('h2', { id: 'says' }, t('prompt.site_says')),
      el('dl', {}, said.map(([k, v]) => el('div', {}, el('dt', {}, t('prompt.' + k)), el('dd', {}, v)))));
  };

  // draw draws the whole page: at the start and in another language.
  const draw = () => {
    document.getElementById('langs').replaceChildren(languages(draw));
    if (over) return finish();
    if (state?.phase === 'working') return working(view, state);
    if (state?.phase === 'ended') return ending(view, state);
    document.title = t('prompt.title') + ' · Tanba';
    document.getElementById('main').replaceChildren(side.warning, who(),
      el('div', { class: 'columns' }, el('div', { class: 'what' }, says(), docs.draw()), side.draw(state)));
  };

  const finish = () => last('quiet', t('page.' + over + '_title'), [t('page.' + over + '_text')]);

  draw();
  side.arm(watch((armed, here) => side.armed(armed, here)));
  listen((event, data) => {
    if (event === 'state') {
      const before = state?.phase;
      state = data;
      if (state.phase === 'working') working(view, state);
      else if (state.phase === 'ended') ending(view, state);
      else if (before === undefined || before === 'ask' || before === 'unlocking') side.update(state);
      return;
    }
    if (event === 'end' && (state?.phase === 'ended' || state?.phase === 'working')) return;
    over = has('page.' + event + '_title') ? event : 'lost';
    finish();
  });
});
